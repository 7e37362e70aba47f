#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace chaos {

/// Receivers as they are at their worst, on 127.0.0.1.
class BadEndpoints {
 public:
  BadEndpoints();
  ~BadEndpoints();
  BadEndpoints(const BadEndpoints&) = delete;
  BadEndpoints& operator=(const BadEndpoints&) = delete;

  /// Their names and URLs: one that refuses connections, one that never accepts any (its backlog is full), one that
  /// answers a byte a second, one whose answer never ends, one that accepts a connection a second.
  const std::vector<std::pair<std::string, std::string>>& all() const { return all_; }

 private:
  using Clock = std::chrono::steady_clock;

  int listen(const std::string& name, int backlog);
  void fill_backlog(const std::string& url);
  void serve();
  void accept_some(Clock::time_point now);
  void feed(Clock::time_point now);
  bool send_endlessly(int socket) const;

  std::vector<std::pair<std::string, std::string>> all_;
  std::vector<int> idle_;  ///< sockets that only have to be there
  int tarpit_ = -1, endless_ = -1, slow_ = -1;
  std::vector<int> dripping_, flooding_, answering_;
  Clock::time_point next_drip_{}, next_accept_{};
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace chaos
