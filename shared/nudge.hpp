#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gamepicker {

/// Tells relays that something was committed: one empty datagram to each address, never blocking, never failing.
/// A lost nudge costs latency, not an event. Owns its sockets; not copyable.
class Nudge {
 public:
  /// `addresses`: comma-separated; a path is a unix datagram socket, host:port is UDP (numeric address). Throws
  /// std::invalid_argument naming the bad one.
  explicit Nudge(std::string_view addresses);
  ~Nudge();
  Nudge(const Nudge&) = delete;
  Nudge& operator=(const Nudge&) = delete;

  void send() const;

 private:
  struct Target {
    int socket;
    std::string address;  ///< a sockaddr as bytes
  };
  std::vector<Target> targets_;
};

/// Binds a datagram socket to one address of the same form (a stale unix path is replaced). Returns a non-blocking
/// descriptor the caller owns; throws std::system_error or std::invalid_argument.
int bind_nudge_socket(std::string_view address);

}  // namespace gamepicker
