#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "shared/secret_box.hpp"
#include "tests/support/connection.hpp"

namespace gamepicker::test {

/// Webhooks and their work, put straight into a database of the test's own.
class WebhookTables {
 public:
  /// `secret_key`: that of the configuration of the relay that is to send.
  WebhookTables(Connection& connection, const std::string& secret_key) : connection_(connection), box_(secret_key) {}

  static constexpr char kSecret[] = "a secret of the test";

  /// No webhook, event or delivery is there any more.
  void clear() {
    for (const char* table : {"webhook_logs", "webhook_queue", "webhook_deliveries", "webhook_health", "events",
                              "channels", "webhook_recoveries"}) {
      connection_.must(std::string("TRUNCATE TABLE ") + table);
    }
    connection_.must("DELETE FROM webhooks");  // and what refers to them
    connection_.must("COMMIT");
  }

  void add(std::uint32_t id, const std::string& url, const std::string& pattern, unsigned concurrency = 1) {
    const std::string number = std::to_string(id);
    connection_.must("INSERT INTO webhooks (id, name, url, sealed_secret, concurrency) VALUES (" + number +
                     ", 'test', '" + url + "', '" + box_.seal(kSecret) + "', " + std::to_string(concurrency) + ")");
    connection_.must("INSERT INTO webhook_patterns (webhook_id, pattern, position) VALUES (" + number + ", '" +
                     pattern + "', 0)");
    connection_.must("COMMIT");
  }

  /// Deliveries of `events` events, with a body of `size` bytes, to each webhook from `first` to `last`, all due.
  void queue(std::uint64_t events, std::size_t size, std::uint32_t first, std::uint32_t last) {
    constexpr std::uint64_t kAtOnce = 1000;
    const std::uint64_t before =
        connection_.must_number("SELECT COALESCE(MAX(seq), 0) FROM events WHERE channel = 'queued'");
    for (std::uint64_t done = 0; done < events; done += kAtOnce) {
      const std::uint64_t begin = before + done + 1;
      const std::uint64_t end = before + std::min(done + kAtOnce, events);
      std::string sql = "INSERT INTO events (channel, seq, type, body) VALUES ";
      for (std::uint64_t seq = begin; seq <= end; ++seq) {
        sql += (seq == begin ? "('queued'," : ",('queued',") + std::to_string(seq) + ",'queued','" + body(seq, size) +
               "')";
      }
      connection_.must(sql);
      connection_.must(
          "INSERT INTO webhook_deliveries (event_id, webhook_id) SELECT e.id, w.id FROM events e JOIN webhooks w "
          "WHERE e.channel = 'queued' AND e.seq BETWEEN " +
          std::to_string(begin) + " AND " + std::to_string(end) + " AND w.id BETWEEN " + std::to_string(first) +
          " AND " + std::to_string(last) + " ORDER BY e.id, w.id");
      connection_.must(
          "INSERT INTO webhook_queue (delivery_id, webhook_id, due_at) SELECT d.id, d.webhook_id, d.created_at "
          "FROM webhook_deliveries d JOIN events e ON e.id = d.event_id "
          "WHERE e.channel = 'queued' AND e.seq BETWEEN " +
          std::to_string(begin) + " AND " + std::to_string(end) + " AND d.webhook_id BETWEEN " + std::to_string(first) +
          " AND " + std::to_string(last));
      connection_.must("COMMIT");
    }
    connection_.must("REPLACE INTO channels (name, head) VALUES ('queued', " + std::to_string(before + events) + ")");
    connection_.must("COMMIT");
  }

  /// A body of `size` bytes unless that is too few.
  static std::string body(std::uint64_t number, std::size_t size) {
    std::string text = R"({"event":"queued","timestamp":"2026-01-01T00:00:00.000Z","data":{"number":)" +
                       std::to_string(number) + R"(,"pad":")";
    constexpr std::string_view kEnd = R"("}})";
    if (text.size() + kEnd.size() < size) text.append(size - text.size() - kEnd.size(), 'x');
    return text.append(kEnd);
  }

 private:
  Connection& connection_;
  const SecretBox box_;
};

}  // namespace gamepicker::test
