#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "relay/attempt_recorder.hpp"
#include "relay/webhook_queue.hpp"

namespace gamepicker {

/// What the scheduler knows and decides of every webhook: when to look at its deliveries, how many to claim, when to
/// start them. No clock, no database, no thread of its own.
///
/// A webhook whose last attempt succeeded in good time is *proven*: some more of its deliveries are claimed than can be
/// sent at once, so that they go out without a claim each; no more than it takes in kSlow, for what is claimed hears no
/// more of changes. After kFailuresToBackOff failures in a row the endpoint as a
/// whole backs off: one probe at a time, with the oldest delivery that is due; the others wait and keep their attempts.
class WebhookEndpoints {
 public:
  using Clock = std::chrono::steady_clock;
  using milliseconds = std::chrono::milliseconds;

  static constexpr std::int64_t kFailuresToBackOff = 3;
  static constexpr milliseconds kFirstBackOff{1'000};
  static constexpr milliseconds kLongestBackOff{60'000};
  /// An attempt that takes longer holds up what was claimed ahead: that is given back.
  static constexpr milliseconds kSlow{250};
  /// Between two requests of one that answers with more than is read: 64 KiB each time are work for us and others.
  static constexpr milliseconds kEndlessPause{20};

  /// `workers`: requests at a time, of all webhooks. `random` is uniform in [0, 1).
  WebhookEndpoints(std::size_t workers, std::function<double()> random);

  // What the queue tells.

  void note_owed(const OwedWebhook& webhook, Clock::time_point now);
  /// All webhooks that are owed something have been noted; the others need not be remembered.
  void forget_all_but(const std::vector<OwedWebhook>& owed, Clock::time_point now);
  /// A delivery that failed comes due again then, or a little earlier.
  void note_retry(std::int64_t webhook_id, Clock::time_point at);
  /// A delivery was added: it may be a test, which does not wait for a back-off.
  void note_added(std::int64_t webhook_id, Clock::time_point now);
  /// The webhook is known to be disabled from the moment it answered 410; this says that the database knows, too.
  void note_disabled(std::int64_t webhook_id);

  /// What to claim now. `next` becomes the earliest time at which there may be more, if that is earlier.
  std::vector<ClaimWish> choose(const std::function<bool(std::int64_t)>& owns, Clock::time_point now,
                                Clock::time_point& next);
  /// The longest time limit of those wishes that have one of their own.
  milliseconds longest_timeout(const std::vector<ClaimWish>& wishes, milliseconds otherwise) const;
  /// What came of the wishes.
  void claimed(const std::vector<ClaimWish>& wishes, Claim claim, Clock::time_point now);

  // Sending.

  /// The next delivery to send, if there is one; it counts as under way. What has waited so long that its lease might
  /// end before its outcome is written is returned instead.
  std::optional<ClaimedDelivery> start(Clock::time_point now);
  std::size_t startable() const { return startable_.size(); }
  struct Result {
    bool succeeded = false;
    bool gone = false;     ///< nothing more is claimed until the database says otherwise
    bool endless = false;  ///< its answer was longer than what is read of it
    milliseconds duration{0};
    std::optional<milliseconds> retry_after;  ///< asked for by the endpoint
  };
  EndpointHealth finished(std::int64_t webhook_id, const Result& result, Clock::time_point now);

  /// What was claimed and shall not be sent, to be given back; empties it. Nothing more is claimed of these webhooks,
  /// lest it overtakes, until one of the two is called.
  std::vector<ClaimedDelivery> take_returned();
  void given_back(const std::vector<ClaimedDelivery>& deliveries);
  void not_given_back(std::vector<ClaimedDelivery> deliveries);
  /// Moves all that waits to what is returned.
  void return_all();
  /// Whether there is something to give back, or a reason to choose() again.
  bool wants_look() const { return wants_look_ || !returned_.empty(); }
  /// Claimed and not finished.
  std::size_t in_hand() const { return running_ + waiting_; }

 private:
  struct Endpoint {
    OwedWebhook::State state = OwedWebhook::State::enabled;
    bool gone = false;
    std::size_t concurrency = 1;
    std::int64_t rate_limit = 0;
    std::optional<milliseconds> timeout;
    Clock::time_point due = Clock::time_point::max();  ///< when to claim next
    std::multiset<Clock::time_point> retries;          ///< the next few that are known of
    Clock::time_point may_start_at{};                  ///< by the rate limit
    Clock::time_point backs_off_until{};
    std::int64_t due_from = 0;
    std::int64_t failures = 0;
    bool proven = false;
    bool returning = false;                                       ///< some of it is to be given back
    Clock::time_point look_for_tests = Clock::time_point::max();  ///< something was added, during a back-off perhaps
    milliseconds last_duration{kSlow};
    bool success_noted = false;  ///< the database knows that it does not fail
    std::size_t running = 0;     ///< started, or startable
    std::size_t risky = 0;       ///< of those, begun while it was not proven
    std::deque<ClaimedDelivery> ready;
  };

  bool backs_off(const Endpoint& endpoint, Clock::time_point now) const;
  std::size_t most_at_a_time(const Endpoint& endpoint) const;
  std::size_t wanted(const Endpoint& endpoint, Clock::time_point now, Clock::time_point& next) const;
  std::size_t depth(const Endpoint& endpoint) const;
  std::size_t free_workers(std::size_t risky, const Endpoint& endpoint) const;
  void queue_ready(Endpoint& endpoint);
  void return_startable(ClaimedDelivery delivery);
  void give_back_ready(Endpoint& endpoint);
  milliseconds back_off(std::int64_t failures);

  const std::size_t workers_;
  const std::function<double()> random_;
  std::map<std::int64_t, Endpoint> endpoints_;
  std::int64_t last_chosen_ = 0;  ///< the next choice begins behind it
  Clock::time_point chosen_at_{};
  std::deque<ClaimedDelivery> startable_;  ///< may be sent by the next free worker
  std::vector<ClaimedDelivery> returned_;
  std::size_t running_ = 0;  ///< started, or startable
  std::size_t risky_ = 0;    ///< of those, of endpoints that are not proven
  std::size_t waiting_ = 0;  ///< claimed ahead
  bool wants_look_ = false;
  bool refused_ = false;  ///< something was due that there was no worker or no memory for
};

}  // namespace gamepicker
