#include "relay/webhook_recovery.hpp"

#include <boost/test/unit_test.hpp>

#include "tests/support/wait_until.hpp"
#include "tests/support/webhooks.hpp"

namespace gamepicker {
namespace {

using namespace std::chrono_literals;

struct RecoveryFixture {
  test::TestDatabase database;
  test::WebhookData data{database};
  Counter errors;
  std::atomic<int> told = 0;
  WebhookRecovery recovery{database.config(), [this] { ++told; }, errors};

  std::string failed(int webhook_id) {
    const std::string id = data.deliver(webhook_id);
    database.execute("DELETE FROM webhook_queue WHERE delivery_id = " + id +
                     "; UPDATE webhook_deliveries SET status = 'failed', attempts = 3, finished_at = UTC_TIMESTAMP(3) "
                     "WHERE id = " +
                     id);
    return id;
  }
  void ask(int webhook_id, const std::string& since) {
    database.execute(
        "INSERT INTO webhook_recoveries (webhook_id, since, cursor_id, last_id, total) SELECT " +
        std::to_string(webhook_id) + ", " + since +
        ", 0, MAX(id), COUNT(*) FROM webhook_deliveries; UPDATE webhook_recoveries SET finished_at = NULL");
  }
  void wait_until_finished() {
    BOOST_TEST_REQUIRE(test::wait_until(
        [&] { return database.value("SELECT COUNT(*) FROM webhook_recoveries WHERE finished_at IS NULL") == "0"; }));
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(webhook_recovery, RecoveryFixture)

BOOST_AUTO_TEST_CASE(failed_deliveries_since_then_are_queued_again_with_a_schedule_that_begins_anew) {
  data.webhook(1);
  data.webhook(2);
  const std::string old = failed(1);
  database.execute("UPDATE webhook_deliveries SET created_at = UTC_TIMESTAMP(3) - INTERVAL 2 HOUR");
  const std::string wanted = failed(1);
  const std::string others = failed(2);
  const std::string pending = data.deliver(1);
  recovery.start();
  ask(1, "UTC_TIMESTAMP(3) - INTERVAL 1 HOUR");
  recovery.wake();
  wait_until_finished();
  BOOST_TEST(data.status(wanted) == "pending 3");
  BOOST_TEST(data.status(old) == "failed 3 finished");
  BOOST_TEST(data.status(others) == "failed 3 finished");
  BOOST_TEST(data.status(pending) == "pending 0");
  BOOST_TEST(database.value("SELECT CONCAT(attempts, ' ', base_attempts) FROM webhook_queue WHERE delivery_id = " +
                            wanted) == "3 3");
  BOOST_TEST(database.value("SELECT requeued FROM webhook_recoveries") == "1");
  BOOST_TEST(told.load() == 1);
}

BOOST_AUTO_TEST_CASE(a_long_job_is_done_in_steps_and_goes_on_where_it_broke_off) {
  data.webhook(1);
  database.execute(
      "INSERT INTO channels (name, head) VALUES ('c', 1); INSERT INTO events (channel, seq, type, body) VALUES ('c', 1, "
      "'game.added', '{}'); INSERT INTO webhook_deliveries (event_id, webhook_id, status, attempts, finished_at) "
      "SELECT n.value, 1, 'failed', 3, UTC_TIMESTAMP(3) FROM JSON_TABLE(CONCAT('[', REPEAT('0,', 1299), '0]'), '$[*]' "
      "COLUMNS (value FOR ORDINALITY)) n");
  ask(1, "'2000-01-01'");
  // As if the first 500 had been done by a relay that died.
  database.execute(
      "UPDATE webhook_recoveries SET requeued = 500, cursor_id = (SELECT id FROM webhook_deliveries ORDER BY id LIMIT 1 "
      "OFFSET 499)");
  recovery.start();
  wait_until_finished();
  BOOST_TEST(database.value("SELECT requeued FROM webhook_recoveries") == "1300");
  BOOST_TEST(data.queued() == "800");
  BOOST_TEST(told.load() == 2);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker
