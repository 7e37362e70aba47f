#include "relay/webhook_queue.hpp"

#include <algorithm>
#include <iterator>
#include <set>
#include <tuple>
#include <utility>

#include "shared/events.hpp"

namespace gamepicker {
namespace {

// MIN() per group of an index prefix is a loose index scan: it does not read the backlog.
constexpr std::string_view kReadOwed =
    "SELECT q.webhook_id, CAST(COALESCE(w.enabled, -1) AS SIGNED), "
    "CAST(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(3), q.due_at) DIV 1000 AS SIGNED) AS due_in, "
    "CAST(COALESCE(w.concurrency, 1) AS SIGNED), CAST(COALESCE(w.rate_limit, 0) AS SIGNED), w.timeout_ms, "
    "CAST(COALESCE(h.failures, 0) AS SIGNED), "
    "CAST(COALESCE(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(3), h.backoff_until) DIV 1000, 0) AS SIGNED) "
    "FROM (SELECT webhook_id, MIN(due_at) AS due_at FROM webhook_queue FORCE INDEX (webhook_queue_due) "
    "GROUP BY webhook_id) q LEFT JOIN webhooks w ON w.id = q.webhook_id "
    "LEFT JOIN webhook_health h ON h.webhook_id = q.webhook_id ORDER BY due_in";

constexpr std::string_view kReadNewest = "SELECT CAST(COALESCE(MAX(delivery_id), 0) AS SIGNED) FROM webhook_queue";
// Ids are given before COMMIT: a few below the newest one seen are looked at again.
constexpr std::string_view kReadAdded =
    "SELECT delivery_id, webhook_id FROM webhook_queue FORCE INDEX (PRIMARY) "
    "WHERE delivery_id > ? AND due_at <= UTC_TIMESTAMP(3) ORDER BY delivery_id LIMIT 5000";
constexpr std::uint64_t kLookBack = 100;

// An exact count of a long queue would read all of it.
constexpr std::string_view kCountBacklog =
    "SELECT CAST(COUNT(*) AS SIGNED) FROM (SELECT delivery_id FROM webhook_queue LIMIT 100000) q";
constexpr std::string_view kReadOldestAge =
    "SELECT CAST(TIMESTAMPDIFF(MICROSECOND, created_at, UTC_TIMESTAMP(3)) DIV 1000 AS SIGNED) "
    "FROM webhook_deliveries WHERE id = (SELECT MIN(delivery_id) FROM webhook_queue)";

#define QUEUE_COLUMNS                                          \
  "q.delivery_id, q.webhook_id, q.attempts, q.base_attempts, " \
  "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', "                  \
  "IF(q.lease_token IS NULL, q.due_at, COALESCE(q.due_before, q.due_at))) FROM webhook_queue q "

// One webhook's part of what may be claimed, read without locks: a transaction that commits meanwhile is seen whole or
// not at all. A scan that locks, and skips what is locked, would pass over its first row and take its second.
constexpr std::string_view kFindDue =
    "(SELECT webhook_id, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', due_at), delivery_id "
    "FROM webhook_queue FORCE INDEX (webhook_queue_due) WHERE webhook_id = ? "
    "AND due_at >= TIMESTAMP'1970-01-01 00:00:00' + INTERVAL ? MICROSECOND AND due_at <= UTC_TIMESTAMP(3) "
    "ORDER BY due_at, delivery_id LIMIT ?)";

// From the few test events to the queue: a disabled webhook may have a long backlog that must not be read.
constexpr std::string_view kFindDueTests =
    "SELECT STRAIGHT_JOIN q.delivery_id FROM events e FORCE INDEX (events_channel_seq) "
    "JOIN webhook_deliveries d ON d.event_id = e.id AND d.webhook_id = ? "
    "JOIN webhook_queue q ON q.delivery_id = d.id "
    "WHERE e.channel = ? AND q.due_at <= UTC_TIMESTAMP(3) ORDER BY q.due_at, q.delivery_id LIMIT ?";
// At both ends of what is due: what was never tried, and what has just come due again.
constexpr std::string_view kFindProbe =
    "(SELECT delivery_id FROM webhook_queue FORCE INDEX (webhook_queue_due) WHERE webhook_id = ? "
    "AND due_at <= UTC_TIMESTAMP(3) ORDER BY due_at, delivery_id LIMIT 1) UNION ALL "
    "(SELECT delivery_id FROM webhook_queue FORCE INDEX (webhook_queue_due) WHERE webhook_id = ? "
    "AND due_at <= UTC_TIMESTAMP(3) ORDER BY due_at DESC, delivery_id DESC LIMIT 50)";
// All that locks rows of the queue by their ids takes the primary key: of a short table the optimizer would read, and
// lock, the whole. kLease sets due_before first: MySQL and MariaDB assign from left to right.
constexpr std::string_view kLock =
    "SELECT " QUEUE_COLUMNS "FORCE INDEX (PRIMARY) WHERE q.due_at <= UTC_TIMESTAMP(3) AND q.delivery_id IN ";
constexpr std::string_view kLease =
    "UPDATE webhook_queue FORCE INDEX (PRIMARY) SET due_before = IF(lease_token IS NULL, due_at, COALESCE(due_before, due_at)), "
    "due_at = UTC_TIMESTAMP(3) + INTERVAL ? MICROSECOND, lease_token = ? WHERE delivery_id IN ";
constexpr std::string_view kGiveBack =
    "UPDATE webhook_queue FORCE INDEX (PRIMARY) SET due_at = COALESCE(due_before, due_at), lease_token = NULL "
    "WHERE lease_token = ? AND delivery_id IN ";

// All leases run out within the longest time limit and the margin; no index on the tokens is needed. Read without
// locks: others take them from the primary key on.
constexpr std::string_view kFindTokens =
    "SELECT delivery_id, lease_token FROM webhook_queue FORCE INDEX (webhook_queue_all_due) "
    "WHERE due_at > UTC_TIMESTAMP(3) AND due_at <= UTC_TIMESTAMP(3) + INTERVAL 60 SECOND "
    "AND lease_token BETWEEN ? AND ?";

// What is left of a deleted webhook. Its queue rows are what we know it by: they go last.
constexpr std::string_view kDropDeleted[] = {
    "DELETE FROM webhook_logs WHERE webhook_id = ? LIMIT 1000",
    "DELETE FROM webhook_deliveries WHERE webhook_id = ? LIMIT 1000",
    "DELETE FROM webhook_queue WHERE webhook_id = ? LIMIT 1000",
};
constexpr std::string_view kFailUnsendable =
    "UPDATE webhook_deliveries SET status = 'failed', finished_at = UTC_TIMESTAMP(3) "
    "WHERE status = 'pending' AND id IN ";

constexpr std::string_view kReadSettings =
    "SELECT w.id, w.enabled, w.method, w.url, w.sealed_secret, "
    "IF(w.previous_secret_until > UTC_TIMESTAMP(3), w.previous_sealed_secret, NULL), w.sealed_headers, "
    "w.retry_attempts, w.retry_delay_ms, w.timeout_ms, w.concurrency, CAST(COALESCE(w.rate_limit, 0) AS SIGNED) "
    "FROM webhooks w WHERE w.id IN ";

std::string text_or_empty(const SqlRow& row, std::size_t column) {
  return row.is_null(column) ? std::string() : row.text(column);
}

std::optional<std::chrono::milliseconds> maybe_time(const SqlRow& row, std::size_t column) {
  if (row.is_null(column)) return std::nullopt;
  return std::chrono::milliseconds{row.integer(column)};
}

ClaimedDelivery queued_row(const SqlRow& row) {
  ClaimedDelivery delivery;
  delivery.delivery_id = row.id(0);
  delivery.webhook_id = row.integer(1);
  delivery.attempt = row.integer(2) + 1;
  delivery.scheduled = delivery.attempt - row.integer(3);
  delivery.due_at = row.integer(4);
  return delivery;
}

std::vector<std::uint64_t> ids_of(const std::vector<ClaimedDelivery>& rows) {
  std::vector<std::uint64_t> ids;
  ids.reserve(rows.size());
  for (const ClaimedDelivery& row : rows) ids.push_back(row.delivery_id);
  return ids;
}

}  // namespace

std::vector<OwedWebhook> WebhookQueue::owed() {
  std::vector<OwedWebhook> webhooks;
  for (const SqlRow& row : database_.query(kReadOwed)) {
    using State = OwedWebhook::State;
    const std::int64_t enabled = row.integer(1);
    webhooks.push_back({.webhook_id = row.integer(0),
                        .state = enabled < 0    ? State::deleted
                                 : enabled == 0 ? State::disabled
                                                : State::enabled,
                        .due_in = std::chrono::milliseconds{row.integer(2)},
                        .concurrency = static_cast<std::size_t>(std::max<std::int64_t>(row.integer(3), 1)),
                        .rate_limit = row.integer(4),
                        .timeout = maybe_time(row, 5),
                        .failures = row.integer(6),
                        .backs_off_for = std::chrono::milliseconds{row.integer(7)}});
  }
  return webhooks;
}

std::vector<std::int64_t> WebhookQueue::added() {
  std::set<std::int64_t> webhooks;
  if (!newest_seen_) {
    newest_seen_ = database_.query(kReadNewest).at(0).id(0);
    return {};
  }
  const std::uint64_t from = *newest_seen_ - std::min(*newest_seen_, kLookBack);
  std::set<std::uint64_t> seen;
  for (const SqlRow& row : database_.query(kReadAdded, {from})) {
    newest_seen_ = std::max(*newest_seen_, row.id(0));
    seen.insert(row.id(0));
    if (!seen_.contains(row.id(0))) webhooks.insert(row.integer(1));
  }
  seen_ = std::move(seen);
  return {webhooks.begin(), webhooks.end()};
}

WebhookBacklog WebhookQueue::backlog() {
  WebhookBacklog backlog;
  backlog.deliveries = database_.query(kCountBacklog).at(0).integer(0);
  const auto oldest = database_.query(kReadOldestAge);
  if (!oldest.empty()) backlog.oldest_age = std::chrono::milliseconds(oldest.front().integer(0));
  return backlog;
}

Claim WebhookQueue::claim(const std::vector<ClaimWish>& wishes, std::uint64_t token, std::chrono::milliseconds lease) {
  Claim claim;
  std::vector<ClaimedDelivery>& rows = claim.deliveries;
  database_.transaction([&] {
    claim = {};
    std::vector<ClaimWish> enabled;
    for (const ClaimWish& wish : wishes) {
      switch (wish.state) {
        case OwedWebhook::State::deleted:
          drop_deleted(wish.webhook_id);
          break;
        case OwedWebhook::State::disabled:
          lock_tests(wish, claim);
          break;
        case OwedWebhook::State::enabled:
          if (wish.tests) {
            lock_tests(wish, claim);
          } else if (wish.probe) {
            lock_probe(wish, claim);
          } else {
            enabled.push_back(wish);
          }
      }
    }
    if (!enabled.empty()) lock_due(enabled, claim);
    if (rows.empty()) return;
    SqlValues parameters{microseconds(lease), token};
    for (ClaimedDelivery& row : rows) {
      row.lease_token = token;
      parameters.emplace_back(row.delivery_id);
    }
    database_.execute(with_list(kLease, rows.size()), std::move(parameters));
    read_settings(rows);
    keep_sendable(rows, read_events(rows));
  });
  std::ranges::sort(rows, {},
                    [](const ClaimedDelivery& row) { return Place(row.webhook_id, row.due_at, row.delivery_id); });
  return claim;
}

void WebhookQueue::lock_due(std::span<const ClaimWish> wishes, Claim& claim) {
  std::vector<std::uint64_t> ids;
  std::set<std::int64_t> webhooks;
  for (const auto& [webhook_id, due_at, delivery_id] : find_due(wishes)) {
    ids.push_back(delivery_id);
    webhooks.insert(webhook_id);
  }
  std::map<std::uint64_t, ClaimedDelivery> locked;
  for (ClaimedDelivery& row : lock(ids)) locked.emplace(row.delivery_id, std::move(row));
  if (locked.empty()) {
    claim.held_up = std::move(webhooks);
    return;
  }
  // MariaDB puts a read view together while others commit: it may know of a transaction, and not of one before it. What
  // we hold locks of was committed, and so is in this second view all that came before.
  for (const auto& [webhook_id, due_at, delivery_id] : find_due(wishes)) {
    if (claim.held_up.contains(webhook_id)) continue;
    const auto row = locked.find(delivery_id);
    if (row == locked.end()) {
      claim.held_up.insert(webhook_id);
    } else {
      claim.deliveries.push_back(std::move(row->second));
    }
  }
}

/// In the order in which they go out.
std::vector<WebhookQueue::Place> WebhookQueue::find_due(std::span<const ClaimWish> wishes) {
  std::string sql;
  SqlValues parameters;
  for (const ClaimWish& wish : wishes) {
    if (!sql.empty()) sql += " UNION ALL ";
    sql += kFindDue;
    parameters.emplace_back(wish.webhook_id);
    parameters.emplace_back(wish.due_from);
    parameters.emplace_back(static_cast<std::int64_t>(wish.count));
  }
  std::vector<Place> found;
  for (const SqlRow& row : database_.query(sql, std::move(parameters))) {
    found.emplace_back(row.integer(0), row.integer(1), row.id(2));
  }
  std::ranges::sort(found);
  return found;
}

void WebhookQueue::lock_tests(const ClaimWish& wish, Claim& claim) {
  const auto limit = static_cast<std::int64_t>(wish.count);
  std::vector<std::uint64_t> tests;
  for (const SqlRow& test :
       database_.query(kFindDueTests, {wish.webhook_id, std::string(kWebhookTestChannel), limit})) {
    tests.push_back(test.id(0));
  }
  lock_these(wish, tests, claim);
}

void WebhookQueue::lock_probe(const ClaimWish& wish, Claim& claim) {
  std::vector<std::uint64_t> due;
  for (const SqlRow& row : database_.query(kFindProbe, {wish.webhook_id, wish.webhook_id})) due.push_back(row.id(0));
  if (!due.empty()) lock_these(wish, {std::ranges::min(due)}, claim);
}

void WebhookQueue::lock_these(const ClaimWish& wish, const std::vector<std::uint64_t>& delivery_ids, Claim& claim) {
  auto rows = lock(delivery_ids);
  if (rows.size() < delivery_ids.size()) claim.held_up.insert(wish.webhook_id);
  std::ranges::move(rows, std::back_inserter(claim.deliveries));
}

/// Those of the rows that are due and that nobody else has locked.
std::vector<ClaimedDelivery> WebhookQueue::lock(const std::vector<std::uint64_t>& delivery_ids) {
  std::vector<ClaimedDelivery> rows;
  if (delivery_ids.empty()) return rows;
  const std::string sql = with_list(kLock, delivery_ids.size()) + " FOR UPDATE SKIP LOCKED";
  for (const SqlRow& row : database_.query(sql, as_values(delivery_ids))) rows.push_back(queued_row(row));
  return rows;
}

void WebhookQueue::drop_deleted(std::int64_t webhook_id) {
  for (const std::string_view sql : kDropDeleted) {
    if (database_.execute(sql, {webhook_id}) > 0) return;
  }
}

/// Rows whose delivery, webhook or event is gone: there is nothing to send any more.
void WebhookQueue::drop_orphans(const std::vector<std::uint64_t>& delivery_ids) {
  if (delivery_ids.empty()) return;
  database_.execute(with_list(kDeleteQueued, delivery_ids.size()), as_values(delivery_ids));
  database_.execute(with_list(kFailUnsendable, delivery_ids.size()), as_values(delivery_ids));
}

void WebhookQueue::read_settings(std::vector<ClaimedDelivery>& rows) {
  std::map<std::int64_t, std::shared_ptr<const WebhookSettings>> settings;
  for (const ClaimedDelivery& row : rows) settings.emplace(row.webhook_id, nullptr);
  SqlValues ids;
  for (const auto& entry : settings) ids.emplace_back(entry.first);
  for (const SqlRow& row : database_.query(with_list(kReadSettings, settings.size()), std::move(ids))) {
    auto read = std::make_shared<WebhookSettings>();
    read->enabled = row.integer(1) == 1;
    read->method = row.text(2);
    read->url = row.text(3);
    read->sealed_secret = row.text(4);
    read->previous_sealed_secret = text_or_empty(row, 5);
    read->sealed_headers = text_or_empty(row, 6);
    if (!row.is_null(7)) read->retry_attempts = row.integer(7);
    read->retry_delay = maybe_time(row, 8);
    read->timeout = maybe_time(row, 9);
    read->concurrency = static_cast<std::size_t>(std::max<std::int64_t>(row.integer(10), 1));
    read->rate_limit = row.integer(11);
    settings[row.integer(0)] = std::move(read);
  }
  for (ClaimedDelivery& row : rows) row.settings = settings[row.webhook_id];
}

std::vector<std::uint64_t> WebhookQueue::read_events(std::vector<ClaimedDelivery>& rows) {
  static const std::string kReadEvents = std::string("SELECT d.id, e.channel, e.type, e.id, ") + kBodyColumns +
                                         " FROM webhook_deliveries d JOIN events e ON e.id = d.event_id WHERE d.id IN ";
  std::map<std::uint64_t, ClaimedDelivery*> by_id;
  for (ClaimedDelivery& row : rows) by_id.emplace(row.delivery_id, &row);
  std::vector<std::uint64_t> tests;
  for (const SqlRow& row : database_.query(with_list(kReadEvents, rows.size()), as_values(ids_of(rows)))) {
    if (row.text(1) == kWebhookTestChannel) tests.push_back(row.id(0));
    ClaimedDelivery& delivery = *by_id.at(row.id(0));
    delivery.event_type = row.text(2);
    delivery.body = read_body(database_, row, 4, row.id(3));
  }
  return tests;
}

/// Drops orphans, and leaves what a webhook disabled meanwhile is owed where it was.
void WebhookQueue::keep_sendable(std::vector<ClaimedDelivery>& rows, const std::vector<std::uint64_t>& tests) {
  std::vector<std::uint64_t> orphans;
  std::vector<ClaimedDelivery> held;
  std::erase_if(rows, [&](const ClaimedDelivery& row) {
    const bool orphan = !row.settings || row.event_type.empty();
    const bool sendable = !orphan && (row.settings->enabled || std::ranges::count(tests, row.delivery_id) > 0);
    if (orphan) orphans.push_back(row.delivery_id);
    if (!orphan && !sendable) held.push_back(row);
    return !sendable;
  });
  drop_orphans(orphans);
  give_back(held);
}

void WebhookQueue::give_back(const std::vector<ClaimedDelivery>& deliveries) {
  std::map<std::uint64_t, std::vector<std::uint64_t>> by_token;
  for (const ClaimedDelivery& delivery : deliveries) by_token[delivery.lease_token].push_back(delivery.delivery_id);
  for (const auto& [token, ids] : by_token) {
    SqlValues parameters{token};
    parameters.insert(parameters.end(), ids.begin(), ids.end());
    database_.execute(with_list(kGiveBack, ids.size()), std::move(parameters));
  }
}

void WebhookQueue::give_back(std::uint64_t first_token, std::uint64_t last_token) {
  std::vector<ClaimedDelivery> found;
  for (const SqlRow& row : database_.query(kFindTokens, {first_token, last_token})) {
    found.emplace_back().delivery_id = row.id(0);
    found.back().lease_token = row.id(1);
  }
  give_back(found);
}

}  // namespace gamepicker
