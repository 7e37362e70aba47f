// How a webhook's endpoint is doing. Index reads only: an operator asks when the backlog is long.

#include <algorithm>

#include "handlers/api.hpp"
#include "shared/json_writer.hpp"

namespace gamepicker {
namespace {

constexpr std::int64_t kMinuteMs = 60'000;
constexpr std::int64_t kNewestAttempts = 10'000;  // as in kCountAttempts

/// One row of webhooks with what is known of its endpoint.
struct Endpoint {
  bool enabled = true;
  std::optional<std::string> disabled_reason;
  std::optional<std::int64_t> rate_limit;
  std::int64_t failures = 0;
  std::optional<std::string> failing_since;
  std::optional<std::string> backoff_until;
  std::optional<std::string> last_error;
  std::optional<std::string> last_error_at;

  /// Backing off ends with a success, not with the time of the next probe.
  const char* state() const { return !enabled ? "disabled" : backoff_until ? "backing_off" : "healthy"; }
};

constexpr char kGetEndpoint[] =
    "SELECT w.enabled, w.disabled_reason, w.rate_limit, COALESCE(h.failures, 0), h.failing_since, h.backoff_until, "
    "h.last_error, h.last_error_at FROM webhooks w LEFT JOIN webhook_health h ON h.webhook_id = w.id WHERE w.id = ?";

Endpoint read_endpoint(db::Transaction& tx, std::int64_t webhook_id) {
  db::Rows row = tx.query(kGetEndpoint, webhook_id);
  if (!row.next()) throw HttpError(404, "Webhook not found");
  Endpoint endpoint;
  endpoint.enabled = row.integer() == 1;
  endpoint.disabled_reason = row.maybe_text();
  endpoint.rate_limit = row.maybe_integer();
  endpoint.failures = row.integer();
  endpoint.failing_since = row.maybe_time();
  endpoint.backoff_until = row.maybe_time();
  endpoint.last_error = row.maybe_text();
  endpoint.last_error_at = row.maybe_time();
  return endpoint;
}

struct Backlog {
  std::int64_t deliveries = 0;  ///< counted up to 100,000
  std::optional<std::int64_t> oldest_age_ms;
};

// The oldest delivery is among those due first, or it waits for a late retry: both ends of the index are looked at.
constexpr char kCountBacklog[] =
    "SELECT f.n, (SELECT TIMESTAMPDIFF(MICROSECOND, d.created_at, UTC_TIMESTAMP(3)) DIV 1000 FROM webhook_deliveries d "
    "WHERE d.id = LEAST(f.oldest, l.oldest)) FROM "
    "(SELECT COUNT(*) AS n, MIN(delivery_id) AS oldest FROM (SELECT delivery_id FROM webhook_queue "
    "FORCE INDEX (webhook_queue_due) WHERE webhook_id = ? ORDER BY due_at, delivery_id LIMIT 100000) q) f, "
    "(SELECT MIN(delivery_id) AS oldest FROM (SELECT delivery_id FROM webhook_queue FORCE INDEX (webhook_queue_due) "
    "WHERE webhook_id = ? ORDER BY due_at DESC, delivery_id DESC LIMIT 1000) q) l";

Backlog count_backlog(db::Transaction& tx, std::int64_t webhook_id) {
  db::Rows row = tx.query(kCountBacklog, webhook_id, webhook_id);
  row.next();
  Backlog backlog;
  backlog.deliveries = row.integer();
  backlog.oldest_age_ms = row.maybe_integer();
  return backlog;
}

constexpr char kCountAttempts[] =
    "SELECT COUNT(*), COALESCE(SUM(error_message IS NULL), 0), "
    "COALESCE(TIMESTAMPDIFF(MICROSECOND, MIN(created_at), UTC_TIMESTAMP(3)) DIV 1000, 0) FROM (SELECT error_message, "
    "created_at FROM webhook_logs FORCE INDEX (webhook_logs_webhook) WHERE webhook_id = ? ORDER BY id DESC "
    "LIMIT 10000) l WHERE created_at > UTC_TIMESTAMP(3) - INTERVAL 1 MINUTE";

/// From the newest attempts; when more than these were made within the minute, the rest of it is taken to be like them.
std::int64_t succeeded_in_last_minute(db::Transaction& tx, std::int64_t webhook_id) {
  db::Rows row = tx.query(kCountAttempts, webhook_id);
  row.next();
  const std::int64_t attempts = row.integer();
  const std::int64_t succeeded = row.integer();
  const std::int64_t span_ms = std::clamp<std::int64_t>(row.integer(), 1, kMinuteMs);
  return attempts < kNewestAttempts ? succeeded : succeeded * kMinuteMs / span_ms;
}

/// Nothing while nobody can tell.
std::optional<std::int64_t> seconds_to_drain(const Endpoint& endpoint, const Backlog& backlog,
                                             std::int64_t succeeded_in_a_minute) {
  if (backlog.deliveries == 0) return 0;
  if (!endpoint.enabled || endpoint.backoff_until || succeeded_in_a_minute == 0) return std::nullopt;
  return (backlog.deliveries * 60 + succeeded_in_a_minute - 1) / succeeded_in_a_minute;
}

constexpr char kGetRecovery[] =
    "SELECT id, since, total, requeued, IF(finished_at IS NULL, 'running', 'finished'), created_at, finished_at "
    "FROM webhook_recoveries WHERE webhook_id = ? ORDER BY id DESC LIMIT 1";

void write_recovery(JsonWriter& json, db::Transaction& tx, std::int64_t webhook_id) {
  db::Rows row = tx.query(kGetRecovery, webhook_id);
  if (!row.next()) {
    json.null();
    return;
  }
  json.begin_object().field("id", row.integer()).field("since", row.time()).field("total", row.integer());
  json.field("requeued", row.integer()).field("state", row.text()).field("created_at", row.time());
  json.field("finished_at", row.maybe_time()).end_object();
}

Response get_status(Api& api, const Request& request) {
  return api.database.snapshot([&](db::Transaction& tx) {
    const Endpoint endpoint = read_endpoint(tx, request.id());
    const Backlog backlog = count_backlog(tx, request.id());
    const std::int64_t succeeded = succeeded_in_last_minute(tx, request.id());
    JsonWriter json;
    json.begin_object().field("id", request.id()).field("state", endpoint.state());
    json.field("backing_off_until", endpoint.enabled ? endpoint.backoff_until : std::nullopt);
    json.field("disabled_reason", endpoint.disabled_reason).field("failing_since", endpoint.failing_since);
    json.field("consecutive_failures", endpoint.failures).field("last_error", endpoint.last_error);
    json.field("last_error_at", endpoint.last_error_at).field("backlog", backlog.deliveries);
    json.field("oldest_undelivered_age_ms", backlog.oldest_age_ms).field("rateLimit", endpoint.rate_limit);
    json.field("succeeded_last_minute", succeeded);
    json.field("seconds_to_drain", seconds_to_drain(endpoint, backlog, succeeded)).key("recovery");
    write_recovery(json, tx, request.id());
    json.end_object();
    return json_response(200, json.take());
  });
}

constexpr Route kRoutes[] = {
    {"GET", "/api/webhooks/{id}/status", Access::admin, get_status},
};

}  // namespace

std::span<const Route> webhook_status_routes() {
  return kRoutes;
}

}  // namespace gamepicker
