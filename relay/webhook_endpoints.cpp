#include "relay/webhook_endpoints.hpp"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

namespace gamepicker {
namespace {

using std::chrono::milliseconds;

/// Claimed ahead of a proven endpoint.
constexpr std::size_t kMostAhead = 64;
/// Bodies are in memory for these; the largest has 64 KiB.
constexpr std::size_t kMostInHand = 512;
/// In one claim. More webhooks make a long statement, more deliveries a long transaction.
constexpr std::size_t kWebhooksPerClaim = 64;
constexpr std::size_t kDeliveriesPerClaim = 256;
/// A webhook that is disabled or deleted is looked at no more often.
constexpr milliseconds kHeldPause{250};
/// Of an endpoint; those that are not remembered are found when all of the queue is looked at.
constexpr std::size_t kMostRetries = 64;
/// Between a claim and the request. Leases are longer than a request may take by kLeaseMargin, of which that is a part.
constexpr milliseconds kLongestWait{10'000};
/// One of whose rows another transaction had locked.
constexpr milliseconds kHeldUpPause{5};
/// A row of a transaction that commits late may be due that much before one that was claimed already.
constexpr std::int64_t kLateCommit = 5'000'000;
constexpr double kJitter = 0.2;

}  // namespace

WebhookEndpoints::WebhookEndpoints(std::size_t workers, std::function<double()> random)
    : workers_(workers), random_(std::move(random)) {}

void WebhookEndpoints::note_owed(const OwedWebhook& webhook, Clock::time_point now) {
  const bool known = endpoints_.contains(webhook.webhook_id);
  Endpoint& endpoint = endpoints_[webhook.webhook_id];
  if (!endpoint.gone) endpoint.state = webhook.state;
  endpoint.concurrency = webhook.concurrency;
  endpoint.rate_limit = webhook.rate_limit;
  endpoint.timeout = webhook.timeout;
  if (!known || webhook.failures == 0 || webhook.failures > endpoint.failures) {
    // Our own knowledge, unless there is none, its owner has changed it, or another relay has tried meanwhile.
    if (endpoint.running == 0) {
      endpoint.failures = webhook.failures;
      endpoint.backs_off_until = now + std::max(webhook.backs_off_for, milliseconds{0});
    }
  }
  endpoint.due = std::min(endpoint.due, now + std::max(webhook.due_in, milliseconds{0}));
  if (webhook.due_in < milliseconds{0}) endpoint.due_from = 0;  // it may lie before what was claimed last
}

void WebhookEndpoints::note_retry(std::int64_t webhook_id, Clock::time_point at) {
  Endpoint& endpoint = endpoints_[webhook_id];
  endpoint.due = std::min(endpoint.due, at);
  endpoint.retries.insert(at);
  if (endpoint.retries.size() > kMostRetries) endpoint.retries.erase(std::prev(endpoint.retries.end()));
}

void WebhookEndpoints::note_added(std::int64_t webhook_id, Clock::time_point now) {
  Endpoint& endpoint = endpoints_[webhook_id];
  endpoint.due = std::min(endpoint.due, now);
  endpoint.look_for_tests = std::min(endpoint.look_for_tests, now);
}

void WebhookEndpoints::forget_all_but(const std::vector<OwedWebhook>& owed, Clock::time_point now) {
  std::set<std::int64_t> kept;
  for (const OwedWebhook& webhook : owed) kept.insert(webhook.webhook_id);
  std::erase_if(endpoints_, [&](const auto& entry) {
    const Endpoint& endpoint = entry.second;
    const bool idle = endpoint.running == 0 && endpoint.ready.empty() && !endpoint.returning && !endpoint.gone &&
                      endpoint.may_start_at <= now;
    return idle && endpoint.failures == 0 && !kept.contains(entry.first);
  });
}

void WebhookEndpoints::note_disabled(std::int64_t webhook_id) {
  endpoints_[webhook_id].gone = false;
}

/// No webhook gets more than half of the workers.
std::size_t WebhookEndpoints::most_at_a_time(const Endpoint& endpoint) const {
  return std::min(endpoint.concurrency, std::max<std::size_t>(workers_ / 2, 1));
}

bool WebhookEndpoints::backs_off(const Endpoint& endpoint, Clock::time_point now) const {
  return endpoint.failures >= kFailuresToBackOff && endpoint.backs_off_until > now;
}

/// How many of its deliveries to have in hand.
std::size_t WebhookEndpoints::depth(const Endpoint& endpoint) const {
  if (endpoint.failures >= kFailuresToBackOff || endpoint.state != OwedWebhook::State::enabled) return 1;
  const std::size_t at_a_time = most_at_a_time(endpoint);
  if (!endpoint.proven || endpoint.failures > 0 || endpoint.rate_limit > 0) return at_a_time;
  const auto in_time = static_cast<std::size_t>(kSlow / std::max(endpoint.last_duration, milliseconds{1}));
  return std::max(at_a_time, std::min(at_a_time * in_time, kMostAhead));
}

/// Endpoints that are not proven may hang: they never get the last quarter of the workers, failing ones not even the
/// second half. `risky`: how many such requests there are.
std::size_t WebhookEndpoints::free_workers(std::size_t risky, const Endpoint& endpoint) const {
  const std::size_t limit = std::max<std::size_t>(endpoint.failures > 0 ? workers_ / 2 : workers_ * 3 / 4, 1);
  return limit - std::min(limit, risky);
}

std::size_t WebhookEndpoints::wanted(const Endpoint& endpoint, Clock::time_point now, Clock::time_point& next) const {
  if (endpoint.returning) return 0;
  if (backs_off(endpoint, now) && endpoint.running == 0) {
    if (endpoint.look_for_tests <= now) return 1;
    next = std::min(next, endpoint.look_for_tests);
  }
  const auto at = std::max({endpoint.due, endpoint.may_start_at,
                            endpoint.failures >= kFailuresToBackOff ? endpoint.backs_off_until : endpoint.due});
  if (endpoint.due == Clock::time_point::max()) return 0;
  if (at > now) {
    next = std::min(next, at);
    return 0;
  }
  const std::size_t most = depth(endpoint);
  const std::size_t in_hand = endpoint.running + endpoint.ready.size();
  if (in_hand >= most || (in_hand > most / 2 && !endpoint.ready.empty())) return 0;
  // Of a limited one what 10 ms allow.
  const auto allowed = std::max<std::size_t>(static_cast<std::size_t>(endpoint.rate_limit) / 100, 1);
  return std::min(most - in_hand, endpoint.rate_limit > 0 ? allowed : kMostInHand);
}

std::vector<ClaimWish> WebhookEndpoints::choose(const std::function<bool(std::int64_t)>& owns, Clock::time_point now,
                                                Clock::time_point& next) {
  wants_look_ = false;
  refused_ = false;
  chosen_at_ = now;
  std::vector<ClaimWish> wishes;
  std::size_t room = kMostInHand - std::min(kMostInHand, in_hand());
  std::size_t risky = risky_;
  auto entry = endpoints_.upper_bound(last_chosen_);
  for (std::size_t seen = 0; seen < endpoints_.size() && wishes.size() < kWebhooksPerClaim; ++seen) {
    if (entry == endpoints_.end()) entry = endpoints_.begin();
    auto& [webhook_id, endpoint] = *entry++;
    if (!owns(webhook_id)) {
      give_back_ready(endpoint);
      endpoint.success_noted = false;
      continue;
    }
    std::size_t count = wanted(endpoint, now, next);
    if (count == 0) continue;
    if (!endpoint.proven) count = std::min(count, free_workers(risky, endpoint));
    count = std::min(count, room);
    if (count == 0) {
      refused_ = true;
      continue;
    }
    if (!endpoint.proven) risky += count;
    wishes.push_back({.webhook_id = webhook_id,
                      .state = endpoint.state,
                      .count = count,
                      .probe = endpoint.failures >= kFailuresToBackOff,
                      .tests = backs_off(endpoint, now),
                      .due_from = endpoint.due_from});
    room -= count;
    last_chosen_ = webhook_id;
  }
  std::size_t total = 0;
  for (const ClaimWish& wish : wishes) total += wish.count;
  if (total > kDeliveriesPerClaim) {
    for (ClaimWish& wish : wishes) wish.count = std::max<std::size_t>(wish.count * kDeliveriesPerClaim / total, 1);
  }
  return wishes;
}

milliseconds WebhookEndpoints::longest_timeout(const std::vector<ClaimWish>& wishes, milliseconds otherwise) const {
  for (const ClaimWish& wish : wishes) {
    otherwise = std::max(otherwise, endpoints_.at(wish.webhook_id).timeout.value_or(milliseconds{0}));
  }
  return otherwise;
}

void WebhookEndpoints::claimed(const std::vector<ClaimWish>& wishes, Claim claim, Clock::time_point now) {
  std::map<std::int64_t, std::size_t> got;
  for (ClaimedDelivery& delivery : claim.deliveries) {
    Endpoint& endpoint = endpoints_[delivery.webhook_id];
    ++got[delivery.webhook_id];
    if (endpoint.returning) {  // behind what is on its way back
      returned_.push_back(std::move(delivery));
      continue;
    }
    endpoint.concurrency = delivery.settings->concurrency;
    endpoint.rate_limit = delivery.settings->rate_limit;
    endpoint.timeout = delivery.settings->timeout;
    endpoint.due_from = std::max<std::int64_t>(delivery.due_at - kLateCommit, 0);
    delivery.claimed_at = chosen_at_;
    endpoint.ready.push_back(std::move(delivery));
    ++waiting_;
  }
  for (const ClaimWish& wish : wishes) {
    Endpoint& endpoint = endpoints_[wish.webhook_id];
    const bool held_up = claim.held_up.contains(wish.webhook_id);
    endpoint.look_for_tests = wish.tests && held_up ? now + kHeldUpPause : Clock::time_point::max();
    // Those were not the oldest by their due times.
    if (wish.tests || wish.probe || wish.state != OwedWebhook::State::enabled) endpoint.due_from = 0;
    if (wish.tests) {  // the others still wait for the probe
      queue_ready(endpoint);
      continue;
    }
    const bool more = got[wish.webhook_id] == wish.count;
    endpoint.retries.erase(endpoint.retries.begin(), endpoint.retries.upper_bound(chosen_at_));
    endpoint.due = more ? now : endpoint.retries.empty() ? Clock::time_point::max() : *endpoint.retries.begin();
    if (wish.state != OwedWebhook::State::enabled && more) endpoint.due = now + kHeldPause;
    if (wish.state == OwedWebhook::State::deleted) endpoint.due = now + kHeldPause;
    if (held_up) endpoint.due = got[wish.webhook_id] > 0 ? now : now + kHeldUpPause;
    if (endpoint.rate_limit > 0) {
      const auto pace = std::chrono::nanoseconds(std::chrono::seconds(1)) / endpoint.rate_limit;
      endpoint.may_start_at = std::max(endpoint.may_start_at, now) + pace * static_cast<int>(got[wish.webhook_id]);
    }
    queue_ready(endpoint);
  }
}

void WebhookEndpoints::queue_ready(Endpoint& endpoint) {
  while (!endpoint.ready.empty() && endpoint.running < most_at_a_time(endpoint)) {
    startable_.push_back(std::move(endpoint.ready.front()));
    endpoint.ready.pop_front();
    --waiting_;
    ++running_;
    ++endpoint.running;
    if (endpoint.proven) continue;
    ++endpoint.risky;
    ++risky_;
  }
}

std::optional<ClaimedDelivery> WebhookEndpoints::start(Clock::time_point now) {
  while (!startable_.empty()) {
    ClaimedDelivery delivery = std::move(startable_.front());
    startable_.pop_front();
    if (now - delivery.claimed_at < kLongestWait) return delivery;
    Endpoint& endpoint = endpoints_[delivery.webhook_id];
    return_startable(std::move(delivery));
    give_back_ready(endpoint);
  }
  return std::nullopt;
}

void WebhookEndpoints::return_startable(ClaimedDelivery delivery) {
  Endpoint& endpoint = endpoints_[delivery.webhook_id];
  endpoint.returning = true;
  --endpoint.running;
  --running_;
  if (endpoint.risky > 0) {
    --endpoint.risky;
    --risky_;
  }
  returned_.push_back(std::move(delivery));
}

EndpointHealth WebhookEndpoints::finished(std::int64_t webhook_id, const Result& result, Clock::time_point now) {
  Endpoint& endpoint = endpoints_[webhook_id];
  --running_;
  --endpoint.running;
  if (endpoint.risky > 0) {
    --endpoint.risky;
    --risky_;
  }
  EndpointHealth health;
  health.was_failing = endpoint.failures > 0 || !endpoint.success_noted;
  endpoint.last_duration = result.duration;
  endpoint.proven = result.succeeded && result.duration < kSlow && !result.endless;
  if (result.endless) endpoint.may_start_at = std::max(endpoint.may_start_at, now + kEndlessPause);
  if (!endpoint.proven) give_back_ready(endpoint);
  if (result.succeeded) {
    endpoint.failures = 0;
    endpoint.success_noted = true;
    endpoint.backs_off_until = now;
  } else {
    health.failures = ++endpoint.failures;
    endpoint.success_noted = false;
    if (endpoint.failures >= kFailuresToBackOff) {
      health.backs_off_for = std::max(back_off(endpoint.failures), result.retry_after.value_or(milliseconds{0}));
      endpoint.backs_off_until = now + health.backs_off_for;
    }
    if (result.gone) {
      endpoint.gone = true;
      endpoint.state = OwedWebhook::State::disabled;
    }
  }
  queue_ready(endpoint);
  // An endpoint that has more is about to run dry, or there is room for what was refused.
  const bool dry = endpoint.due <= now && endpoint.ready.size() <= depth(endpoint) / 2;
  if (dry || !result.succeeded || refused_) wants_look_ = true;
  return health;
}

milliseconds WebhookEndpoints::back_off(std::int64_t failures) {
  const auto doublings = std::clamp<std::int64_t>(failures - kFailuresToBackOff, 0, 10);
  const auto plain = std::min(kFirstBackOff * (std::int64_t{1} << doublings), kLongestBackOff);
  return std::chrono::duration_cast<milliseconds>(plain * (1 - kJitter + 2 * kJitter * random_()));
}

void WebhookEndpoints::give_back_ready(Endpoint& endpoint) {
  if (endpoint.ready.empty()) return;
  endpoint.returning = true;
  waiting_ -= endpoint.ready.size();
  std::ranges::move(endpoint.ready, std::back_inserter(returned_));
  endpoint.ready.clear();
}

void WebhookEndpoints::return_all() {
  for (auto& [webhook_id, endpoint] : endpoints_) give_back_ready(endpoint);
  for (ClaimedDelivery& delivery : startable_) return_startable(std::move(delivery));
  startable_.clear();
}

std::vector<ClaimedDelivery> WebhookEndpoints::take_returned() {
  return std::exchange(returned_, {});
}

void WebhookEndpoints::given_back(const std::vector<ClaimedDelivery>& deliveries) {
  for (const ClaimedDelivery& delivery : deliveries) {
    Endpoint& endpoint = endpoints_[delivery.webhook_id];
    endpoint.returning = false;
    endpoint.due = Clock::time_point::min();
    endpoint.due_from = 0;
  }
  for (const ClaimedDelivery& delivery : returned_) endpoints_[delivery.webhook_id].returning = true;
}

void WebhookEndpoints::not_given_back(std::vector<ClaimedDelivery> deliveries) {
  std::ranges::move(deliveries, std::back_inserter(returned_));
}

}  // namespace gamepicker
