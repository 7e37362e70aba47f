#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "relay/database.hpp"

namespace gamepicker {

/// How a webhook is sent; what is absent is the server's own.
struct WebhookSettings {
  bool enabled = true;
  std::string method;
  std::string url;
  std::string sealed_secret;
  std::string previous_sealed_secret;  ///< empty when there is none that is still valid
  std::string sealed_headers;          ///< empty when there are none
  std::optional<std::int64_t> retry_attempts;
  std::optional<std::chrono::milliseconds> retry_delay;
  std::optional<std::chrono::milliseconds> timeout;
  std::size_t concurrency = 1;
  std::int64_t rate_limit = 0;  ///< a second; 0: none
};

/// A webhook that is owed something, with what the scheduler must know of it.
struct OwedWebhook {
  std::int64_t webhook_id = 0;
  enum class State { enabled, disabled, deleted } state = State::enabled;
  std::chrono::milliseconds due_in{0};  ///< of its first row; zero or below when due
  std::size_t concurrency = 1;
  std::int64_t rate_limit = 0;  ///< a second; 0: none
  std::optional<std::chrono::milliseconds> timeout = std::nullopt;
  std::int64_t failures = 0;                   ///< in a row
  std::chrono::milliseconds backs_off_for{0};  ///< from now
};

/// What the scheduler wants of a webhook: at most `count` deliveries that are due, the oldest first.
struct ClaimWish {
  std::int64_t webhook_id = 0;
  OwedWebhook::State state = OwedWebhook::State::enabled;
  std::size_t count = 1;
  /// One alone, the oldest of those that are due, whenever they became due: retries have come due last.
  bool probe = false;
  /// Test deliveries alone.
  bool tests = false;
  /// Rows due before this need not be looked at, in microseconds since 1970: claimed and deleted, but not purged yet,
  /// they cost a claim milliseconds.
  std::int64_t due_from = 0;
};

/// A delivery that is ours to send until its lease runs out.
struct ClaimedDelivery {
  std::uint64_t delivery_id = 0;
  std::int64_t webhook_id = 0;
  std::int64_t attempt = 1;    ///< the one to make now, from 1
  std::int64_t scheduled = 1;  ///< the same, counted from when the delivery was last queued
  std::int64_t due_at = 0;     ///< before the claim, in microseconds since 1970
  std::uint64_t lease_token = 0;
  std::chrono::steady_clock::time_point claimed_at{};  ///< the lease is not older than that
  std::string event_type;
  std::string body;
  std::shared_ptr<const WebhookSettings> settings;
};

struct Claim {
  std::vector<ClaimedDelivery> deliveries;  ///< in the order of webhooks, due times and ids
  /// Webhooks of which another transaction had a row locked, or just taken: nothing behind it was claimed.
  std::set<std::int64_t> held_up;
};

/// What the queue holds, of all webhooks, disabled ones too.
struct WebhookBacklog {
  std::int64_t deliveries = 0;  ///< counted up to 100,000
  std::chrono::milliseconds oldest_age{0};
};

/// The SQL of the queue up to sending; for what comes after it see AttemptRecorder. A row present means still owed; a
/// claim pushes its due time into the future, so that a crashed claim comes due by itself. Times are the database's
/// alone. Throws DatabaseError; not thread-safe.
class WebhookQueue {
 public:
  explicit WebhookQueue(Database& database) : database_(database) {}

  /// Every webhook with a row in the queue: one index dive a webhook, however long the queue.
  std::vector<OwedWebhook> owed();
  /// The webhooks of rows that were added since the last call, and are due. Some may be missing whose transactions
  /// were slow to commit: owed() finds them. The first call knows of nothing before.
  std::vector<std::int64_t> added();

  /// For the metrics. Cheap, however long the queue.
  WebhookBacklog backlog();

  /// Claims; of a disabled webhook test deliveries only. Rows of deleted webhooks and deliveries are dropped. One short
  /// transaction, which waits for no other.
  Claim claim(const std::vector<ClaimWish>& wishes, std::uint64_t token, std::chrono::milliseconds lease);
  /// Gives back what was claimed and will not be sent.
  void give_back(const std::vector<ClaimedDelivery>& deliveries);
  /// Gives back all that was claimed with tokens of this range, by a sender that died or in a COMMIT whose outcome was
  /// lost.
  void give_back(std::uint64_t first_token, std::uint64_t last_token);

 private:
  /// Deliveries go out in the order of these: webhook, due time, id.
  using Place = std::tuple<std::int64_t, std::int64_t, std::uint64_t>;

  void lock_due(std::span<const ClaimWish> wishes, Claim& claim);
  std::vector<Place> find_due(std::span<const ClaimWish> wishes);
  void lock_probe(const ClaimWish& wish, Claim& claim);
  void lock_tests(const ClaimWish& wish, Claim& claim);
  void lock_these(const ClaimWish& wish, const std::vector<std::uint64_t>& delivery_ids, Claim& claim);
  std::vector<ClaimedDelivery> lock(const std::vector<std::uint64_t>& delivery_ids);
  void drop_deleted(std::int64_t webhook_id);
  void drop_orphans(const std::vector<std::uint64_t>& delivery_ids);
  void read_settings(std::vector<ClaimedDelivery>& rows);
  /// Returns the ids of test deliveries.
  std::vector<std::uint64_t> read_events(std::vector<ClaimedDelivery>& rows);
  void keep_sendable(std::vector<ClaimedDelivery>& rows, const std::vector<std::uint64_t>& tests);

  Database& database_;
  std::optional<std::uint64_t> newest_seen_;
  std::set<std::uint64_t> seen_;  ///< by the last added()
};

/// (delivery ids) By their keys alone: of a short table the optimizer would read, and lock, the whole.
inline constexpr std::string_view kDeleteQueued =
    "DELETE q FROM webhook_queue q FORCE INDEX (PRIMARY) WHERE q.delivery_id IN ";

}  // namespace gamepicker
