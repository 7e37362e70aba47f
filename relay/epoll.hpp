#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <sys/epoll.h>

namespace gamepicker {

/// A level-triggered epoll instance. Sockets leave it by being closed.
class Epoll {
 public:
  /// Throws std::system_error, as the others do.
  Epoll();
  ~Epoll();
  Epoll(const Epoll&) = delete;
  Epoll& operator=(const Epoll&) = delete;

  void add(int descriptor, std::uint32_t events);
  void modify(int descriptor, std::uint32_t events);
  void remove(int descriptor);

  /// Waits at most `timeout_ms` (-1: for ever). Valid until the next call; data.fd is the descriptor.
  std::span<const epoll_event> wait(int timeout_ms);

 private:
  void control(int operation, int descriptor, std::uint32_t events);

  const int epoll_;
  std::vector<epoll_event> events_;
};

}  // namespace gamepicker
