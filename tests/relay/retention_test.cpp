#include "relay/retention.hpp"

#include <chrono>
#include <thread>

#include <boost/test/unit_test.hpp>

#include "tests/support/database.hpp"

using namespace gamepicker;
using namespace gamepicker::test;

namespace {

struct RetentionFixture {
  RetentionFixture() : config(database.config()) {
    config.retention_events = std::chrono::hours(24);
    config.retention_events_per_channel = 100;
    config.retention_webhook_logs = std::chrono::hours(48);
    config.retention_chat = std::chrono::hours(24);
  }

  /// Runs a clean-up until the query's first value is `wanted`, at most ten seconds.
  bool becomes(const std::string& sql, const std::string& wanted) {
    Retention retention(config, database_errors);
    retention.start();
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (database.value(sql) != wanted) {
      if (std::chrono::steady_clock::now() > limit) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return true;
  }

  /// Events `first` to `last` of the channel, so many hours old.
  void add(const std::string& channel, int first, int last, int hours) {
    database.execute(
        "INSERT INTO events (channel, seq, type, body, created_at) SELECT '" + channel + "', n.value + " +
        std::to_string(first - 1) + ", 'made', '{}', UTC_TIMESTAMP(3) - INTERVAL " + std::to_string(hours) +
        " HOUR FROM JSON_TABLE(CONCAT('[0', REPEAT(',0', " + std::to_string(last - first) +
        "), ']'), '$[*]' COLUMNS (value FOR ORDINALITY)) n; INSERT INTO channels (name, head) VALUES ('" + channel +
        "', " + std::to_string(last) + ") ON DUPLICATE KEY UPDATE head = " + std::to_string(last));
  }

  /// A delivery of the event with this id, and its log.
  void add_delivery(int event, const std::string& status, int hours) {
    const std::string id = std::to_string(event);
    const std::string then = "UTC_TIMESTAMP(3) - INTERVAL " + std::to_string(hours) + " HOUR";
    database.execute(
        "INSERT INTO webhook_deliveries (id, event_id, webhook_id, status, finished_at) VALUES (" + id + "," + id +
        ",1,'" + status + "'," + (status == "pending" ? "NULL" : then) +
        "); INSERT INTO webhook_logs (webhook_id, delivery_id, attempt, duration_ms, created_at) VALUES (1," + id +
        ",1,1," + then + ")");
    if (status != "pending") return;
    database.execute("INSERT INTO webhook_queue (delivery_id, webhook_id, due_at) VALUES (" + id + ",1," + then + ")");
  }

  TestDatabase database;
  Config config;
  Counter database_errors;
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(retention, RetentionFixture)

BOOST_AUTO_TEST_CASE(old_events_go_and_the_channel_says_up_to_where) {
  add("orders", 1, 60, 25);
  add("orders", 61, 70, 23);
  add("fresh", 1, 5, 1);
  BOOST_TEST(becomes("SELECT CONCAT(COUNT(*), ' ', MIN(seq)) FROM events WHERE channel = 'orders'", "10 61"));
  BOOST_TEST(database.value("SELECT GROUP_CONCAT(name, ' ', tail, ' ', head ORDER BY name) FROM channels") ==
             "fresh 0 5,orders 60 70");
}

BOOST_AUTO_TEST_CASE(more_than_a_batch_of_old_events_goes_too) {
  add("orders", 1, 1700, 25);
  BOOST_TEST(becomes("SELECT COUNT(*) FROM events", "0"));
  BOOST_TEST(database.value("SELECT tail FROM channels") == "1700");
}

BOOST_AUTO_TEST_CASE(a_channel_keeps_its_newest_events_only) {
  config.retention_events_per_channel = 1000;
  add("orders", 1, 2600, 0);
  add("few", 1, 1000, 0);
  BOOST_TEST(becomes("SELECT CONCAT(COUNT(*), ' ', MIN(seq)) FROM events WHERE channel = 'orders'", "1000 1601"));
  BOOST_TEST(database.value("SELECT COUNT(*) FROM events WHERE channel = 'few'") == "1000");
  BOOST_TEST(database.value("SELECT tail FROM channels WHERE name = 'orders'") == "1600");
}

BOOST_AUTO_TEST_CASE(what_a_webhook_is_owed_or_its_log_tells_of_stays) {
  add("orders", 1, 6, 100);
  add_delivery(1, "pending", 90);
  add_delivery(2, "succeeded", 40);
  add_delivery(3, "failed", 40);
  add_delivery(4, "succeeded", 50);
  add_delivery(5, "failed", 50);
  BOOST_TEST(becomes("SELECT GROUP_CONCAT(id ORDER BY id) FROM events", "1,2,3"));
  BOOST_TEST(database.value("SELECT GROUP_CONCAT(id ORDER BY id) FROM webhook_deliveries") == "1,2,3");
  BOOST_TEST(database.value("SELECT GROUP_CONCAT(delivery_id ORDER BY delivery_id) FROM webhook_logs") == "1,2,3");
  BOOST_TEST(database.value("SELECT COUNT(*) FROM webhook_queue") == "1");
  BOOST_TEST(database.value("SELECT tail FROM channels") == "6");  // for subscribers they are gone
}

BOOST_AUTO_TEST_CASE(old_chat_and_idempotency_keys_go) {
  database.execute(
      "INSERT INTO chat_messages (session_id, username, sent_at, message, message_hash) VALUES "
      "(1, 'a', UTC_TIMESTAMP(3) - INTERVAL 25 HOUR, 'old', ''), (1, 'a', UTC_TIMESTAMP(3), 'new', ''); "
      "INSERT INTO idempotency_keys (subject, idempotency_key, fingerprint, status, sealed_body, created_at) VALUES "
      "('a', 'old', '', 200, '', UTC_TIMESTAMP(3) - INTERVAL 25 HOUR), ('a', 'new', '', 200, '', UTC_TIMESTAMP(3))");
  BOOST_TEST(becomes("SELECT GROUP_CONCAT(idempotency_key) FROM idempotency_keys", "new"));
  BOOST_TEST(database.value("SELECT GROUP_CONCAT(message) FROM chat_messages") == "new");
}

BOOST_AUTO_TEST_CASE(one_relay_at_a_time_cleans_up) {
  const auto other = database.connect();
  other->query("SELECT GET_LOCK(CONCAT('retention.', LEFT(SHA2(DATABASE(), 256), 32)), 0)");
  add("orders", 1, 10, 25);
  Retention retention(config, database_errors);
  retention.start();
  // It looks at the lock and goes: its statement is the last one of its session.
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (database.value("SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE()") != "3") {
    BOOST_TEST_REQUIRE((std::chrono::steady_clock::now() < limit));
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  retention.stop();
  BOOST_TEST(database.value("SELECT COUNT(*) FROM events") == "10");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(relay_database)

BOOST_AUTO_TEST_CASE(behind_a_transaction_every_statement_commits_by_itself_again) {
  TestDatabase database;
  Database session(database.config());
  session.transaction([&] { session.execute("INSERT INTO channels (name, head) VALUES ('a', 1)"); });
  session.execute("UPDATE channels SET head = 2");
  BOOST_TEST(database.value("SELECT head FROM channels") == "2");
  BOOST_CHECK_THROW(session.transaction([&] {
    session.execute("UPDATE channels SET head = 3");
    throw DatabaseError("given up");
  }),
                    DatabaseError);
  BOOST_TEST(database.value("SELECT head FROM channels FOR UPDATE") == "2");
}

BOOST_AUTO_TEST_SUITE_END()
