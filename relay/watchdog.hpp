#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

namespace gamepicker {

/// A second descriptor for the same socket. Shutting it down ends the connection, and its number stays ours whenever
/// a library closes its own.
class SocketHandle {
 public:
  SocketHandle() = default;
  /// Duplicates; the original stays with its owner. Throws std::system_error.
  explicit SocketHandle(int socket);
  ~SocketHandle();
  SocketHandle(SocketHandle&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  SocketHandle& operator=(SocketHandle&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }

  int descriptor() const { return descriptor_; }

 private:
  int descriptor_ = -1;
};

/// Ends blocking calls of libraries that know no total deadline: at the deadline it shuts the socket down, and whoever
/// reads or writes there returns. Socket timeouts cannot do that; they start anew with each byte. Owns one thread;
/// thread-safe.
class Watchdog {
 public:
  using Clock = std::chrono::steady_clock;

  Watchdog();
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// Watches as long as it lives; neither the watchdog nor the descriptor may end before it.
  class Guard {
   public:
    Guard(Watchdog& watchdog, int descriptor, Clock::time_point deadline);
    ~Guard();
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    Watchdog& watchdog_;
    std::pair<Clock::time_point, std::uint64_t> key_;
  };

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::uint64_t next_id_ = 0;
  /// When the thread looks next. Deadlines mostly come in rising order, so that it is hardly ever woken for a new one.
  Clock::time_point wakes_at_ = Clock::time_point::max();
  std::map<std::pair<Clock::time_point, std::uint64_t>, int> watched_;
  std::thread thread_;
};

}  // namespace gamepicker
