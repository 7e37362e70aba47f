#include "tests/api/fixture.hpp"
#include "tests/support/webhooks.hpp"

using namespace gamepicker;
using namespace gamepicker::test;

namespace {

struct DeliveryFixture : ApiFixture {
  DeliveryFixture() {
    for (const char* name : {"one", "two"}) {
      admin("POST", "/api/webhooks",
            std::string(R"({"name":")") + name + R"(","url":"https://a.example/","secret":"s","events":["*"]})");
    }
  }

  /// Ends a delivery as the relay does after this many attempts; `ago` is an SQL interval.
  void end(const std::string& id, const std::string& status, int attempts, const std::string& ago = "0 SECOND") {
    database.execute("DELETE FROM webhook_queue WHERE delivery_id = " + id +
                     "; UPDATE webhook_deliveries SET status = '" + status +
                     "', attempts = " + std::to_string(attempts) + ", created_at = UTC_TIMESTAMP(3) - INTERVAL " + ago +
                     ", finished_at = UTC_TIMESTAMP(3) WHERE id = " + id);
  }
  void claim(const std::string& id) {
    database.execute(
        "UPDATE webhook_queue SET lease_token = 7, due_at = UTC_TIMESTAMP(3) + INTERVAL 20 SECOND "
        "WHERE delivery_id = " +
        id);
  }
  std::string queue_row(const std::string& id) {
    return database.value(
        "SELECT CONCAT_WS(' ', IF(due_at <= UTC_TIMESTAMP(3), 'due', 'later'), attempts, base_attempts) "
        "FROM webhook_queue WHERE delivery_id = " +
        id);
  }
  Response retry(const std::string& id, const std::string& webhook = "1") {
    return admin("POST", "/api/webhooks/" + webhook + "/deliveries/" + id + "/retry");
  }
  Response recover(const std::string& since) {
    return admin("POST", "/api/webhooks/1/recover", R"({"since":)" + since + "}");
  }

  WebhookData data{database};  // its events are no real ones: on a channel that is not held against the catalogue
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(webhook_deliveries, DeliveryFixture)

BOOST_AUTO_TEST_CASE(deliveries_come_newest_first_each_in_its_state) {
  const std::string succeeded = data.deliver(1, "orders");
  const std::string failed = data.deliver(1, "orders");
  const std::string claimed = data.deliver(1, "orders");
  const std::string crashed = data.deliver(1, "orders");
  const std::string pending = data.deliver(1, "orders");
  data.deliver(2, "orders");
  end(succeeded, "succeeded", 1);
  end(failed, "failed", 8);
  claim(claimed);
  claim(crashed);
  database.execute("UPDATE webhook_queue SET due_at = UTC_TIMESTAMP(3) WHERE delivery_id = " + crashed);

  const std::string path = "/api/webhooks/1/deliveries";
  const Response all = admin("GET", path);
  const std::vector<std::pair<std::string, std::string>> expected = {{pending, "pending"},
                                                                     {crashed, "pending"},
                                                                     {claimed, "delivering"},
                                                                     {failed, "failed"},
                                                                     {succeeded, "succeeded"}};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const std::string row = "[" + std::to_string(i) + "].";
    BOOST_TEST_CONTEXT(expected[i].second) {
      BOOST_TEST(at(all, row + "id") == expected[i].first);
      BOOST_TEST(at(all, row + "status") == expected[i].second);
      BOOST_TEST(at(all, row + "event_type") == "game.added");
      BOOST_TEST((at(all, row + "next_attempt_at") == "null") == (expected[i].second != "pending"));
      BOOST_TEST((at(all, row + "finished_at") == "null") == (i < 3));
    }
  }
  BOOST_TEST(at(all, "[3].attempts") == "8");
  BOOST_TEST(at(all, "[5]") == "null");
  for (const char* status : {"delivering", "failed", "succeeded"}) {
    const Response some = admin("GET", path + "?status=" + status);
    BOOST_TEST(at(some, "[0].status") == status);
    BOOST_TEST(at(some, "[1]") == "null");
  }
  const Response waiting = admin("GET", path + "?status=pending");
  BOOST_TEST(at(waiting, "[0].id") == pending);
  BOOST_TEST(at(waiting, "[1].id") == crashed);
  BOOST_TEST(at(waiting, "[2]") == "null");
}

BOOST_AUTO_TEST_CASE(the_pages_of_deliveries_and_logs_join_without_gap_or_repetition) {
  for (int i = 0; i < 7; ++i) {
    data.deliver(1, "orders");
    database.execute(
        "INSERT INTO webhook_logs (webhook_id, delivery_id, attempt, duration_ms, error_message) VALUES (1, " +
        std::to_string(i + 1) + ", 1, 5, NULL)");
  }
  for (const char* query : {"deliveries?limit=3", "deliveries?limit=3&status=pending", "logs?limit=3",
                            "logs?limit=3&status=succeeded&event_type=game.added"}) {
    BOOST_TEST_CONTEXT(query) {
      std::vector<std::string> ids;
      std::string before;
      for (int page = 0; page < 4; ++page) {
        const Response rows = admin("GET", std::string("/api/webhooks/1/") + query + before);
        for (const char* row : {"[0]", "[1]", "[2]", "[3]"}) {
          if (at(rows, row) != "null") ids.push_back(at(rows, std::string(row) + ".id"));
        }
        before = "&before=" + ids.back();
      }
      BOOST_TEST(ids == (std::vector<std::string>{"7", "6", "5", "4", "3", "2", "1"}),
                 boost::test_tools::per_element());
    }
  }
}

BOOST_AUTO_TEST_CASE(an_ended_delivery_is_queued_again_and_its_schedule_counts_anew) {
  for (const char* status : {"failed", "succeeded"}) {
    BOOST_TEST_CONTEXT(status) {
      const std::string id = data.deliver(1, "orders");
      end(id, status, 4);
      const Response response = retry(id);
      BOOST_TEST(response.status == 202);
      BOOST_TEST(response.body == R"({"success":true})");
      BOOST_TEST(queue_row(id) == "due 4 4");
      BOOST_TEST(data.status(id) == "pending 4");
      BOOST_TEST(retry(id).status == 202);
      BOOST_TEST(queue_row(id) == "due 4 4");
    }
  }
}

BOOST_AUTO_TEST_CASE(a_waiting_delivery_is_due_at_once_unless_it_is_in_flight) {
  const std::string waiting = data.deliver(1, "orders");
  database.execute("UPDATE webhook_queue SET attempts = 2, due_at = UTC_TIMESTAMP(3) + INTERVAL 2 HOUR");
  BOOST_TEST(queue_row(waiting) == "later 2 0");
  BOOST_TEST(retry(waiting).status == 202);
  BOOST_TEST(queue_row(waiting) == "due 2 0");
  // What has been due for long keeps its place.
  database.execute("UPDATE webhook_queue SET due_at = '2026-03-15 20:30:00.000'");
  BOOST_TEST(retry(waiting).status == 202);
  BOOST_TEST(one("SELECT due_at FROM webhook_queue") == "2026-03-15 20:30:00.000");

  claim(waiting);
  BOOST_TEST(retry(waiting).status == 202);
  BOOST_TEST(queue_row(waiting) == "later 2 0");
  BOOST_TEST(at(admin("GET", "/api/webhooks/1/deliveries"), "[0].status") == "delivering");
}

BOOST_AUTO_TEST_CASE(recover_writes_down_what_is_to_be_queued_again) {
  const std::string old = data.deliver(1, "orders");
  const std::string first = data.deliver(1, "orders");
  const std::string good = data.deliver(1, "orders");
  const std::string others = data.deliver(2, "orders");
  const std::string last = data.deliver(1, "orders");
  data.deliver(1, "orders");
  end(old, "failed", 8, "3 DAY");
  end(first, "failed", 8, "1 DAY");
  end(good, "succeeded", 1, "1 DAY");
  end(others, "failed", 8, "1 DAY");
  end(last, "failed", 8, "1 HOUR");
  const std::string since = "\"" + one("SELECT DATE_FORMAT(UTC_TIMESTAMP() - INTERVAL 2 DAY, '%Y-%m-%dT%TZ')") + "\"";

  const Response response = recover(since);
  BOOST_TEST(response.status == 202);
  BOOST_TEST(response.body == R"({"success":true,"requeued":2})");
  BOOST_TEST(one("SELECT CONCAT_WS(' ', webhook_id, cursor_id, last_id, total, requeued, finished_at IS NULL) "
                 "FROM webhook_recoveries") == "1 " + std::to_string(std::stoi(first) - 1) + " " + last + " 2 0 1");
  // The relay queues them, not the handler, however many they are.
  BOOST_TEST(data.queued() == "1");
  BOOST_TEST(recover(R"("2999-01-01T00:00:00+02:00")").body == R"({"success":true,"requeued":0})");
  BOOST_TEST(one("SELECT COUNT(*) FROM webhook_recoveries") == "1");
}

BOOST_AUTO_TEST_CASE(logs_tell_the_phases_of_an_attempt_and_can_be_searched) {
  data.deliver(1, "orders");
  admin("POST", "/api/webhooks/test/1");
  const std::string session = open_session();
  database.execute(
      "INSERT INTO webhook_logs (webhook_id, delivery_id, attempt, response_status, error_message, duration_ms, "
      "dns_us, connect_us, tls_us, first_byte_us, peer_address) SELECT 1, id, 1, 200, NULL, 31, 1, 2050, 11000, 30999, "
      "'2606:4700::1111' FROM webhook_deliveries WHERE webhook_id = 1");
  const Response logs = admin("GET", "/api/webhooks/1/logs");
  BOOST_TEST(logs.body.find(R"("peer_address":"2606:4700::1111","timings":{"dns_ms":0.001,"connect_ms":2.050,)"
                            R"("tls_ms":11.000,"first_byte_ms":30.999,"total_ms":31}})") != std::string::npos,
             logs.body);
  const Response one_type = admin("GET", "/api/webhooks/1/logs?event_type=session.started");
  BOOST_TEST(at(one_type, "[0].event_type") == "session.started");
  BOOST_TEST(at(one_type, "[1]") == "null");

  database.execute(
      "INSERT INTO webhook_logs (webhook_id, delivery_id, attempt, error_message, duration_ms) VALUES (1, 1, 2, "
      "'Connection refused', 3)");
  BOOST_TEST(admin("GET", "/api/webhooks/1/logs?status=failed")
                 .body.find(R"("peer_address":null,"timings":{"dns_ms":null,"connect_ms":null,"tls_ms":null,)"
                            R"("first_byte_ms":null,"total_ms":3}})") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(errors_name_what_is_wrong) {
  const std::string id = data.deliver(1, "orders");
  const std::string path = "/api/webhooks/1/deliveries";
  const std::string limit = "limit must be a whole number from 1 to 500";
  const std::string before = "before must be a whole number from 1 to 9223372036854775807";
  check_errors(
      *this, {
                 {"GET", "/api/webhooks/9/deliveries", "", 404, "Webhook not found"},
                 {"GET", "/api/webhooks/9/logs", "", 404, "Webhook not found"},
                 {"GET", path + "?limit=0", "", 400, limit},
                 {"GET", path + "?limit=501", "", 400, limit},
                 {"GET", path + "?before=0", "", 400, before},
                 {"GET", path + "?before=x", "", 400, before},
                 {"GET", path + "?status=dead", "", 400, "status must be pending, delivering, succeeded or failed"},
                 {"GET", path + "?status=%ff", "", 400, "status is not valid percent-encoded UTF-8"},
                 {"GET", "/api/webhooks/1/logs?event_type=game.*", "", 400, "Unknown event type: game.*"},
                 {"POST", "/api/webhooks/9/deliveries/" + id + "/retry", "", 404, "Webhook not found"},
                 {"POST", "/api/webhooks/2/deliveries/" + id + "/retry", "", 404, "Delivery not found"},
                 {"POST", path + "/99/retry", "", 404, "Delivery not found"},
                 {"POST", path + "/x/retry", "", 404, "Delivery not found"},
                 {"POST", "/api/webhooks/9/recover", R"({"since":"2026-03-15"})", 400, "since is not an ISO 8601 time"},
                 {"POST", "/api/webhooks/9/recover", R"({"since":"2026-03-15T00:00:00Z"})", 404, "Webhook not found"},
                 {"POST", "/api/webhooks/1/recover", "", 400, "since is required"},
                 {"POST", "/api/webhooks/1/recover", R"({"since":null})", 400, "since is required"},
                 {"POST", "/api/webhooks/1/recover", R"({"since":7})", 400, "since must be a string"},
                 {"POST", "/api/webhooks/1/recover", R"({"since":"yesterday"})", 400, "since is not an ISO 8601 time"},
             });
}

BOOST_AUTO_TEST_CASE(deleting_a_webhook_takes_everything_of_it_along_and_nothing_of_another) {
  for (const char* id : {"1", "2"}) {
    admin("PATCH", std::string("/api/webhooks/") + id, R"({"channels":["*"]})");
    data.deliver(std::stoi(id), "orders");
    database.execute(std::string("INSERT INTO webhook_health (webhook_id) VALUES (") + id +
                     "); INSERT INTO webhook_recoveries (webhook_id, since, cursor_id, last_id, total) VALUES (" + id +
                     ", NOW(), 0, 1, 1); INSERT INTO webhook_logs (webhook_id, delivery_id, attempt, duration_ms) "
                     "VALUES (" +
                     id + ", " + id + ", 1, 1)");
  }
  BOOST_TEST(admin("DELETE", "/api/webhooks/1").status == 200);
  for (const char* table : {"webhook_queue", "webhook_logs", "webhook_deliveries", "webhook_recoveries",
                            "webhook_health", "webhook_patterns", "webhook_channels"}) {
    BOOST_TEST(one(std::string("SELECT GROUP_CONCAT(webhook_id) FROM ") + table) == "2", table);
  }
}

BOOST_AUTO_TEST_CASE(a_long_backlog_is_deleted_piece_by_piece) {
  const std::string numbers =
      "(WITH RECURSIVE n AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 69) "
      "SELECT a.i * 70 + b.i + 1000 AS i FROM n a, n b) numbers";
  database.execute(
      "INSERT INTO webhook_deliveries (id, event_id, webhook_id) SELECT i, i, 1 FROM " + numbers +
      "; INSERT INTO webhook_queue (delivery_id, webhook_id, due_at) SELECT i, 1, UTC_TIMESTAMP(3) FROM " + numbers +
      "; INSERT INTO webhook_logs (webhook_id, delivery_id, attempt, duration_ms) SELECT 1, i, 1, 1 FROM " + numbers);
  BOOST_TEST(data.queued() == "4900");
  BOOST_TEST(admin("DELETE", "/api/webhooks/1").status == 200);
  BOOST_TEST(one("SELECT (SELECT COUNT(*) FROM webhook_logs) + (SELECT COUNT(*) FROM webhook_queue) + "
                 "(SELECT COUNT(*) FROM webhook_deliveries)") == "0");
}

BOOST_AUTO_TEST_SUITE_END()
