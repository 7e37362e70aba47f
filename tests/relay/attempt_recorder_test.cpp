#include "relay/attempt_recorder.hpp"

#include <boost/test/unit_test.hpp>

#include "relay/webhook_queue.hpp"
#include "tests/support/webhooks.hpp"

namespace gamepicker {
namespace {

using namespace std::chrono_literals;
using Kind = AttemptOutcome::Kind;

struct RecorderFixture {
  test::TestDatabase database;
  test::WebhookData data{database};
  Database connection{database.config()};
  Failpoint no_failpoint{""};
  AttemptRecorder recorder{connection, 5 * 24h, no_failpoint};

  AttemptOutcome outcome(const std::string& delivery, const EndpointHealth& health, Kind kind = Kind::retry) {
    AttemptOutcome outcome;
    outcome.delivery_id = std::stoull(delivery);
    outcome.webhook_id = 1;
    outcome.kind = health.failures == 0 ? Kind::succeeded : kind;
    outcome.retry_in = 1h;
    outcome.error = health.failures == 0 ? "" : "HTTP 500";
    outcome.health = health;
    return outcome;
  }
  void fail(std::int64_t failures, std::chrono::milliseconds back_off = 0ms) {
    recorder.record({outcome(data.deliver(1), {failures, back_off, false})});
  }
  std::string health() {
    return database.value(
        "SELECT CONCAT_WS(' ', failures, IF(failing_since IS NULL, 'well', 'failing'), "
        "IF(backoff_until > UTC_TIMESTAMP(3), 'backs off', NULL), last_error) FROM webhook_health WHERE webhook_id = 1");
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(attempt_recorder, RecorderFixture)

BOOST_AUTO_TEST_CASE(an_endpoints_failures_are_known_until_it_succeeds) {
  data.webhook(1);
  fail(1);
  BOOST_TEST(health() == "1 failing HTTP 500");
  const std::string since = database.value("SELECT failing_since FROM webhook_health");
  fail(3, 10s);
  BOOST_TEST(health() == "3 failing backs off HTTP 500");
  BOOST_TEST(database.value("SELECT failing_since FROM webhook_health") == since);
  recorder.record({outcome(data.deliver(1), {0, 0ms, true})});
  BOOST_TEST(health() == "0 well HTTP 500");
}

BOOST_AUTO_TEST_CASE(phases_and_the_peer_are_in_the_log) {
  data.webhook(1);
  AttemptOutcome one = outcome(data.deliver(1), {});
  one.phases = {.dns = 11us, .connect = 22us, .tls = std::nullopt, .first_byte = 44us};
  one.peer_address = "192.0.2.7";
  recorder.record({one});
  BOOST_TEST(database.value("SELECT CONCAT_WS(' ', dns_us, connect_us, COALESCE(tls_us, '-'), first_byte_us, "
                            "peer_address) FROM webhook_logs") == "11 22 - 44 192.0.2.7");
}

BOOST_AUTO_TEST_CASE(a_webhook_that_has_failed_everything_for_days_is_disabled_and_told_of) {
  data.webhook(1);
  data.webhook(2);
  database.execute("INSERT INTO webhook_patterns VALUES (2, 'webhook.disabled', 0)");
  fail(9);
  database.execute("UPDATE webhook_health SET failing_since = UTC_TIMESTAMP(3) - INTERVAL 119 HOUR");
  fail(10);
  BOOST_TEST(database.value("SELECT enabled FROM webhooks WHERE id = 1") == "1");
  database.execute("UPDATE webhook_health SET failing_since = UTC_TIMESTAMP(3) - INTERVAL 5 DAY");
  fail(11);
  fail(12);
  BOOST_TEST(database.value("SELECT CONCAT(enabled, ' ', disabled_reason) FROM webhooks WHERE id = 1") ==
             "0 Every delivery failed for 5 days");
  BOOST_TEST(database.value("SELECT COUNT(*) FROM events WHERE type = 'webhook.disabled'") == "1");
  const std::string body = database.value("SELECT body FROM events WHERE type = 'webhook.disabled'");
  BOOST_TEST(event_data(body) == R"({"webhook":{"id":1,"name":"test","url":"http://127.0.0.1:9/","enabled":false,)"
                                 R"("disabled_reason":"Every delivery failed for 5 days"}})");
  BOOST_TEST(body.starts_with(R"({"event":"webhook.disabled","timestamp":"20)"), body);  // none of the relay's eight
  BOOST_TEST(database.value("SELECT COUNT(*) FROM webhook_queue WHERE webhook_id = 2") == "1");
}

BOOST_AUTO_TEST_CASE(gone_is_told_of_too_and_nobody_asking_costs_nothing) {
  data.webhook(1);
  recorder.record({outcome(data.deliver(1), {1, 0ms, false}, Kind::gone)});
  BOOST_TEST(database.value("SELECT disabled_reason FROM webhooks") == "The endpoint answered 410 Gone");
  BOOST_TEST(database.value("SELECT COUNT(*) FROM events WHERE type = 'webhook.disabled'") == "0");
}

BOOST_AUTO_TEST_CASE(one_success_begins_the_days_anew) {
  data.webhook(1);
  fail(9);
  database.execute("UPDATE webhook_health SET failing_since = UTC_TIMESTAMP(3) - INTERVAL 4 DAY");
  recorder.record({outcome(data.deliver(1), {0, 0ms, true})});
  fail(1);
  BOOST_TEST(database.value("SELECT failing_since > UTC_TIMESTAMP(3) - INTERVAL 1 HOUR FROM webhook_health") == "1");
  BOOST_TEST(database.value("SELECT enabled FROM webhooks") == "1");
}

BOOST_AUTO_TEST_CASE(an_attempt_is_logged_and_its_delivery_moved_on_together_or_not_at_all) {
  data.webhook(1);
  const auto state = [&](const std::string& id) {
    return data.status(id) + ", " + data.queued() + " " + data.logged();
  };
  for (const char* change : {"INSERT ON webhook_logs", "UPDATE ON webhook_queue", "UPDATE ON webhook_deliveries",
                             "DELETE ON webhook_queue"}) {
    BOOST_TEST_CONTEXT(change) {
      const bool ends = change[0] == 'D';
      const std::string id = data.deliver(1);
      const std::vector<AttemptOutcome> outcomes{outcome(id, {ends ? 0 : 1, 0ms, ends})};
      database.execute(std::string("CREATE TRIGGER refuse BEFORE ") + change + " FOR EACH ROW SIGNAL SQLSTATE '45000'");
      BOOST_CHECK_THROW(recorder.record(outcomes), DatabaseError);
      database.execute("DROP TRIGGER refuse");
      BOOST_TEST(state(id) == "pending 0, 1 0");
      recorder.record(outcomes);
      BOOST_TEST(state(id) == (ends ? "succeeded 1 finished, 0 1" : "pending 1, 1 1"));
      database.execute("DELETE FROM webhook_queue; DELETE FROM webhook_logs");
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker
