#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "relay/attempt_recorder.hpp"
#include "relay/database.hpp"
#include "relay/metrics.hpp"
#include "shared/config.hpp"

namespace gamepicker {

/// Records what attempts came to, in batches, in a thread and over a session of its own. Senders do not wait for it.
class AttemptFinisher {
 public:
  using Batch = std::vector<AttemptOutcome>;

  /// `on_recorded` is called by the thread after each batch. All outlive it.
  AttemptFinisher(const Config& config, Counter& errors, Failpoint& failpoint,
                  std::function<void(const Batch&)> on_recorded);
  ~AttemptFinisher() { stop(); }
  AttemptFinisher(const AttemptFinisher&) = delete;
  AttemptFinisher& operator=(const AttemptFinisher&) = delete;

  void start();
  void add(AttemptOutcome outcome);
  std::size_t unrecorded() const;
  /// Whether the last try to record something failed.
  bool failing() const { return failing_; }
  /// After the last add(). Records what is left; gives up after some seconds without a database: what is not recorded
  /// comes due again.
  void stop();

 private:
  using Clock = std::chrono::steady_clock;

  void run();
  Batch next_batch();
  void record(const Batch& batch);

  Counter& errors_;
  Database database_;
  AttemptRecorder recorder_;
  const std::function<void(const Batch&)> on_recorded_;

  mutable std::mutex mutex_;
  std::condition_variable added_;
  bool stopping_ = false;
  Clock::time_point give_up_at_ = Clock::time_point::max();
  std::deque<AttemptOutcome> outcomes_;
  std::size_t recording_ = 0;
  std::atomic<bool> failing_ = false;
  std::thread thread_;
};

}  // namespace gamepicker
