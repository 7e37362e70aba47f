#include "webhook_floor.hpp"

#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace bench {
namespace {

using gamepicker::test::Connection;

constexpr std::chrono::milliseconds kPause{1};

struct Claimed {
  std::string id, webhook;
};

std::string id_list(const std::vector<Claimed>& claimed) {
  std::string list;
  for (const Claimed& one : claimed) (list += list.empty() ? "(" : ",") += one.id;
  return list + ")";
}

std::vector<Claimed> claim(Connection& connection, std::size_t batch, std::string& list) {
  std::vector<Claimed> claimed;
  const bool read = connection.rows(
      "SELECT delivery_id, webhook_id FROM webhook_queue FORCE INDEX (webhook_queue_all_due) WHERE due_at <= "
      "UTC_TIMESTAMP(3) ORDER BY due_at, delivery_id LIMIT " +
          std::to_string(batch) + " FOR UPDATE SKIP LOCKED",
      [&](MYSQL_ROW row) {
        claimed.push_back({row[0], row[1]});
      });
  if (!read) throw std::runtime_error(connection.error());
  if (claimed.empty()) {
    connection.must("ROLLBACK");
    return claimed;
  }
  list = id_list(claimed);
  connection.must(
      "UPDATE webhook_queue SET due_at = UTC_TIMESTAMP(3) + INTERVAL 20 SECOND, lease_token = 1 WHERE delivery_id IN " +
      list);
  std::size_t bytes = 0;
  connection.rows(
      "SELECT d.id, w.url, w.sealed_secret, e.type, e.body FROM webhook_deliveries d JOIN webhooks w ON w.id = "
      "d.webhook_id JOIN events e ON e.id = d.event_id WHERE d.id IN " +
          list,
      [&](MYSQL_ROW row) { bytes += std::char_traits<char>::length(row[4]); });
  if (bytes == 0) throw std::runtime_error("no bodies");
  connection.must("COMMIT");
  return claimed;
}

void finish(Connection& connection, const std::vector<Claimed>& claimed, const std::string& list) {
  connection.rows("SELECT delivery_id, lease_token FROM webhook_queue WHERE delivery_id IN " + list + " FOR UPDATE",
                  [](MYSQL_ROW) {});
  connection.rows("SELECT id FROM webhook_deliveries WHERE id IN " + list + " FOR UPDATE", [](MYSQL_ROW) {});
  std::string logs =
      "INSERT INTO webhook_logs (webhook_id, delivery_id, attempt, response_status, duration_ms) VALUES ";
  const std::size_t empty = logs.size();
  for (const Claimed& one : claimed) {
    logs += (logs.size() == empty ? "(" : ",(") + one.webhook + "," + one.id + ",1,200,1)";
  }
  connection.must(logs);
  connection.must("DELETE FROM webhook_queue WHERE delivery_id IN " + list);
  connection.must(
      "UPDATE webhook_deliveries SET status = 'succeeded', attempts = GREATEST(attempts, 1), finished_at = "
      "UTC_TIMESTAMP(3) WHERE id IN " +
      list);
  connection.must("COMMIT");
}

}  // namespace

void run_floor(const gamepicker::test::DatabaseAddress& address, std::size_t batch, const std::atomic<bool>& stopping) {
  Connection connection(address, stopping);
  std::string list;
  while (!stopping && connection.ready()) {
    const auto claimed = claim(connection, batch, list);
    if (claimed.empty()) {
      std::this_thread::sleep_for(kPause);
    } else {
      finish(connection, claimed, list);
    }
  }
}

}  // namespace bench
