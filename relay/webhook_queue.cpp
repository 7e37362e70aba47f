#include "relay/webhook_queue.hpp"

#include <algorithm>
#include <random>
#include <set>
#include <utility>

#include "shared/events.hpp"

namespace gamepicker {
namespace {

// MIN() per group of an index prefix is a loose index scan: it does not read the backlog.
constexpr std::string_view kReadOwed =
    "SELECT q.webhook_id, CAST(COALESCE(w.enabled, -1) AS SIGNED), "
    "CAST(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(3), q.due_at) DIV 1000 AS SIGNED) AS due_in "
    "FROM (SELECT webhook_id, MIN(due_at) AS due_at FROM webhook_queue FORCE INDEX (webhook_queue_due) "
    "GROUP BY webhook_id) q LEFT JOIN webhooks w ON w.id = q.webhook_id ORDER BY due_in";

// An exact count of a long queue would read all of it.
constexpr std::string_view kCountBacklog =
    "SELECT CAST(COUNT(*) AS SIGNED) FROM (SELECT delivery_id FROM webhook_queue LIMIT 100000) q";
constexpr std::string_view kReadOldestAge =
    "SELECT CAST(TIMESTAMPDIFF(MICROSECOND, created_at, UTC_TIMESTAMP(3)) DIV 1000 AS SIGNED) "
    "FROM webhook_deliveries WHERE id = (SELECT MIN(delivery_id) FROM webhook_queue)";

// Without the hint the optimizer may read, and lock, far more rows than it returns.
constexpr std::string_view kLockDue =
    "SELECT delivery_id, attempts FROM webhook_queue FORCE INDEX (webhook_queue_due) "
    "WHERE webhook_id = ? AND due_at <= UTC_TIMESTAMP(3) ORDER BY due_at, delivery_id LIMIT ? "
    "FOR UPDATE SKIP LOCKED";

// From the few test events to the queue: a disabled webhook may have a long backlog that must not be read.
constexpr std::string_view kFindDueTests =
    "SELECT STRAIGHT_JOIN q.delivery_id FROM events e FORCE INDEX (events_channel_seq) "
    "JOIN webhook_deliveries d ON d.event_id = e.id AND d.webhook_id = ? "
    "JOIN webhook_queue q ON q.delivery_id = d.id "
    "WHERE e.channel = ? AND q.due_at <= UTC_TIMESTAMP(3) ORDER BY q.due_at, q.delivery_id LIMIT ?";
constexpr std::string_view kLockOne =
    "SELECT delivery_id, attempts FROM webhook_queue "
    "WHERE delivery_id = ? AND due_at <= UTC_TIMESTAMP(3) FOR UPDATE SKIP LOCKED";

constexpr std::string_view kLease =
    "UPDATE webhook_queue SET due_at = UTC_TIMESTAMP(3) + INTERVAL ? MICROSECOND, lease_token = ? "
    "WHERE delivery_id IN ";

constexpr std::string_view kDropQueueOfWebhook = "DELETE FROM webhook_queue WHERE webhook_id = ? LIMIT 1000";
constexpr std::string_view kDropDeliveriesOfWebhook = "DELETE FROM webhook_deliveries WHERE webhook_id = ? LIMIT 1000";
constexpr std::string_view kDeleteQueued = "DELETE FROM webhook_queue WHERE delivery_id IN ";
constexpr std::string_view kFailUnsendable =
    "UPDATE webhook_deliveries SET status = 'failed', finished_at = UTC_TIMESTAMP(3) "
    "WHERE status = 'pending' AND id IN ";

constexpr std::string_view kLockQueued = "SELECT delivery_id, lease_token FROM webhook_queue WHERE delivery_id IN ";
constexpr std::string_view kLockDeliveries = "SELECT id FROM webhook_deliveries WHERE id IN ";
constexpr std::string_view kInsertLogs =
    "INSERT INTO webhook_logs (webhook_id, delivery_id, attempt, response_status, error_message, duration_ms, "
    "response_body) VALUES ";
constexpr std::string_view kReschedule =
    "UPDATE webhook_queue SET due_at = UTC_TIMESTAMP(3) + INTERVAL ? MICROSECOND, attempts = ?, lease_token = NULL "
    "WHERE delivery_id = ?";
constexpr std::string_view kCountAttempts =
    "UPDATE webhook_deliveries SET attempts = GREATEST(attempts, ?) WHERE status = 'pending' AND id IN ";
constexpr std::string_view kEndDeliveries =
    "UPDATE webhook_deliveries SET status = ?, attempts = GREATEST(attempts, ?), finished_at = UTC_TIMESTAMP(3) "
    "WHERE id IN ";
constexpr std::string_view kDisableGone =
    "UPDATE webhooks SET enabled = 0, disabled_reason = 'The endpoint answered 410 Gone' WHERE id = ? AND enabled = 1";
constexpr std::string_view kFindLog =
    "SELECT id FROM webhook_logs WHERE delivery_id = ? AND attempt = ? AND duration_ms = ? LIMIT 1";

std::string with_list(std::string_view sql, std::size_t count) {
  return std::string(sql) + "(" + placeholders(count) + ")";
}

template <typename Ids>
SqlValues as_values(const Ids& ids) {
  return SqlValues(ids.begin(), ids.end());
}

std::int64_t microseconds(std::chrono::milliseconds time) {
  return time.count() * 1000;
}

std::uint64_t random_token() {
  std::random_device random;
  return ((std::uint64_t{random()} << 32) | random()) >> 1;  // columns are read as signed numbers
}

SqlValue text_or_null(const std::string& text) {
  return text.empty() ? SqlValue(nullptr) : SqlValue(text);
}

}  // namespace

std::vector<OwedWebhook> WebhookQueue::owed() {
  std::vector<OwedWebhook> webhooks;
  for (const SqlRow& row : database_.query(kReadOwed)) {
    using State = OwedWebhook::State;
    const std::int64_t enabled = row.integer(1);
    const State state = enabled < 0 ? State::deleted : enabled == 0 ? State::disabled : State::enabled;
    webhooks.push_back({row.integer(0), state, std::chrono::milliseconds{row.integer(2)}});
  }
  return webhooks;
}

WebhookBacklog WebhookQueue::backlog() {
  WebhookBacklog backlog;
  backlog.deliveries = database_.query(kCountBacklog).at(0).integer(0);
  const auto oldest = database_.query(kReadOldestAge);
  if (!oldest.empty()) backlog.oldest_age = std::chrono::milliseconds(oldest.front().integer(0));
  return backlog;
}

std::vector<ClaimedDelivery> WebhookQueue::claim(const std::vector<OwedWebhook>& webhooks, std::size_t slots,
                                                 std::chrono::milliseconds lease) {
  std::vector<ClaimedDelivery> claimed;
  database_.transaction([&] {
    std::map<std::uint64_t, std::int64_t> attempts;
    for (const OwedWebhook& webhook : webhooks) {
      if (webhook.state == OwedWebhook::State::deleted) {
        drop_deleted(webhook.webhook_id);
        continue;
      }
      for (const Row& row : lock_due(webhook, slots)) attempts.emplace(row.delivery_id, row.attempts);
    }
    if (attempts.empty()) return;
    const std::uint64_t token = random_token();
    SqlValues parameters{microseconds(lease), token};
    for (const auto& entry : attempts) parameters.emplace_back(entry.first);
    database_.execute(with_list(kLease, attempts.size()), std::move(parameters));
    claimed = read_deliveries(attempts, token);
    for (const ClaimedDelivery& delivery : claimed) attempts.erase(delivery.delivery_id);
    std::vector<std::uint64_t> orphans;
    orphans.reserve(attempts.size());
    for (const auto& entry : attempts) orphans.push_back(entry.first);
    drop_orphans(orphans);
  });
  return claimed;
}

std::vector<WebhookQueue::Row> WebhookQueue::lock_due(const OwedWebhook& webhook, std::size_t slots) {
  const auto limit = static_cast<std::int64_t>(slots);
  std::vector<Row> rows;
  if (webhook.state == OwedWebhook::State::enabled) {
    for (const SqlRow& row : database_.query(kLockDue, {webhook.webhook_id, limit})) {
      rows.push_back({row.id(0), row.integer(1)});
    }
    return rows;
  }
  for (const SqlRow& test :
       database_.query(kFindDueTests, {webhook.webhook_id, std::string(kWebhookTestChannel), limit})) {
    for (const SqlRow& row : database_.query(kLockOne, {test.id(0)})) rows.push_back({row.id(0), row.integer(1)});
  }
  return rows;
}

void WebhookQueue::drop_deleted(std::int64_t webhook_id) {
  database_.execute(kDropQueueOfWebhook, {webhook_id});
  database_.execute(kDropDeliveriesOfWebhook, {webhook_id});
}

/// Rows whose delivery, webhook or event is gone: there is nothing to send any more.
void WebhookQueue::drop_orphans(const std::vector<std::uint64_t>& delivery_ids) {
  if (delivery_ids.empty()) return;
  database_.execute(with_list(kDeleteQueued, delivery_ids.size()), as_values(delivery_ids));
  database_.execute(with_list(kFailUnsendable, delivery_ids.size()), as_values(delivery_ids));
}

std::vector<ClaimedDelivery> WebhookQueue::read_deliveries(const std::map<std::uint64_t, std::int64_t>& attempts,
                                                           std::uint64_t token) {
  static const std::string kReadDeliveries =
      std::string("SELECT d.id, d.webhook_id, w.url, w.sealed_secret, e.type, e.id, ") + kBodyColumns +
      " FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id JOIN events e ON e.id = d.event_id "
      "WHERE d.id IN ";
  SqlValues ids;
  for (const auto& entry : attempts) ids.emplace_back(entry.first);
  std::vector<ClaimedDelivery> deliveries;
  const std::string sql = with_list(kReadDeliveries, ids.size()) + " ORDER BY d.id";
  for (const SqlRow& row : database_.query(sql, std::move(ids))) {
    ClaimedDelivery delivery;
    delivery.delivery_id = row.id(0);
    delivery.webhook_id = row.integer(1);
    delivery.attempt = attempts.at(delivery.delivery_id) + 1;
    delivery.lease_token = token;
    delivery.url = row.text(2);
    delivery.sealed_secret = row.text(3);
    delivery.event_type = row.text(4);
    delivery.body = read_body(database_, row, 6, row.id(5));
    deliveries.push_back(std::move(delivery));
  }
  return deliveries;
}

void WebhookQueue::finish(const std::vector<AttemptOutcome>& outcomes) {
  if (outcomes.empty()) return;
  // One transaction: if one of its rows is there, all are.
  const bool ask = database_.commit_unknown();
  if (ask && already_recorded(outcomes.front())) {
    database_.forget_commit();
    return;
  }
  database_.transaction([&] { record(outcomes); });
}

bool WebhookQueue::already_recorded(const AttemptOutcome& outcome) {
  return !database_.query(kFindLog, {outcome.delivery_id, outcome.attempt, outcome.duration.count()}).empty();
}

/// Locks in the order in which a webhook is deleted: queue, then deliveries, then the webhook.
void WebhookQueue::record(const std::vector<AttemptOutcome>& outcomes) {
  std::set<std::uint64_t> ids;
  for (const AttemptOutcome& outcome : outcomes) ids.insert(outcome.delivery_id);
  std::map<std::uint64_t, std::uint64_t> leases;  // queued rows; 0 stands for no lease
  for (const SqlRow& row : database_.query(with_list(kLockQueued, ids.size()) + " FOR UPDATE", as_values(ids))) {
    leases.emplace(row.id(0), row.is_null(1) ? 0 : row.id(1));
  }
  std::set<std::uint64_t> present;
  for (const SqlRow& row : database_.query(with_list(kLockDeliveries, ids.size()) + " FOR UPDATE", as_values(ids))) {
    present.insert(row.id(0));
  }

  std::vector<const AttemptOutcome*> logged;
  std::vector<std::uint64_t> ended;
  std::map<std::pair<std::string, std::int64_t>, std::vector<std::uint64_t>> updates;  // by status and attempts
  std::set<std::int64_t> gone;
  for (const AttemptOutcome& outcome : outcomes) {
    if (!present.contains(outcome.delivery_id)) continue;  // deleted meanwhile, with its logs
    logged.push_back(&outcome);
    if (outcome.kind == AttemptOutcome::Kind::gone) gone.insert(outcome.webhook_id);
    const bool succeeded = outcome.kind == AttemptOutcome::Kind::succeeded;
    const auto lease = leases.find(outcome.delivery_id);
    const bool ours = lease != leases.end() && lease->second == outcome.lease_token;
    if (!succeeded && !ours) continue;
    const bool retry = outcome.kind == AttemptOutcome::Kind::retry;
    updates[{succeeded ? "succeeded" : retry ? "pending" : "failed", outcome.attempt}].push_back(outcome.delivery_id);
    if (retry) {
      database_.execute(kReschedule, {microseconds(outcome.retry_in), outcome.attempt, outcome.delivery_id});
    } else if (lease != leases.end()) {
      ended.push_back(outcome.delivery_id);
    }
  }

  insert_logs(logged);
  if (!ended.empty()) database_.execute(with_list(kDeleteQueued, ended.size()), as_values(ended));
  for (const auto& [key, delivery_ids] : updates) {
    const auto& [status, attempts] = key;
    SqlValues parameters = status == "pending" ? SqlValues{attempts} : SqlValues{status, attempts};
    parameters.insert(parameters.end(), delivery_ids.begin(), delivery_ids.end());
    database_.execute(with_list(status == "pending" ? kCountAttempts : kEndDeliveries, delivery_ids.size()),
                      std::move(parameters));
  }
  for (const std::int64_t webhook_id : gone) database_.execute(kDisableGone, {webhook_id});
}

void WebhookQueue::insert_logs(const std::vector<const AttemptOutcome*>& outcomes) {
  if (outcomes.empty()) return;
  std::string sql(kInsertLogs);
  SqlValues parameters;
  for (const AttemptOutcome* outcome : outcomes) {
    sql += parameters.empty() ? "(?,?,?,?,?,?,?)" : ",(?,?,?,?,?,?,?)";
    parameters.emplace_back(outcome->webhook_id);
    parameters.emplace_back(outcome->delivery_id);
    parameters.emplace_back(outcome->attempt);
    parameters.push_back(outcome->response_status ? SqlValue(std::int64_t{*outcome->response_status})
                                                  : SqlValue(nullptr));
    parameters.push_back(text_or_null(outcome->error));
    parameters.emplace_back(std::int64_t{outcome->duration.count()});
    parameters.push_back(text_or_null(outcome->response_body));
  }
  database_.execute(sql, std::move(parameters));
}

}  // namespace gamepicker
