#include "relay/watchdog.hpp"

#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace gamepicker {

SocketHandle::SocketHandle(int socket) : descriptor_(::fcntl(socket, F_DUPFD_CLOEXEC, 0)) {
  if (descriptor_ < 0) throw std::system_error(errno, std::generic_category(), "cannot duplicate a socket");
}

SocketHandle::~SocketHandle() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Watchdog::Watchdog() : thread_([this] { run(); }) {}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

Watchdog::Guard::Guard(Watchdog& watchdog, int descriptor, Clock::time_point deadline) : watchdog_(watchdog) {
  bool wake = false;
  {
    const std::lock_guard lock(watchdog_.mutex_);
    key_ = {deadline, watchdog_.next_id_++};
    watchdog_.watched_.emplace(key_, descriptor);
    wake = deadline < watchdog_.wakes_at_;
  }
  if (wake) watchdog_.changed_.notify_one();
}

Watchdog::Guard::~Guard() {
  const std::lock_guard lock(watchdog_.mutex_);
  watchdog_.watched_.erase(key_);
}

void Watchdog::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const auto now = Clock::now();
    while (!watched_.empty() && watched_.begin()->first.first <= now) {
      ::shutdown(watched_.begin()->second, SHUT_RDWR);
      watched_.erase(watched_.begin());
    }
    // An hour stands for "never": time_point::max() overflows in some implementations of wait_until.
    wakes_at_ = watched_.empty() ? now + std::chrono::hours(1) : watched_.begin()->first.first;
    changed_.wait_until(lock, wakes_at_);
  }
}

}  // namespace gamepicker
