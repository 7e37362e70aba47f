// What became of a webhook's events: its deliveries, the attempts made at each, and trying again.

#include "handlers/api.hpp"
#include "shared/clock.hpp"
#include "shared/event_catalogue.hpp"
#include "shared/events.hpp"
#include "shared/json_writer.hpp"

namespace gamepicker {
namespace {

constexpr char kFindWebhook[] = "SELECT 1 FROM webhooks WHERE id = ?";

void require_webhook(db::Transaction& tx, const Request& request) {
  if (!tx.query(kFindWebhook, request.id()).next()) throw HttpError(404, "Webhook not found");
}

/// Which rows a request wants, newest first: so many at most, older than an id.
struct Page {
  explicit Page(const Request& request)
      : limit(query_integer(request, "limit", 1, 500).value_or(50)),
        before(query_integer(request, "before", 1, INT64_MAX).value_or(INT64_MAX)) {}
  std::int64_t limit;
  std::int64_t before;
};

/// Microseconds as a number of milliseconds, or null.
void write_milliseconds(JsonWriter& json, std::string_view name, std::optional<std::int64_t> microseconds) {
  json.key(name);
  if (!microseconds) {
    json.null();
    return;
  }
  const std::string thousandths = std::to_string(*microseconds % 1000 + 1000).substr(1);
  json.raw(std::to_string(*microseconds / 1000) + "." + thousandths);
}

struct LogFilter {
  std::optional<bool> failed;
  std::optional<std::string> event_type;
};

LogFilter read_log_filter(const Request& request) {
  LogFilter filter;
  if (const auto status = request.query_value("status")) {
    if (*status != "failed" && *status != "succeeded") throw HttpError(400, "status must be failed or succeeded");
    filter.failed = *status == "failed";
  }
  filter.event_type = request.query_value("event_type");
  if (filter.event_type && !is_event_type(*filter.event_type)) {
    throw HttpError(400, "Unknown event type: " + *filter.event_type);
  }
  return filter;
}

constexpr char kListLogs[] =
    "SELECT l.id, e.type, e.body, l.response_status, l.error_message, l.created_at, l.delivery_id, l.attempt, "
    "l.duration_ms, l.response_body, l.peer_address, l.dns_us, l.connect_us, l.tls_us, l.first_byte_us "
    "FROM webhook_logs l JOIN webhook_deliveries d ON d.id = l.delivery_id "
    "JOIN events e ON e.id = d.event_id WHERE l.webhook_id = ? AND l.id < ? "
    "AND (? IS NULL OR (l.error_message IS NOT NULL) = ?) AND (? IS NULL OR e.type = ?) ORDER BY l.id DESC LIMIT ?";

void write_log(JsonWriter& json, db::Rows& row, std::int64_t webhook_id) {
  json.begin_object().field("id", row.integer()).field("webhook_id", webhook_id).field("event_type", row.text());
  json.raw_field("payload", event_data(row.text())).field("response_status", row.maybe_integer());
  json.field("error_message", row.maybe_text()).field("created_at", row.time());
  json.field("delivery_id", row.integer()).field("attempt", row.integer());
  const std::int64_t duration = row.integer();
  json.field("duration_ms", duration).field("response_body", row.maybe_text());
  json.field("peer_address", row.maybe_text()).key("timings").begin_object();
  for (const char* phase : {"dns_ms", "connect_ms", "tls_ms", "first_byte_ms"}) {
    write_milliseconds(json, phase, row.maybe_integer());
  }
  json.field("total_ms", duration).end_object().end_object();
}

Response list_logs(Api& api, const Request& request) {
  const Page page(request);
  const LogFilter filter = read_log_filter(request);
  return api.database.read([&](db::Transaction& tx) {
    require_webhook(tx, request);
    JsonWriter json;
    json.begin_array();
    for (db::Rows row = tx.query(kListLogs, request.id(), page.before, filter.failed, filter.failed, filter.event_type,
                                 filter.event_type, page.limit);
         row.next();) {
      write_log(json, row, request.id());
    }
    json.end_array();
    return json_response(200, json.take());
  });
}

// A row of the queue is in flight while its lease runs.
#define IN_FLIGHT "(q.lease_token IS NOT NULL AND q.due_at > UTC_TIMESTAMP(3))"
#define DELIVERY_COLUMNS                                                        \
  "d.id, d.event_id, e.type, IF(q.delivery_id IS NULL, d.status, IF(" IN_FLIGHT \
  ", 'delivering', 'pending')), d.attempts, IF(" IN_FLIGHT ", NULL, q.due_at), d.created_at, d.finished_at "

constexpr char kListDeliveries[] =
    "SELECT " DELIVERY_COLUMNS
    "FROM webhook_deliveries d JOIN events e ON e.id = d.event_id LEFT JOIN webhook_queue q ON q.delivery_id = d.id "
    "WHERE d.webhook_id = ? AND d.id < ? AND COALESCE(?, d.status) = d.status ORDER BY d.id DESC LIMIT ?";

// From the queue, which is as long as the backlog, while the deliveries are those of a month. What is in flight is due
// later: few are.
constexpr char kListPending[] =
    "SELECT STRAIGHT_JOIN " DELIVERY_COLUMNS
    "FROM webhook_queue q JOIN webhook_deliveries d ON d.id = q.delivery_id JOIN events e ON e.id = d.event_id "
    "WHERE q.webhook_id = ? AND q.delivery_id < ? AND NOT " IN_FLIGHT " ORDER BY q.delivery_id DESC LIMIT ?";
constexpr char kListDelivering[] =
    "SELECT STRAIGHT_JOIN " DELIVERY_COLUMNS
    "FROM webhook_queue q FORCE INDEX (webhook_queue_due) JOIN webhook_deliveries d ON d.id = q.delivery_id "
    "JOIN events e ON e.id = d.event_id WHERE q.webhook_id = ? AND q.due_at > UTC_TIMESTAMP(3) "
    "AND q.lease_token IS NOT NULL AND q.delivery_id < ? ORDER BY q.delivery_id DESC LIMIT ?";

db::Rows query_deliveries(db::Transaction& tx, std::int64_t webhook_id, const std::optional<std::string>& status,
                          const Page& page) {
  if (status == "pending") return tx.query(kListPending, webhook_id, page.before, page.limit);
  if (status == "delivering") return tx.query(kListDelivering, webhook_id, page.before, page.limit);
  return tx.query(kListDeliveries, webhook_id, page.before, status, page.limit);
}

Response list_deliveries(Api& api, const Request& request) {
  const Page page(request);
  const auto status = request.query_value("status");
  if (status && status != "pending" && status != "delivering" && status != "succeeded" && status != "failed") {
    throw HttpError(400, "status must be pending, delivering, succeeded or failed");
  }
  return api.database.read([&](db::Transaction& tx) {
    require_webhook(tx, request);
    JsonWriter json;
    json.begin_array();
    for (db::Rows row = query_deliveries(tx, request.id(), status, page); row.next();) {
      json.begin_object().field("id", row.integer()).field("event_id", row.integer()).field("event_type", row.text());
      json.field("status", row.text()).field("attempts", row.integer()).field("next_attempt_at", row.maybe_time());
      json.field("created_at", row.time()).field("finished_at", row.maybe_time()).end_object();
    }
    json.end_array();
    return json_response(200, json.take());
  });
}

// The queue's row before the delivery's, as the relay locks them.
constexpr char kLockQueued[] =
    "SELECT " IN_FLIGHT " FROM webhook_queue q WHERE q.delivery_id = ? AND q.webhook_id = ? FOR UPDATE";
constexpr char kMakeDue[] = "UPDATE webhook_queue SET due_at = LEAST(due_at, UTC_TIMESTAMP(3)) WHERE delivery_id = ?";
constexpr char kLockDelivery[] =
    "SELECT status = 'pending' FROM webhook_deliveries WHERE id = ? AND webhook_id = ? FOR UPDATE";
// The schedule counts from the attempts made so far.
constexpr char kQueueAgain[] =
    "INSERT INTO webhook_queue (delivery_id, webhook_id, due_at, attempts, base_attempts) "
    "SELECT id, webhook_id, UTC_TIMESTAMP(3), attempts, attempts FROM webhook_deliveries WHERE id = ?";
constexpr char kReopen[] = "UPDATE webhook_deliveries SET status = 'pending', finished_at = NULL WHERE id = ?";

Response retry_delivery(Api& api, const Request& request) {
  return api.database.transaction([&](db::Transaction& tx) {
    require_webhook(tx, request);
    const std::int64_t delivery_id = request.id(1);
    std::optional<bool> in_flight;
    {
      db::Rows row = tx.query(kLockQueued, delivery_id, request.id());
      if (row.next()) in_flight = row.integer() == 1;
    }
    if (in_flight) {
      if (!*in_flight) tx.execute(kMakeDue, delivery_id);
    } else {
      db::Rows row = tx.query(kLockDelivery, delivery_id, request.id());
      if (!row.next()) throw HttpError(404, "Delivery not found");
      const bool queued_meanwhile = row.integer() == 1;
      if (!queued_meanwhile) {
        tx.execute(kQueueAgain, delivery_id);
        tx.execute(kReopen, delivery_id);
      }
    }
    tx.nudge_after_commit();
    return json_response(202, R"({"success":true})");
  });
}

// Who failed since then has ended since then: either index narrows the search.
constexpr char kFindFailed[] =
    "SELECT COUNT(*), MIN(id), MAX(id) FROM webhook_deliveries WHERE webhook_id = ? AND status = 'failed' "
    "AND created_at >= ? AND finished_at >= ?";
constexpr char kInsertRecovery[] =
    "INSERT INTO webhook_recoveries (webhook_id, since, cursor_id, last_id, total) VALUES (?, ?, ?, ?, ?)";

/// Only writes down what is to be done: the relay does it, however many there are.
Response recover(Api& api, const Request& request) {
  const auto text = request.json().text("since", 100);
  if (!text) throw HttpError(400, "since is required");
  const auto since = parse_iso(*text);
  if (!since) throw HttpError(400, "since is not an ISO 8601 time");
  const std::string sql_since = format_sql(*since);
  return api.database.transaction([&](db::Transaction& tx) {
    require_webhook(tx, request);
    db::Rows row = tx.query(kFindFailed, request.id(), sql_since, sql_since);
    row.next();
    const std::int64_t total = row.integer();
    if (total > 0) {
      const std::int64_t first_id = row.integer();
      tx.execute(kInsertRecovery, request.id(), sql_since, first_id - 1, row.integer(), total);
      tx.nudge_after_commit();
    }
    JsonWriter json;
    json.begin_object().field("success", true).field("requeued", total).end_object();
    return json_response(202, json.take());
  });
}

constexpr Route kRoutes[] = {
    {"GET", "/api/webhooks/{id}/logs", Access::admin, list_logs},
    {"GET", "/api/webhooks/{id}/deliveries", Access::admin, list_deliveries},
    {"POST", "/api/webhooks/{id}/deliveries/{deliveryId}/retry", Access::admin, retry_delivery},
    {"POST", "/api/webhooks/{id}/recover", Access::admin, recover},
};

}  // namespace

std::span<const Route> webhook_deliveries_routes() {
  return kRoutes;
}

}  // namespace gamepicker
