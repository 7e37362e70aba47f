#include <chrono>

#include "handlers/outbox.hpp"
#include "handlers/webhook_fields.hpp"
#include "shared/json_writer.hpp"
#include "shared/log.hpp"

namespace gamepicker {
namespace {

#define WEBHOOK_COLUMNS                                                                           \
  "id, name, url, enabled, created_at, disabled_reason, method, sealed_headers, retry_attempts, " \
  "retry_delay_ms, timeout_ms, rate_limit, concurrency, sealed_secret FROM webhooks "

constexpr char kGetPatterns[] = "SELECT pattern FROM webhook_patterns WHERE webhook_id = ? ORDER BY position";
constexpr char kGetChannels[] = "SELECT pattern FROM webhook_channels WHERE webhook_id = ? ORDER BY position";

/// One row of WEBHOOK_COLUMNS; the secret behind it is left to the caller.
Webhook read_webhook(db::Transaction& tx, db::Rows& row) {
  Webhook webhook;
  webhook.id = row.integer();
  webhook.name = row.text();
  webhook.url = row.text();
  webhook.enabled = row.integer() == 1;
  webhook.created_at = row.time();
  webhook.disabled_reason = row.maybe_text();
  webhook.method = row.text();
  webhook.sealed_headers = row.maybe_text();
  webhook.retry_attempts = row.maybe_integer();
  webhook.retry_delay_ms = row.maybe_integer();
  webhook.timeout_ms = row.maybe_integer();
  webhook.rate_limit = row.maybe_integer();
  webhook.concurrency = row.integer();
  for (db::Rows pattern = tx.query(kGetPatterns, webhook.id); pattern.next();) webhook.events.push_back(pattern.text());
  for (db::Rows channel = tx.query(kGetChannels, webhook.id); channel.next();) {
    webhook.channels.push_back(channel.text());
  }
  return webhook;
}

void write_list(JsonWriter& json, std::string_view name, const std::vector<std::string>& texts) {
  json.key(name).begin_array();
  for (const std::string& text : texts) json.value(text);
  json.end_array();
}

/// The members without the braces. Neither the secret nor a header's value is in any of them.
void write_members(JsonWriter& json, const Api& api, const Webhook& webhook) {
  json.field("id", webhook.id).field("name", webhook.name).field("url", webhook.url);
  write_list(json, "events", webhook.events);
  json.field("enabled", webhook.enabled).field("created_at", webhook.created_at).field("method", webhook.method);
  write_list(json, "headers", header_names(api.secrets, webhook.sealed_headers));
  json.field("disabled_reason", webhook.disabled_reason).field("retryAttempts", webhook.retry_attempts);
  json.field("retryDelay", webhook.retry_delay_ms).field("timeout", webhook.timeout_ms);
  write_list(json, "channels", webhook.channels);
  json.field("rateLimit", webhook.rate_limit).field("concurrency", webhook.concurrency);
}

constexpr char kGetWebhook[] = "SELECT " WEBHOOK_COLUMNS "WHERE id = ?";

std::string webhook_json(const Api& api, db::Transaction& tx, std::int64_t id, std::string_view message = {}) {
  db::Rows row = tx.query(kGetWebhook, id);
  if (!row.next()) throw HttpError(404, "Webhook not found");
  JsonWriter json;
  json.begin_object();
  write_members(json, api, read_webhook(tx, row));
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
      write_members(json, api, read_webhook(tx, row));
      json.end_object();
    }
    json.end_array();
    return json_response(200, json.take());
  });
}

Response get_webhook(Api& api, const Request& request) {
  return api.database.snapshot(
      [&](db::Transaction& tx) { return json_response(200, webhook_json(api, tx, request.id())); });
}

constexpr char kDeletePatterns[] = "DELETE FROM webhook_patterns WHERE webhook_id = ?";
constexpr char kDeleteChannels[] = "DELETE FROM webhook_channels WHERE webhook_id = ?";
constexpr char kInsertPattern[] =
    "INSERT IGNORE INTO webhook_patterns (webhook_id, pattern, position) VALUES (?, ?, ?)";
constexpr char kInsertChannel[] =
    "INSERT IGNORE INTO webhook_channels (webhook_id, pattern, like_pattern, position) VALUES (?, ?, ?, ?)";

void insert_lists(db::Transaction& tx, const Webhook& webhook, const WebhookFields& fields) {
  int position = 0;
  if (fields.has_events) {
    for (const std::string& pattern : webhook.events) tx.execute(kInsertPattern, webhook.id, pattern, position++);
  }
  if (fields.has_channels) {
    for (const std::string& pattern : webhook.channels) {
      tx.execute(kInsertChannel, webhook.id, pattern, like_pattern(pattern), position++);
    }
  }
}

constexpr char kInsertWebhook[] =
    "INSERT INTO webhooks (name, url, enabled, method, sealed_headers, retry_attempts, retry_delay_ms, timeout_ms, "
    "rate_limit, concurrency, all_channels, sealed_secret) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

Response create_webhook(Api& api, const Request& request) {
  const JsonObject body = request.json();
  check_required_fields(body);
  Webhook webhook;
  const WebhookFields fields = read_webhook_fields(api, body, webhook);
  const std::string sealed = api.secrets.seal(fields.secret.value());
  return api.database.transaction([&](db::Transaction& tx) {
    tx.execute(kInsertWebhook, webhook.name, webhook.url, webhook.enabled, webhook.method, webhook.sealed_headers,
               webhook.retry_attempts, webhook.retry_delay_ms, webhook.timeout_ms, webhook.rate_limit,
               webhook.concurrency, webhook.channels.empty(), sealed);
    webhook.id = tx.last_insert_id();
    insert_lists(tx, webhook, fields);
    tx.nudge_after_commit();  // relays look at what is wanted
    return json_response(201, webhook_json(api, tx, webhook.id, "Webhook created successfully"));
  });
}

constexpr char kLockSettings[] = "SELECT " WEBHOOK_COLUMNS "WHERE id = ? FOR UPDATE";
constexpr char kUpdateWebhook[] =
    "UPDATE webhooks SET name = ?, url = ?, enabled = ?, disabled_reason = ?, method = ?, sealed_headers = ?, "
    "retry_attempts = ?, retry_delay_ms = ?, timeout_ms = ?, rate_limit = ?, concurrency = ?, all_channels = ? "
    "WHERE id = ?";
// Assignments are made from left to right.
constexpr char kRotateSecret[] =
    "UPDATE webhooks SET previous_sealed_secret = sealed_secret, "
    "previous_secret_until = UTC_TIMESTAMP(3) + INTERVAL 24 HOUR, sealed_secret = ? WHERE id = ?";
constexpr char kForgetFailures[] =
    "UPDATE webhook_health SET failures = 0, failing_since = NULL, backoff_until = NULL WHERE webhook_id = ?";

/// Whether it is the same one: setting it again, as a repeated request does, must not push out the one before it.
bool is_secret(const SecretBox& secrets, const std::string& sealed, const std::string& secret) {
  try {
    return secrets.open(sealed) == secret;
  } catch (const std::runtime_error&) {  // sealed with another key: of no use any more
    return false;
  }
}

Response update_webhook(Api& api, const Request& request) {
  const JsonObject body = request.json();
  return api.database.transaction([&](db::Transaction& tx) {
    Webhook webhook;
    std::string sealed_secret;
    {
      db::Rows row = tx.query(kLockSettings, request.id());
      if (!row.next()) throw HttpError(404, "Webhook not found");
      webhook = read_webhook(tx, row);
      sealed_secret = row.text();
    }
    const std::string old_url = webhook.url;
    const WebhookFields fields = read_webhook_fields(api, body, webhook);
    if (!fields.any) throw HttpError(400, "No fields to update");
    if (fields.enables) webhook.disabled_reason.reset();
    tx.execute(kUpdateWebhook, webhook.name, webhook.url, webhook.enabled, webhook.disabled_reason, webhook.method,
               webhook.sealed_headers, webhook.retry_attempts, webhook.retry_delay_ms, webhook.timeout_ms,
               webhook.rate_limit, webhook.concurrency, webhook.channels.empty(), webhook.id);
    if (fields.secret && !is_secret(api.secrets, sealed_secret, *fields.secret)) {
      tx.execute(kRotateSecret, api.secrets.seal(*fields.secret), webhook.id);
    }
    if (fields.has_events) tx.execute(kDeletePatterns, webhook.id);
    if (fields.has_channels) tx.execute(kDeleteChannels, webhook.id);
    insert_lists(tx, webhook, fields);
    if (fields.enables || webhook.url != old_url) tx.execute(kForgetFailures, webhook.id);
    tx.nudge_after_commit();  // and what waited for this may be due
    return json_response(200, webhook_json(api, tx, webhook.id, "Webhook updated successfully"));
  });
}

constexpr char kLockWebhook[] = "SELECT url FROM webhooks WHERE id = ? FOR UPDATE";
constexpr char kDeleteRecoveries[] = "DELETE FROM webhook_recoveries WHERE webhook_id = ?";
constexpr char kDeleteHealth[] = "DELETE FROM webhook_health WHERE webhook_id = ?";
constexpr char kDeleteWebhook[] = "DELETE FROM webhooks WHERE id = ?";

// As many rows as one transaction deletes in some 100 ms. The queue comes last: by its rows the relay finds what is
// left of a webhook that is no more.
constexpr std::int64_t kBatch = 2000;
constexpr const char* kDeleteBatches[] = {
    "DELETE FROM webhook_logs WHERE webhook_id = ? LIMIT 2000",
    "DELETE FROM webhook_deliveries WHERE webhook_id = ? LIMIT 2000",
    "DELETE FROM webhook_queue WHERE webhook_id = ? LIMIT 2000",
};
constexpr std::chrono::seconds kCleanUpTime{2};

/// The rows of a webhook that nobody can see any more, and that nothing is sent from. A long backlog would keep one
/// transaction busy for minutes; what does not go within the time is left to the relay and to the retention.
void clean_up(Api& api, std::int64_t webhook_id) {
  const auto deadline = std::chrono::steady_clock::now() + kCleanUpTime;
  for (const char* sql : kDeleteBatches) {
    std::int64_t deleted = kBatch;
    while (deleted == kBatch) {
      if (std::chrono::steady_clock::now() > deadline) return;
      deleted = api.database.transaction([&](db::Transaction& tx) { return tx.execute(sql, webhook_id); });
    }
  }
}

Response delete_webhook(Api& api, const Request& request) {
  const std::int64_t id = request.id();
  api.database.transaction([&](db::Transaction& tx) {
    if (!tx.query(kLockWebhook, id).next()) throw HttpError(404, "Webhook not found");
    for (const char* sql : {kDeleteRecoveries, kDeleteHealth, kDeletePatterns, kDeleteChannels, kDeleteWebhook}) {
      tx.execute(sql, id);
    }
    tx.nudge_after_commit();
    return id;
  });
  try {
    clean_up(api, id);
  } catch (const db::Error& error) {  // it is deleted all the same
    log_warning(std::string("what is left of a deleted webhook: ") + error.what());
  }
  JsonWriter json;
  json.begin_object().field("message", "Webhook deleted successfully").field("webhookId", id).end_object();
  return json_response(200, json.take());
}

constexpr char kTestData[] =
    R"({"session":{"id":0,"is_active":true,"games_played":0},"game":{"id":0,"title":"Test Game",)"
    R"("pack_name":"Test Pack","min_players":2,"max_players":8,"manually_added":false,"room_code":null}})";

Response test_webhook(Api& api, const Request& request) {
  return api.database.transaction([&](db::Transaction& tx) {
    {
      db::Rows row = tx.query(kLockWebhook, request.id());
      if (!row.next()) throw HttpError(404, "Webhook not found");
      check_webhook_url(api, row.text());
    }
    outbox::enqueue_test(tx, {std::string(kWebhookTestChannel), "game.added", kTestData}, request.id());
    return json_response(200,
                         R"({"message":"Test webhook sent","note":"Check webhook_logs table for delivery status"})");
  });
}

constexpr Route kRoutes[] = {
    {"GET", "/api/webhooks", Access::admin, list_webhooks},
    {"POST", "/api/webhooks", Access::admin, create_webhook},
    {"GET", "/api/webhooks/{id}", Access::admin, get_webhook},
    {"PATCH", "/api/webhooks/{id}", Access::admin, update_webhook},
    {"DELETE", "/api/webhooks/{id}", Access::admin, delete_webhook},
    {"POST", "/api/webhooks/test/{id}", Access::admin, test_webhook},
};

}  // namespace

std::span<const Route> webhooks_routes() {
  return kRoutes;
}

}  // namespace gamepicker
