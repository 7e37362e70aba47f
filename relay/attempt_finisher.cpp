#include "relay/attempt_finisher.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "shared/log.hpp"

namespace gamepicker {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kBatch = 200;
constexpr milliseconds kDelay{5};
constexpr milliseconds kFirstBackOff{100};
constexpr milliseconds kLongestBackOff{2'000};
constexpr milliseconds kStopPatience{3'000};

}  // namespace

AttemptFinisher::AttemptFinisher(const Config& config, Counter& errors, Failpoint& failpoint,
                                 std::function<void(const Batch&)> on_recorded)
    : errors_(errors),
      database_(config),
      recorder_(database_, config.webhook_disable_after, failpoint),
      on_recorded_(std::move(on_recorded)) {}

void AttemptFinisher::start() {
  thread_ = std::thread([this] { run(); });
}

void AttemptFinisher::add(AttemptOutcome outcome) {
  {
    const std::lock_guard lock(mutex_);
    outcomes_.push_back(std::move(outcome));
    // The thread sleeps through the others: it waits for a first one, then for company.
    if (outcomes_.size() != 1 && outcomes_.size() != kBatch) return;
  }
  added_.notify_one();
}

std::size_t AttemptFinisher::unrecorded() const {
  const std::lock_guard lock(mutex_);
  return outcomes_.size() + recording_;
}

void AttemptFinisher::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    give_up_at_ = Clock::now() + kStopPatience;
  }
  added_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void AttemptFinisher::run() {
  for (Batch batch = next_batch(); !batch.empty(); batch = next_batch()) {
    record(batch);
    on_recorded_(batch);
  }
}

/// Waits for an outcome and a moment more for company. Empty when there will be no more.
AttemptFinisher::Batch AttemptFinisher::next_batch() {
  std::unique_lock lock(mutex_);
  recording_ = 0;
  added_.wait(lock, [&] { return stopping_ || !outcomes_.empty(); });
  added_.wait_for(lock, kDelay, [&] { return stopping_ || outcomes_.size() >= kBatch; });
  Batch batch;
  std::set<std::uint64_t> deliveries;
  while (!outcomes_.empty() && batch.size() < kBatch && deliveries.insert(outcomes_.front().delivery_id).second) {
    batch.push_back(std::move(outcomes_.front()));
    outcomes_.pop_front();
  }
  recording_ = batch.size();
  return batch;
}

void AttemptFinisher::record(const Batch& batch) {
  milliseconds delay = kFirstBackOff;
  for (bool failing = false;; failing = true) {
    try {
      recorder_.record(batch);
      failing_ = false;
      if (failing) log_info("webhook outcomes: the database is back");
      return;
    } catch (const std::exception& error) {
      errors_.add();
      failing_ = true;
      if (!failing) log_error(std::string("webhook outcomes: ") + error.what());
    }
    std::unique_lock lock(mutex_);
    added_.wait_for(lock, delay, [&] { return stopping_; });
    if (Clock::now() >= give_up_at_) {
      log_error("webhook outcomes: " + std::to_string(batch.size()) + " not recorded, they will be sent again");
      return;
    }
    if (stopping_) added_.wait_until(lock, Clock::now() + delay);
    delay = std::min(delay * 2, kLongestBackOff);
  }
}

}  // namespace gamepicker
