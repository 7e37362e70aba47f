#include "relay/worker.hpp"

#include <algorithm>

#include "relay/database.hpp"
#include "shared/log.hpp"

namespace gamepicker {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstBackOff{100};
constexpr milliseconds kLongestBackOff{2'000};

}  // namespace

void Worker::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool Worker::wait(std::unique_lock<std::mutex>& lock, const std::function<bool()>& ready) {
  changed_.wait(lock, [&] { return stopping_ || ready(); });
  return !stopping_;
}

bool Worker::wait_for(std::unique_lock<std::mutex>& lock, milliseconds limit, const std::function<bool()>& ready) {
  changed_.wait_for(lock, limit, [&] { return stopping_ || ready(); });
  return !stopping_;
}

bool Worker::pause(milliseconds time) {
  std::unique_lock lock(mutex_);
  return wait_for(lock, time, [] { return false; });
}

bool Worker::persist(const std::string& name, const std::function<void()>& work) {
  for (milliseconds delay = kFirstBackOff;; delay = std::min(2 * delay, kLongestBackOff)) {
    try {
      work();
      return true;
    } catch (const DatabaseError& error) {
      database_errors_.add();
      log_warning(name + ": " + error.what());
    }
    if (!pause(delay)) return false;
  }
}

}  // namespace gamepicker
