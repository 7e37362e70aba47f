#pragma once

#include <string>

#include "shared/events.hpp"
#include "shared/secret_box.hpp"
#include "tests/support/database.hpp"

namespace gamepicker::test {

/// Puts webhooks and deliveries into a database as the handlers do.
struct WebhookData {
  TestDatabase& database;

  void webhook(int id, const std::string& url = "http://127.0.0.1:9/", const std::string& secret = "secret",
               bool enabled = true) {
    const SecretBox box(database.config().secret_key);
    database.execute("INSERT INTO webhooks (id, name, url, sealed_secret, enabled) VALUES (" + std::to_string(id) +
                     ", 'test', '" + url + "', '" + box.seal(secret) + "', " + (enabled ? "1" : "0") + ")");
  }

  /// One event and its delivery; returns the delivery's id.
  std::string deliver(int webhook_id, const std::string& channel = "session.3", const std::string& data = "{}") {
    database.execute("INSERT INTO channels (name, head) VALUES ('" + channel +
                     "', LAST_INSERT_ID(1)) ON DUPLICATE KEY UPDATE head = LAST_INSERT_ID(head + 1); "
                     "INSERT INTO events (channel, seq, type, body) VALUES ('" +
                     channel + "', LAST_INSERT_ID(), 'game.added', '" +
                     event_body("game.added", "2026-03-15T20:30:00.000Z", data) +
                     "'); "
                     "INSERT INTO webhook_deliveries (event_id, webhook_id) VALUES (LAST_INSERT_ID(), " +
                     std::to_string(webhook_id) + ")");
    const std::string id = database.value("SELECT LAST_INSERT_ID()");
    database.execute("INSERT INTO webhook_queue (delivery_id, webhook_id, due_at) VALUES (" + id + ", " +
                     std::to_string(webhook_id) + ", UTC_TIMESTAMP(3))");
    return id;
  }

  std::string status(const std::string& delivery_id) {
    return database.value(
        "SELECT CONCAT(status, ' ', attempts, IF(finished_at IS NULL, '', ' finished')) "
        "FROM webhook_deliveries WHERE id = " +
        delivery_id);
  }
  std::string queued() { return database.value("SELECT COUNT(*) FROM webhook_queue"); }
  std::string logged() { return database.value("SELECT COUNT(*) FROM webhook_logs"); }
};

}  // namespace gamepicker::test
