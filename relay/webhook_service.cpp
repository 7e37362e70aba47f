#include "relay/webhook_service.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "relay/attempt_finisher.hpp"
#include "relay/delivery_attempt.hpp"
#include "relay/failpoint.hpp"
#include "relay/webhook_endpoints.hpp"
#include "relay/webhook_queue.hpp"
#include "relay/webhook_sender.hpp"
#include "relay/webhook_senders.hpp"
#include "shared/log.hpp"
#include "shared/nudge.hpp"
#include "shared/secret_box.hpp"

namespace gamepicker {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// A lease outlives the request by this much: time to record what came of it.
constexpr milliseconds kLeaseMargin{15'000};
/// At a stop, for the requests under way, before other relays take the webhooks over.
constexpr milliseconds kLastRequests{2'000};
/// Times WEBHOOK_WORKERS, while endpoints hang.
constexpr std::size_t kMostWorkers = 4;
/// Between two looks at the queue, however often we are woken.
constexpr milliseconds kShortestPause{2};
/// Between two looks at all of the queue's webhooks, and at the other senders.
constexpr milliseconds kLookAtAllEvery{2'000};
/// A look at all may take a fiftieth of the time: the purge of deleted rows may be behind, as with a forgotten read
/// view.
constexpr int kLookAtAllShare = 50;
constexpr milliseconds kSuspiciousPause{100};
/// A nudge may come from a new sender; the others are looked at no more often for it.
constexpr milliseconds kSendersPause{200};
/// What is due so soon is done at once, in one look.
constexpr milliseconds kAbout{50};
/// For the metrics.
constexpr milliseconds kNoteBacklogEvery{10'000};
constexpr milliseconds kFirstBackOff{100};
constexpr milliseconds kLongestBackOff{2'000};
/// Outcomes waiting for the database beyond which nothing more is claimed.
constexpr std::size_t kMaxUnrecorded = 1'000;

/// What fails at the end comes due again by itself.
template <typename Work>
void attempt_at_end(Work work) {
  try {
    work();
  } catch (const DatabaseError& error) {
    log_warning(std::string("webhook queue: ") + error.what());
  }
}

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
  milliseconds look(bool woken);
  void look_at_all();
  void claim(Clock::time_point& next);
  void give_back();
  Clock::time_point add_worker_if_stuck();
  void note_backlog();
  void send_all();
  void finish(const ClaimedDelivery& delivery, const WebhookResponse& response);
  void count(AttemptOutcome::Kind kind);
  void recorded(const std::vector<AttemptOutcome>& batch);
  double random();

  const Config config_;
  WebhookMetrics& metrics_;
  const SecretBox box_;
  const Nudge nudge_;
  Failpoint failpoint_;
  WebhookSender sender_;
  Database claim_database_;
  WebhookQueue queue_{claim_database_};
  WebhookSenders senders_{claim_database_};

  mutable std::mutex mutex_;
  std::condition_variable schedule_changed_;
  std::condition_variable job_added_;
  bool stopping_ = false;  ///< nothing more is claimed or sent
  bool woken_ = false;
  bool claims_wait_ = false;  ///< for outcomes to be recorded
  std::size_t idle_workers_ = 0;
  Clock::time_point started_at_{};  ///< when a worker began the last request
  std::mt19937_64 random_{std::random_device{}()};
  WebhookEndpoints endpoints_;

  // The scheduler's own.
  std::uint32_t claims_ = 0;
  std::optional<std::uint64_t> lost_claim_;  ///< the token of a claim whose outcome is not known
  Clock::time_point look_at_all_at_{};
  Clock::time_point look_at_senders_at_{};
  Clock::time_point may_look_at_senders_at_{};
  Clock::time_point note_backlog_at_{};

  std::thread scheduler_;
  AttemptFinisher finisher_;
  std::vector<std::thread> workers_;
};

WebhookService::Impl::Impl(const Config& config, WebhookMetrics& metrics)
    : config_(config),
      metrics_(metrics),
      box_(config.secret_key),
      nudge_(config.relay_nudge),
      failpoint_(config.relay_failpoint),
      sender_(config),
      claim_database_(config),
      endpoints_(config.webhook_workers, [this] { return random(); }),
      finisher_(config, metrics.finish_errors, failpoint_, [this](const auto& batch) { recorded(batch); }) {}

/// Under the lock.
double WebhookService::Impl::random() {
  return std::uniform_real_distribution<double>(0, 1)(random_);
}

void WebhookService::Impl::start() {
  finisher_.start();
  for (std::uint64_t i = 0; i < config_.webhook_workers; ++i) {
    workers_.emplace_back([this] { send_all(); });
  }
  scheduler_ = std::thread([this] { schedule(); });
}

void WebhookService::Impl::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    endpoints_.return_all();
  }
  schedule_changed_.notify_all();
  job_added_.notify_all();
  if (!scheduler_.joinable()) return;
  scheduler_.join();
  attempt_at_end([this] { give_back(); });  // others need not wait for leases to run out
  {
    std::unique_lock lock(mutex_);
    schedule_changed_.wait_for(lock, kLastRequests, [&] { return endpoints_.in_hand() == 0; });
  }
  // Others begin with what comes behind the requests that still hang; those stay ours by their leases.
  attempt_at_end([this] { senders_.leave(); });
  for (std::thread& worker : workers_) worker.join();
  finisher_.stop();
}

void WebhookService::Impl::wake() {
  {
    const std::lock_guard lock(mutex_);
    if (woken_) return;
    woken_ = true;
  }
  schedule_changed_.notify_one();
}

// ---- the scheduler ----

void WebhookService::Impl::schedule() {
  milliseconds delay = kFirstBackOff;
  bool failing = false;
  bool woken = false;
  while (true) {
    milliseconds pause{0};
    try {
      pause = look(woken);
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
    woken = std::exchange(woken_, false);
    if (stopping_) return;
  }
}

/// One look at the queue; returns how long to sleep unless woken.
milliseconds WebhookService::Impl::look(bool woken) {
  auto now = Clock::now();
  const auto about_now = now + kAbout;
  if (about_now >= look_at_senders_at_ || (woken && now >= may_look_at_senders_at_) || !senders_.registered()) {
    senders_.look();
    const bool again = senders_.suspicious() || senders_.new_among_others();
    look_at_senders_at_ = now + (again ? kSuspiciousPause : kLookAtAllEvery);
    may_look_at_senders_at_ = now + kSendersPause;
    if (senders_.new_among_others()) nudge_.send();  // wakes the others
  }
  give_back();
  if (about_now >= look_at_all_at_) look_at_all();
  const auto added = queue_.added();
  now = Clock::now();
  {
    const std::lock_guard lock(mutex_);
    for (const std::int64_t webhook_id : added) endpoints_.note_added(webhook_id, now);
  }
  auto next = std::min(look_at_senders_at_, look_at_all_at_);
  claim(next);
  next = std::min(next, add_worker_if_stuck());
  note_backlog();
  return std::max(std::chrono::ceil<milliseconds>(next - Clock::now()), milliseconds{0});
}

void WebhookService::Impl::look_at_all() {
  const auto start = Clock::now();
  const auto owed = queue_.owed();
  const auto now = Clock::now();
  look_at_all_at_ = now + std::max<Clock::duration>(kLookAtAllEvery, (now - start) * kLookAtAllShare);
  const std::lock_guard lock(mutex_);
  for (const OwedWebhook& webhook : owed) endpoints_.note_owed(webhook, now);
  endpoints_.forget_all_but(owed, now);
}

/// Until nothing more can be had; `next` becomes the time when there may be more.
void WebhookService::Impl::claim(Clock::time_point& next) {
  std::vector<ClaimWish> wishes;
  milliseconds lease = config_.webhook_timeout;
  {
    const std::lock_guard lock(mutex_);
    claims_wait_ = finisher_.failing() || finisher_.unrecorded() >= kMaxUnrecorded;
    if (stopping_ || claims_wait_) return;
    wishes = endpoints_.choose([this](std::int64_t id) { return senders_.owns(id); }, Clock::now(), next);
    lease = endpoints_.longest_timeout(wishes, lease) + kLeaseMargin;
  }
  give_back();  // what others own now
  if (wishes.empty()) return;
  const std::uint64_t token = lease_token(senders_.number(), ++claims_);
  lost_claim_ = token;
  Claim claim = queue_.claim(wishes, token, lease);
  lost_claim_.reset();
  if (!claim.deliveries.empty()) failpoint_.pass(Failpoint::kAfterClaim);
  std::size_t jobs = 0;
  {
    const std::lock_guard lock(mutex_);
    endpoints_.claimed(wishes, std::move(claim), Clock::now());
    if (stopping_) endpoints_.return_all();
    next = Clock::now();  // look whether there is more
    jobs = endpoints_.startable();
  }
  for (; jobs > 0; --jobs) job_added_.notify_one();
}

void WebhookService::Impl::give_back() {
  if (lost_claim_) queue_.give_back(*lost_claim_, *lost_claim_);
  lost_claim_.reset();
  std::vector<ClaimedDelivery> returned;
  {
    const std::lock_guard lock(mutex_);
    returned = endpoints_.take_returned();
  }
  if (returned.empty()) return;
  try {
    queue_.give_back(returned);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    endpoints_.not_given_back(std::move(returned));
    throw;
  }
  const std::lock_guard lock(mutex_);
  endpoints_.given_back(returned);
}

/// When every request under way takes its time and there are others to send, one more worker helps out and stays:
/// hanging endpoints must not delay healthy ones. Returns when to look again.
Clock::time_point WebhookService::Impl::add_worker_if_stuck() {
  const std::lock_guard lock(mutex_);
  const auto now = Clock::now();
  if (endpoints_.startable() == 0 || idle_workers_ > 0 || stopping_) return Clock::time_point::max();
  if (now < started_at_ + WebhookEndpoints::kSlow) return started_at_ + WebhookEndpoints::kSlow;
  if (workers_.size() >= kMostWorkers * config_.webhook_workers) return Clock::time_point::max();
  workers_.emplace_back([this] { send_all(); });
  return now + kShortestPause;
}

void WebhookService::Impl::note_backlog() {
  if (Clock::now() < note_backlog_at_) return;
  note_backlog_at_ = Clock::now() + kNoteBacklogEvery;
  const WebhookBacklog backlog = queue_.backlog();
  metrics_.pending.set(backlog.deliveries);
  metrics_.oldest_age.set(backlog.oldest_age.count());
}

// ---- the workers ----

void WebhookService::Impl::send_all() {
  while (true) {
    std::optional<ClaimedDelivery> delivery;
    {
      std::unique_lock lock(mutex_);
      ++idle_workers_;
      job_added_.wait(lock, [&] {
        if (!stopping_) delivery = endpoints_.start(Clock::now());
        return stopping_ || delivery;
      });
      --idle_workers_;
      if (stopping_) return;
      started_at_ = Clock::now();
    }
    const WebhookResponse response = send_delivery(*delivery, sender_, box_, config_.webhook_timeout);
    failpoint_.pass(Failpoint::kAfterSend);
    finish(*delivery, response);
  }
}

/// The webhook's next delivery does not wait until this one is recorded: it may start as soon as the answer is there.
void WebhookService::Impl::finish(const ClaimedDelivery& delivery, const WebhookResponse& response) {
  std::unique_lock lock(mutex_);
  AttemptOutcome outcome = delivery_outcome(delivery, response, config_.webhook_retry_schedule, random());
  outcome.health = endpoints_.finished(delivery.webhook_id,
                                       {.succeeded = response.error.empty(),
                                        .gone = outcome.kind == AttemptOutcome::Kind::gone,
                                        .endless = response.cut,
                                        .duration = response.duration,
                                        .retry_after = response.retry_after},
                                       Clock::now());
  // Under the lock: outcomes are recorded in the order in which the endpoint's health changed.
  finisher_.add(std::move(outcome));
  const bool look = endpoints_.wants_look();
  std::size_t others = endpoints_.startable();
  if (stopping_ && endpoints_.in_hand() == 0) schedule_changed_.notify_one();
  lock.unlock();
  for (; others > 1; --others) job_added_.notify_one();  // this worker takes the first
  if (look) wake();
}

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

/// Retries may be due before the scheduler looks at all again.
void WebhookService::Impl::recorded(const std::vector<AttemptOutcome>& batch) {
  bool look = false;
  {
    const std::lock_guard lock(mutex_);
    look = claims_wait_;
    const auto now = Clock::now();
    for (const AttemptOutcome& outcome : batch) {
      count(outcome.kind);
      if (outcome.kind == AttemptOutcome::Kind::gone) endpoints_.note_disabled(outcome.webhook_id);
      if (outcome.kind != AttemptOutcome::Kind::retry) continue;
      endpoints_.note_retry(outcome.webhook_id, now + outcome.retry_in);
      look = true;
    }
  }
  if (look) wake();
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
