#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>

namespace gamepicker::test {

/// An HTTP server for many requests, on a free port of 127.0.0.1 and in a thread of its own. Knows what a webhook
/// sender sends: bodies with a Content-Length, one request after the other.
class Sink {
 public:
  /// Valid during the call.
  struct Request {
    std::string_view target;
    std::string_view head;  ///< its names in lower case, its values too
    std::string_view body;

    /// Empty when there is none. `name` in lower case.
    std::string_view header(std::string_view name) const;
    /// 0 when there is none.
    std::uint64_t number(std::string_view name) const;
  };
  struct Reply {
    int status = 200;
    std::chrono::milliseconds delay{0};
  };
  /// Called in the sink's thread.
  using Answer = std::function<Reply(const Request&)>;

  explicit Sink(Answer answer);
  ~Sink();
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  std::string url(const std::string& target) const { return "http://127.0.0.1:" + std::to_string(port_) + target; }

 private:
  using Clock = std::chrono::steady_clock;

  void serve();
  void accept_all();
  void read(int socket);
  bool take_request(int socket, std::string& input);
  void reply_due();

  const Answer answer_;
  int listener_ = -1;
  int epoll_ = -1;
  std::uint16_t port_ = 0;
  std::unordered_map<int, std::string> inputs_;  ///< by socket: what is not a whole request yet
  struct Delayed {
    int socket;
    std::uint64_t connection;
    int status;
  };
  std::multimap<Clock::time_point, Delayed> delayed_;
  std::unordered_map<int, std::uint64_t> connections_;  ///< by socket: its number, as sockets are given out again
  std::uint64_t last_connection_ = 0;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace gamepicker::test
