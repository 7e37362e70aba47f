#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "relay/database.hpp"

namespace gamepicker {

/// A webhook that is owed something.
struct OwedWebhook {
  std::int64_t webhook_id = 0;
  enum class State { enabled, disabled, deleted } state = State::enabled;
  std::chrono::milliseconds due_in{0};  ///< of its first row; zero or below when due
};

/// A delivery that is ours to send until its lease runs out.
struct ClaimedDelivery {
  std::uint64_t delivery_id = 0;
  std::int64_t webhook_id = 0;
  std::int64_t attempt = 1;  ///< the one to make now, from 1
  std::uint64_t lease_token = 0;
  std::string url;
  std::string sealed_secret;
  std::string event_type;
  std::string body;
};

/// What one attempt came to.
struct AttemptOutcome {
  enum class Kind { succeeded, retry, failed, gone };

  std::uint64_t delivery_id = 0;
  std::int64_t webhook_id = 0;
  std::int64_t attempt = 1;
  std::uint64_t lease_token = 0;
  Kind kind = Kind::failed;
  std::chrono::milliseconds retry_in{0};  ///< for retry
  std::optional<int> response_status;
  std::string error;  ///< empty on success only
  std::chrono::milliseconds duration{0};
  std::string response_body;  ///< at most 1 KiB of valid UTF-8
};

/// What the queue holds, of all webhooks, disabled ones too.
struct WebhookBacklog {
  std::int64_t deliveries = 0;  ///< counted up to 100,000
  std::chrono::milliseconds oldest_age{0};
};

/// All SQL of the queue. A row present means still owed; a claim pushes its due time into the future, so that a
/// crashed claim comes due by itself. Times are the database's alone. Throws DatabaseError; not thread-safe.
class WebhookQueue {
 public:
  explicit WebhookQueue(Database& database) : database_(database) {}

  /// Every webhook with a row in the queue, the one due longest first: one index dive a webhook, however long the
  /// queue.
  std::vector<OwedWebhook> owed();

  /// For the metrics. Cheap, however long the queue.
  WebhookBacklog backlog();

  /// Claims what is due, at most `slots` for each webhook of `webhooks`, oldest first; of a disabled one test
  /// deliveries only. Rows of deleted webhooks and deliveries are dropped. One short transaction.
  std::vector<ClaimedDelivery> claim(const std::vector<OwedWebhook>& webhooks, std::size_t slots,
                                     std::chrono::milliseconds lease);

  /// Records attempts, at most one of each delivery, in one transaction: a log row each, and the delivery's end or its
  /// next try. A failure counts only while the lease is ours; a success always. After an error the same outcomes can
  /// be given again: a COMMIT whose outcome was lost is not recorded twice.
  void finish(const std::vector<AttemptOutcome>& outcomes);

 private:
  struct Row {
    std::uint64_t delivery_id;
    std::int64_t attempts;
  };
  std::vector<Row> lock_due(const OwedWebhook& webhook, std::size_t slots);
  void drop_deleted(std::int64_t webhook_id);
  void drop_orphans(const std::vector<std::uint64_t>& delivery_ids);
  std::vector<ClaimedDelivery> read_deliveries(const std::map<std::uint64_t, std::int64_t>& attempts,
                                               std::uint64_t token);
  bool already_recorded(const AttemptOutcome& outcome);
  void record(const std::vector<AttemptOutcome>& outcomes);
  void insert_logs(const std::vector<const AttemptOutcome*>& outcomes);

  Database& database_;
};

}  // namespace gamepicker
