#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <sys/epoll.h>

#include "histogram.hpp"

namespace bench {

/// Where the clients go and how they become subscribers.
struct Target {
  std::string address;      ///< unix:PATH or a.b.c.d:port
  std::string path;         ///< a % in it becomes the client's channel, 1 to `channels`
  bool gamepicker = false;  ///< authenticates and subscribes to session.<channel>; else the upgrade is all
  std::vector<std::string> tokens;
  std::size_t clients = 0;
  std::size_t channels = 1;
  std::size_t in_flight = 200;  ///< of those that are not subscribed yet
  std::size_t sample = 1;       ///< every which client's latencies count
};

struct LoadClient {
  enum class Phase : std::uint8_t { idle, handshake, subscribing, ready };

  int socket = -1;
  Phase phase = Phase::idle;
  std::uint64_t retry_at = 0;  ///< not before
  bool known = false;          ///< it was subscribed before, and resumes
  std::uint64_t offset = 0;    ///< of the newest event; only when resuming
  std::string rest;            ///< the beginning of a frame, or of the answer to the upgrade
};

/// WebSocket clients in one thread. They come back when they are disconnected, with the offset they have reached, if
/// `resume` is set; else a lost connection ends the program.
class LoadClients {
 public:
  explicit LoadClients(Target target);
  ~LoadClients();
  LoadClients(const LoadClients&) = delete;
  LoadClients& operator=(const LoadClients&) = delete;

  /// Until all are subscribed. Throws std::runtime_error after `seconds`.
  void connect_all(double seconds);
  /// Handles what is there, or comes within the time.
  void poll(int timeout_ms);
  /// Also watches a socket of the caller's, for being writable if so wished; what it reads is thrown away.
  void watch(int socket, bool writable);
  bool watched_is_writable() const { return watched_writable_; }

  bool all_ready() const { return ready_ == clients_.size(); }
  std::size_t ready() const { return ready_; }
  std::uint64_t lowest_offset() const;

  bool resume = false;
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  std::uint64_t lost = 0;        ///< connections of subscribed clients
  std::uint64_t refused = 0;     ///< tries to become one
  std::uint64_t first_lost = 0;  ///< when
  std::uint64_t recovered = 0;   ///< subscribed replies with recovered:true
  std::uint64_t gaps = 0;        ///< offsets that were not the one before plus one
  Histogram latency;             ///< ns

 private:
  void start_some();
  void start(std::size_t index);
  void send_upgrade(std::size_t index);
  void read(std::size_t index);
  std::string_view upgraded(std::size_t index, std::string_view answer);
  void frame(std::size_t index, int opcode, std::string_view payload);
  void setup_text(LoadClient& client, std::string_view text);
  void disconnected(std::size_t index, const std::string& why);
  void subscribe(std::size_t index);
  void became_ready(LoadClient& client);
  std::string channel_of(std::size_t index) const { return std::to_string(index % target_.channels + 1); }

  const Target target_;
  int epoll_;
  std::vector<LoadClient> clients_;
  std::vector<epoll_event> events_;
  std::string buffer_;
  std::uint64_t now_ = 0;
  std::size_t begun_ = 0;  ///< in handshake or subscribing
  std::size_t ready_ = 0;
  std::size_t next_ = 0;
  int watched_ = -1;
  bool watched_writable_ = false;
};

}  // namespace bench
