#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "relay/metrics.hpp"

namespace gamepicker {

/// A thread that works with the database on what others put into its queue, or on what the clock says, until it is
/// stopped. The queue is the owner's, under mutex().
class Worker {
 public:
  /// `database_errors` outlives it.
  explicit Worker(Counter& database_errors) : database_errors_(database_errors) {}
  ~Worker() { stop(); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Once. `run` ends soon after stop() was asked for; what it uses outlives the worker.
  void start(std::function<void()> run) { thread_ = std::thread(std::move(run)); }
  /// Waits for the statement that is running, not for anything else.
  void stop();

  std::mutex& mutex() { return mutex_; }
  /// The queue, or whatever a wait looks at, has changed.
  void notify() { changed_.notify_all(); }

  // For the thread itself.

  /// Until `ready` holds (asked with `lock` held, which is on mutex()); false when it is to stop.
  bool wait(std::unique_lock<std::mutex>& lock, const std::function<bool()>& ready);
  /// The same with a limit, after which it returns true as well.
  bool wait_for(std::unique_lock<std::mutex>& lock, std::chrono::milliseconds limit,
                const std::function<bool()>& ready);
  bool pause(std::chrono::milliseconds time);
  /// Does `work` until it ends without a DatabaseError, with growing pauses in between; false when it is to stop.
  /// `name`: of the part, for the log.
  bool persist(const std::string& name, const std::function<void()>& work);

 private:
  Counter& database_errors_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace gamepicker
