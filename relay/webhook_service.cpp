#include "relay/webhook_service.hpp"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <random>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include "relay/retry_schedule.hpp"
#include "relay/webhook_queue.hpp"
#include "relay/webhook_sender.hpp"
#include "shared/log.hpp"
#include "shared/secret_box.hpp"

namespace gamepicker {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// A lease outlives the request by this much: time to record what came of it.
constexpr milliseconds kLeaseMargin{15'000};
constexpr milliseconds kIdlePoll{1'000};
/// Between two looks at the queue, however often we are woken.
constexpr milliseconds kShortestPause{2};
/// Test deliveries of disabled webhooks are looked for no more often.
constexpr milliseconds kDisabledPause{250};
/// For the metrics.
constexpr milliseconds kNoteBacklogEvery{2'000};
constexpr milliseconds kFirstBackOff{100};
constexpr milliseconds kLongestBackOff{2'000};
constexpr std::size_t kFinishBatch = 200;
constexpr milliseconds kFinishDelay{5};
/// Outcomes waiting for the database beyond which nothing more is claimed.
constexpr std::size_t kMaxUnrecorded = 1'000;
/// What stop() gives the finisher.
constexpr milliseconds kStopPatience{3'000};
constexpr std::size_t kSlotsPerWebhook = 1;

}  // namespace

class WebhookService::Impl {
 public:
  Impl(const Config& config, WebhookMetrics& metrics);
  ~Impl() { stop(); }

  void start();
  void stop();
  void wake();

 private:
  void schedule();
  milliseconds schedule_once();
  void note_backlog();
  std::vector<OwedWebhook> choose(const std::vector<OwedWebhook>& owed, milliseconds& next);
  bool may_start(const OwedWebhook& webhook, std::size_t chosen) const;
  void send_all();
  AttemptOutcome deliver(const ClaimedDelivery& delivery, std::mt19937_64& random);
  void hand_over(AttemptOutcome outcome);
  void count(AttemptOutcome::Kind kind);
  void release(std::int64_t webhook_id);
  void finish_all();
  std::vector<AttemptOutcome> next_batch();
  void record(const std::vector<AttemptOutcome>& batch);

  const Config config_;
  WebhookMetrics& metrics_;
  const SecretBox box_;
  WebhookSender sender_;
  Database claim_database_;
  Database finish_database_;
  WebhookQueue claims_{claim_database_};
  WebhookQueue finishes_{finish_database_};

  mutable std::mutex mutex_;
  std::condition_variable schedule_changed_;
  std::condition_variable job_added_;
  std::condition_variable outcome_added_;
  bool stopping_ = false;      ///< nothing more is claimed or sent
  bool workers_done_ = false;  ///< no more outcomes will come
  bool woken_ = false;
  Clock::time_point give_up_at_ = Clock::time_point::max();
  std::deque<ClaimedDelivery> jobs_;
  std::deque<AttemptOutcome> outcomes_;
  std::size_t recording_ = 0;
  std::unordered_set<std::int64_t> busy_;     ///< webhooks with a request under way
  std::unordered_set<std::int64_t> failing_;  ///< webhooks whose last attempt failed
  Clock::time_point noted_at_{};              ///< when the backlog was; the scheduler's own
  Clock::time_point disabled_at_{};           ///< when disabled webhooks were looked at; the scheduler's own

  std::thread scheduler_;
  std::vector<std::thread> workers_;
  std::thread finisher_;
};

WebhookService::Impl::Impl(const Config& config, WebhookMetrics& metrics)
    : config_(config),
      metrics_(metrics),
      box_(config.secret_key),
      sender_(config),
      claim_database_(config),
      finish_database_(config) {}

void WebhookService::Impl::start() {
  finisher_ = std::thread([this] { finish_all(); });
  for (std::uint64_t i = 0; i < std::max<std::uint64_t>(config_.webhook_workers, 1); ++i) {
    workers_.emplace_back([this] { send_all(); });
  }
  scheduler_ = std::thread([this] { schedule(); });
}

void WebhookService::Impl::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    jobs_.clear();
  }
  schedule_changed_.notify_all();
  job_added_.notify_all();
  if (scheduler_.joinable()) scheduler_.join();
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
  {
    const std::lock_guard lock(mutex_);
    workers_done_ = true;
    give_up_at_ = Clock::now() + kStopPatience;
  }
  outcome_added_.notify_all();
  if (finisher_.joinable()) finisher_.join();
}

void WebhookService::Impl::wake() {
  {
    const std::lock_guard lock(mutex_);
    if (woken_) return;
    woken_ = true;
  }
  schedule_changed_.notify_one();
}

void WebhookService::Impl::schedule() {
  milliseconds delay = kFirstBackOff;
  bool failing = false;
  while (true) {
    milliseconds pause = kIdlePoll;
    try {
      pause = schedule_once();
      note_backlog();
      if (failing) log_info("webhook queue: the database is back");
      failing = false;
      delay = kFirstBackOff;
    } catch (const std::exception& error) {
      metrics_.queue_errors.add();
      if (!failing) log_error(std::string("webhook queue: ") + error.what());
      failing = true;
      pause = delay;
      delay = std::min(delay * 2, kLongestBackOff);
    }
    std::unique_lock lock(mutex_);
    if (failing) {
      schedule_changed_.wait_for(lock, pause, [&] { return stopping_; });
    } else {
      schedule_changed_.wait_for(lock, kShortestPause, [&] { return stopping_; });
      schedule_changed_.wait_for(lock, pause, [&] { return stopping_ || woken_; });
    }
    woken_ = false;
    if (stopping_) return;
  }
}

/// One look at the queue; returns how long to sleep unless woken.
milliseconds WebhookService::Impl::schedule_once() {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_ || outcomes_.size() + recording_ >= kMaxUnrecorded) return kIdlePoll;
    if (busy_.size() >= workers_.size()) return kIdlePoll;  // a worker that becomes free wakes us
  }
  milliseconds next = kIdlePoll;
  const auto chosen = choose(claims_.owed(), next);
  if (chosen.empty()) return next;
  auto claimed = claims_.claim(chosen, kSlotsPerWebhook, config_.webhook_timeout + kLeaseMargin);
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return next;
    for (ClaimedDelivery& delivery : claimed) {
      busy_.insert(delivery.webhook_id);
      jobs_.push_back(std::move(delivery));
    }
  }
  job_added_.notify_all();
  return next;
}

void WebhookService::Impl::note_backlog() {
  if (Clock::now() - noted_at_ < kNoteBacklogEvery) return;
  noted_at_ = Clock::now();
  const WebhookBacklog backlog = claims_.backlog();
  metrics_.pending.set(backlog.deliveries);
  metrics_.oldest_age.set(backlog.oldest_age.count());
}

/// The webhooks to claim for now. `next` becomes the time until another one is due.
std::vector<OwedWebhook> WebhookService::Impl::choose(const std::vector<OwedWebhook>& owed, milliseconds& next) {
  std::vector<OwedWebhook> chosen;
  const bool look_at_disabled = Clock::now() - disabled_at_ >= kDisabledPause;
  if (look_at_disabled) disabled_at_ = Clock::now();
  const std::lock_guard lock(mutex_);
  for (const OwedWebhook& webhook : owed) {
    if (webhook.due_in > milliseconds{0}) {
      next = std::min(next, webhook.due_in);
      continue;
    }
    if (webhook.state != OwedWebhook::State::enabled) next = std::min(next, kDisabledPause);
    if (webhook.state != OwedWebhook::State::enabled && !look_at_disabled) continue;
    if (may_start(webhook, chosen.size())) chosen.push_back(webhook);
  }
  return chosen;
}

/// A quarter of the workers is kept for webhooks that are not failing: endpoints that hang must not use up all.
bool WebhookService::Impl::may_start(const OwedWebhook& webhook, std::size_t chosen) const {
  if (busy_.contains(webhook.webhook_id)) return false;
  const std::size_t reserved = failing_.contains(webhook.webhook_id) ? workers_.size() / 4 : 0;
  return busy_.size() + chosen + reserved < workers_.size();
}

void WebhookService::Impl::send_all() {
  std::mt19937_64 random{std::random_device{}()};
  while (true) {
    ClaimedDelivery delivery;
    {
      std::unique_lock lock(mutex_);
      job_added_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
      if (stopping_) return;
      delivery = std::move(jobs_.front());
      jobs_.pop_front();
    }
    hand_over(deliver(delivery, random));
  }
}

AttemptOutcome WebhookService::Impl::deliver(const ClaimedDelivery& delivery, std::mt19937_64& random) {
  WebhookResponse response;
  try {
    response = sender_.send({.delivery_id = delivery.delivery_id,
                             .webhook_id = delivery.webhook_id,
                             .attempt = delivery.attempt,
                             .url = delivery.url,
                             .headers = {},
                             .secrets = {box_.open(delivery.sealed_secret)},
                             .event_type = delivery.event_type,
                             .body = delivery.body,
                             .timeout = config_.webhook_timeout});
  } catch (const std::exception&) {
    response.error = "The stored secret cannot be decrypted";
  }
  AttemptOutcome outcome{.delivery_id = delivery.delivery_id,
                         .webhook_id = delivery.webhook_id,
                         .attempt = delivery.attempt,
                         .lease_token = delivery.lease_token,
                         .kind = AttemptOutcome::Kind::succeeded,
                         .retry_in = milliseconds{0},
                         .response_status = response.status,
                         .error = response.error,
                         .duration = response.duration,
                         .response_body = response.body};
  if (response.error.empty()) return outcome;
  const double chance = std::uniform_real_distribution<double>(0, 1)(random);
  const auto wait = retry_delay(config_.webhook_retry_schedule, delivery.attempt, chance, response.retry_after);
  outcome.kind = wait ? AttemptOutcome::Kind::retry : AttemptOutcome::Kind::failed;
  if (response.status == 410) outcome.kind = AttemptOutcome::Kind::gone;
  outcome.retry_in = wait.value_or(milliseconds{0});
  return outcome;
}

/// The webhook's slot is free at once, its next delivery need not wait for the disk; only after a 410 it stays taken
/// until the webhook is known to be disabled.
void WebhookService::Impl::hand_over(AttemptOutcome outcome) {
  const std::int64_t webhook_id = outcome.webhook_id;
  const bool gone = outcome.kind == AttemptOutcome::Kind::gone;
  {
    const std::lock_guard lock(mutex_);
    if (outcome.kind == AttemptOutcome::Kind::succeeded) {
      failing_.erase(webhook_id);
    } else {
      failing_.insert(webhook_id);
    }
    count(outcome.kind);
    outcomes_.push_back(std::move(outcome));
  }
  outcome_added_.notify_one();
  if (!gone) release(webhook_id);
}

/// Under the lock: there are many workers.
void WebhookService::Impl::count(AttemptOutcome::Kind kind) {
  switch (kind) {
    case AttemptOutcome::Kind::succeeded:
      return metrics_.delivered.add();
    case AttemptOutcome::Kind::retry:
      return metrics_.retried.add();
    case AttemptOutcome::Kind::failed:
      return metrics_.failed.add();
    case AttemptOutcome::Kind::gone:
      return metrics_.gone.add();
  }
}

void WebhookService::Impl::release(std::int64_t webhook_id) {
  {
    const std::lock_guard lock(mutex_);
    busy_.erase(webhook_id);
  }
  wake();
}

void WebhookService::Impl::finish_all() {
  for (auto batch = next_batch(); !batch.empty(); batch = next_batch()) {
    record(batch);
    bool rescheduled = false;
    for (const AttemptOutcome& outcome : batch) {
      if (outcome.kind == AttemptOutcome::Kind::gone) release(outcome.webhook_id);
      rescheduled = rescheduled || outcome.kind == AttemptOutcome::Kind::retry;
    }
    if (rescheduled) wake();  // the new due time may come before the scheduler looks again
  }
}

/// Waits for an outcome and a moment more for company. Empty when there will be no more.
std::vector<AttemptOutcome> WebhookService::Impl::next_batch() {
  std::unique_lock lock(mutex_);
  recording_ = 0;
  outcome_added_.wait(lock, [&] { return workers_done_ || !outcomes_.empty(); });
  outcome_added_.wait_for(lock, kFinishDelay, [&] { return workers_done_ || outcomes_.size() >= kFinishBatch; });
  std::vector<AttemptOutcome> batch;
  while (!outcomes_.empty() && batch.size() < kFinishBatch) {
    batch.push_back(std::move(outcomes_.front()));
    outcomes_.pop_front();
  }
  recording_ = batch.size();
  return batch;
}

/// Tries until it is done; gives up only some time after stop(): what is not recorded comes due again.
void WebhookService::Impl::record(const std::vector<AttemptOutcome>& batch) {
  milliseconds delay = kFirstBackOff;
  for (bool failing = false;; failing = true) {
    try {
      finishes_.finish(batch);
      if (failing) log_info("webhook outcomes: the database is back");
      return;
    } catch (const std::exception& error) {
      metrics_.finish_errors.add();
      if (!failing) log_error(std::string("webhook outcomes: ") + error.what());
    }
    std::unique_lock lock(mutex_);
    outcome_added_.wait_for(lock, delay, [&] { return workers_done_; });
    if (Clock::now() >= give_up_at_) {
      log_error("webhook outcomes: " + std::to_string(batch.size()) + " not recorded, they will be sent again");
      return;
    }
    if (workers_done_) outcome_added_.wait_until(lock, Clock::now() + delay);
    delay = std::min(delay * 2, kLongestBackOff);
  }
}

WebhookService::WebhookService(const Config& config, WebhookMetrics& metrics)
    : impl_(std::make_unique<Impl>(config, metrics)) {}
WebhookService::~WebhookService() = default;
void WebhookService::start() {
  impl_->start();
}
void WebhookService::stop() {
  impl_->stop();
}
void WebhookService::wake() {
  impl_->wake();
}

}  // namespace gamepicker
