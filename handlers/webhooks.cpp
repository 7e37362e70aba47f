#include <algorithm>
#include <cctype>

#include <Poco/Exception.h>
#include <Poco/URI.h>
#include <arpa/inet.h>

#include "handlers/api.hpp"
#include "handlers/outbox.hpp"
#include "shared/events.hpp"
#include "shared/json_writer.hpp"

namespace gamepicker {
namespace {

// Column widths of webhooks in sql/001_initial.sql; a sealed secret of this length fits its column.
constexpr std::size_t kMaxName = 100;
constexpr std::size_t kMaxUrl = 2000;
constexpr std::size_t kMaxSecret = 128;
constexpr std::size_t kMaxPatterns = 50;

/// The fields of a request; what was not given is empty.
struct WebhookFields {
  std::optional<std::string> name;
  std::optional<std::string> url;
  std::optional<std::string> secret;
  std::optional<std::vector<std::string>> events;
  std::optional<bool> enabled;
};

/// A name as DNS has it, or an address. Poco alone reads "[[]]example.com" as the host "[".
bool is_host(const std::string& host) {
  in6_addr address;
  if (inet_pton(AF_INET6, host.c_str(), &address) == 1) return true;
  return !host.empty() && std::ranges::all_of(host, [](unsigned char c) {
    return (c < 0x80 && std::isalnum(c) != 0) || c == '.' || c == '-' || c == '_';
  });
}

bool is_http_url(const std::string& text) {
  try {
    const Poco::URI url(text);
    return (url.getScheme() == "http" || url.getScheme() == "https") && is_host(url.getHost()) &&
           std::ranges::none_of(text, [](unsigned char c) { return c <= 0x20 || c == 0x7f; });
  } catch (const Poco::Exception&) {
    return false;
  }
}

WebhookFields read_fields(const Request& request) {
  const JsonObject body = request.json();
  WebhookFields fields;
  fields.name = body.text("name", kMaxName);
  fields.url = body.text("url", kMaxUrl);
  fields.secret = body.text("secret", kMaxSecret);
  if (body.has("events") && !body.is_null("events")) {
    if (!body.is_array("events")) throw HttpError(400, "events must be an array");
    fields.events = body.text_list("events", kMaxName);
  }
  fields.enabled = body.boolean("enabled");
  return fields;
}

/// Checks what was given, whether all of it or a part.
void check_fields(const WebhookFields& fields) {
  if (fields.name && fields.name->empty()) throw HttpError(400, "name must not be empty");
  if (fields.secret && fields.secret->empty()) throw HttpError(400, "secret must not be empty");
  if (fields.url && !is_http_url(*fields.url)) throw HttpError(400, "Invalid URL format");
  if (!fields.events) return;
  if (fields.events->empty()) throw HttpError(400, "events must not be empty");
  if (fields.events->size() > kMaxPatterns) throw HttpError(400, "events must have at most 50 entries");
  for (const std::string& pattern : *fields.events) {
    if (!is_known_event_pattern(pattern)) throw HttpError(400, "Unknown event type: " + pattern);
  }
}

constexpr char kGetPatterns[] = "SELECT pattern FROM webhook_patterns WHERE webhook_id = ? ORDER BY position";

#define WEBHOOK_COLUMNS "id, name, url, enabled, created_at, disabled_reason FROM webhooks "

/// Reads one row of WEBHOOK_COLUMNS; the members without the braces. The secret is in none of them.
void write_members(JsonWriter& json, db::Transaction& tx, db::Rows& row) {
  const std::int64_t id = row.integer();
  json.field("id", id).field("name", row.text()).field("url", row.text()).key("events").begin_array();
  for (db::Rows patterns = tx.query(kGetPatterns, id); patterns.next();) json.value(patterns.text());
  json.end_array().field("enabled", row.integer() == 1).field("created_at", row.time());
  json.field("disabled_reason", row.maybe_text());
}

constexpr char kGetWebhook[] = "SELECT " WEBHOOK_COLUMNS "WHERE id = ?";

std::string webhook_json(db::Transaction& tx, std::int64_t id, std::string_view message = {}) {
  db::Rows row = tx.query(kGetWebhook, id);
  if (!row.next()) throw HttpError(404, "Webhook not found");
  JsonWriter json;
  json.begin_object();
  write_members(json, tx, row);
  if (!message.empty()) json.field("message", message);
  json.end_object();
  return json.take();
}

constexpr char kListWebhooks[] = "SELECT " WEBHOOK_COLUMNS "ORDER BY id";

Response list_webhooks(Api& api, const Request&) {
  return api.database.snapshot([&](db::Transaction& tx) {
    JsonWriter json;
    json.begin_array();
    for (db::Rows row = tx.query(kListWebhooks); row.next();) {
      json.begin_object();
      write_members(json, tx, row);
      json.end_object();
    }
    json.end_array();
    return json_response(200, json.take());
  });
}

Response get_webhook(Api& api, const Request& request) {
  return api.database.snapshot([&](db::Transaction& tx) { return json_response(200, webhook_json(tx, request.id())); });
}

constexpr char kInsertPattern[] =
    "INSERT IGNORE INTO webhook_patterns (webhook_id, pattern, position) VALUES (?, ?, ?)";

void insert_patterns(db::Transaction& tx, std::int64_t id, const std::vector<std::string>& patterns) {
  int position = 0;
  for (const std::string& pattern : patterns) tx.execute(kInsertPattern, id, pattern, position++);
}

constexpr char kInsertWebhook[] = "INSERT INTO webhooks (name, url, sealed_secret, enabled) VALUES (?, ?, ?, ?)";

Response create_webhook(Api& api, const Request& request) {
  const WebhookFields fields = read_fields(request);
  if (!fields.name || fields.name->empty() || !fields.url || fields.url->empty() || !fields.secret ||
      fields.secret->empty() || !fields.events) {
    throw HttpError(400, "Missing required fields: name, url, secret, events");
  }
  check_fields(fields);
  const std::string sealed = api.secrets.seal(*fields.secret);
  return api.database.transaction([&](db::Transaction& tx) {
    tx.execute(kInsertWebhook, *fields.name, *fields.url, sealed, fields.enabled.value_or(true));
    const std::int64_t id = tx.last_insert_id();
    insert_patterns(tx, id, *fields.events);
    return json_response(201, webhook_json(tx, id, "Webhook created successfully"));
  });
}

constexpr char kLockWebhook[] = "SELECT id FROM webhooks WHERE id = ? FOR UPDATE";
// Enabling clears the reason it was disabled for; a field that was not given is NULL and stays.
constexpr char kUpdateWebhook[] =
    "UPDATE webhooks SET name = COALESCE(?, name), url = COALESCE(?, url), sealed_secret = COALESCE(?, sealed_secret), "
    "disabled_reason = IF(? = 1, NULL, disabled_reason), enabled = COALESCE(?, enabled) WHERE id = ?";
constexpr char kDeletePatterns[] = "DELETE FROM webhook_patterns WHERE webhook_id = ?";

Response update_webhook(Api& api, const Request& request) {
  const WebhookFields fields = read_fields(request);
  const bool any = fields.name || fields.url || fields.secret || fields.events || fields.enabled;
  if (any) check_fields(fields);
  std::optional<std::string> sealed;
  if (fields.secret) sealed = api.secrets.seal(*fields.secret);
  return api.database.transaction([&](db::Transaction& tx) {
    const std::int64_t id = request.id();
    if (!tx.query(kLockWebhook, id).next()) throw HttpError(404, "Webhook not found");
    if (!any) throw HttpError(400, "No fields to update");
    tx.execute(kUpdateWebhook, fields.name, fields.url, sealed, fields.enabled, fields.enabled, id);
    if (fields.events) {
      tx.execute(kDeletePatterns, id);
      insert_patterns(tx, id, *fields.events);
    }
    return json_response(200, webhook_json(tx, id, "Webhook updated successfully"));
  });
}

constexpr char kDeleteQueued[] = "DELETE FROM webhook_queue WHERE webhook_id = ?";
constexpr char kDeleteLogs[] = "DELETE FROM webhook_logs WHERE webhook_id = ?";
constexpr char kDeleteDeliveries[] = "DELETE FROM webhook_deliveries WHERE webhook_id = ?";
constexpr char kDeleteWebhook[] = "DELETE FROM webhooks WHERE id = ?";

Response delete_webhook(Api& api, const Request& request) {
  return api.database.transaction([&](db::Transaction& tx) {
    const std::int64_t id = request.id();
    if (!tx.query(kLockWebhook, id).next()) throw HttpError(404, "Webhook not found");
    for (const char* sql : {kDeleteQueued, kDeleteLogs, kDeleteDeliveries, kDeletePatterns, kDeleteWebhook}) {
      tx.execute(sql, id);
    }
    JsonWriter json;
    json.begin_object().field("message", "Webhook deleted successfully").field("webhookId", id).end_object();
    return json_response(200, json.take());
  });
}

constexpr char kTestData[] =
    R"({"session":{"id":0,"is_active":true,"games_played":0},"game":{"id":0,"title":"Test Game",)"
    R"("pack_name":"Test Pack","min_players":2,"max_players":8,"manually_added":false,"room_code":null}})";

Response test_webhook(Api& api, const Request& request) {
  return api.database.transaction([&](db::Transaction& tx) {
    if (!tx.query(kLockWebhook, request.id()).next()) throw HttpError(404, "Webhook not found");
    outbox::enqueue_test(tx, {std::string(kWebhookTestChannel), "game.added", kTestData}, request.id());
    return json_response(200,
                         R"({"message":"Test webhook sent","note":"Check webhook_logs table for delivery status"})");
  });
}

/// Which log rows a request wants: succeeded or failed ones only, older than an id.
struct LogFilter {
  std::int64_t limit = 50;
  std::int64_t before = INT64_MAX;
  std::optional<bool> failed;
};

LogFilter read_log_filter(const Request& request) {
  LogFilter filter;
  filter.limit = query_integer(request, "limit", 1, 500).value_or(filter.limit);
  filter.before = query_integer(request, "before", 1, INT64_MAX).value_or(filter.before);
  if (const auto status = request.query_value("status")) {
    if (*status != "failed" && *status != "succeeded") throw HttpError(400, "status must be failed or succeeded");
    filter.failed = *status == "failed";
  }
  return filter;
}

constexpr char kListLogs[] =
    "SELECT l.id, e.type, e.body, l.response_status, l.error_message, l.created_at, l.delivery_id, l.attempt, "
    "l.duration_ms, l.response_body FROM webhook_logs l JOIN webhook_deliveries d ON d.id = l.delivery_id "
    "JOIN events e ON e.id = d.event_id WHERE l.webhook_id = ? AND l.id < ? "
    "AND (? IS NULL OR (l.error_message IS NOT NULL) = ?) ORDER BY l.id DESC LIMIT ?";

Response list_logs(Api& api, const Request& request) {
  const LogFilter filter = read_log_filter(request);
  return api.database.read([&](db::Transaction& tx) {
    if (!tx.query(kGetWebhook, request.id()).next()) throw HttpError(404, "Webhook not found");
    JsonWriter json;
    json.begin_array();
    for (db::Rows row = tx.query(kListLogs, request.id(), filter.before, filter.failed, filter.failed, filter.limit);
         row.next();) {
      json.begin_object().field("id", row.integer()).field("webhook_id", request.id()).field("event_type", row.text());
      json.raw_field("payload", event_data(row.text())).field("response_status", row.maybe_integer());
      json.field("error_message", row.maybe_text()).field("created_at", row.time());
      json.field("delivery_id", row.integer()).field("attempt", row.integer()).field("duration_ms", row.integer());
      json.field("response_body", row.maybe_text()).end_object();
    }
    json.end_array();
    return json_response(200, json.take());
  });
}

constexpr Route kRoutes[] = {
    {"GET", "/api/webhooks", Access::admin, list_webhooks},
    {"POST", "/api/webhooks", Access::admin, create_webhook},
    {"GET", "/api/webhooks/{id}", Access::admin, get_webhook},
    {"PATCH", "/api/webhooks/{id}", Access::admin, update_webhook},
    {"DELETE", "/api/webhooks/{id}", Access::admin, delete_webhook},
    {"POST", "/api/webhooks/test/{id}", Access::admin, test_webhook},
    {"GET", "/api/webhooks/{id}/logs", Access::admin, list_logs},
};

}  // namespace

std::span<const Route> webhooks_routes() {
  return kRoutes;
}

}  // namespace gamepicker
