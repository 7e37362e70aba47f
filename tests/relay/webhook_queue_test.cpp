#include "relay/webhook_queue.hpp"

#include <boost/test/unit_test.hpp>

#include "relay/attempt_recorder.hpp"
#include "tests/support/webhooks.hpp"

namespace gamepicker {
namespace {

using namespace std::chrono_literals;
using Kind = AttemptOutcome::Kind;

struct QueueFixture {
  test::TestDatabase database;
  test::WebhookData data{database};
  Database connection{database.config()};
  WebhookQueue queue{connection};
  Failpoint no_failpoint{""};
  AttemptRecorder recorder{connection, 24h, no_failpoint};
  std::uint64_t last_token = 0;

  std::vector<ClaimedDelivery> claim(std::size_t count = 1) {
    std::vector<ClaimWish> wishes;
    for (const OwedWebhook& webhook : queue.owed()) wishes.push_back({webhook.webhook_id, webhook.state, count, 0});
    return queue.claim(wishes, ++last_token, 20s).deliveries;
  }
  std::vector<ClaimedDelivery> claim_of(std::int64_t webhook_id, std::size_t count) {
    return queue.claim({{.webhook_id = webhook_id, .count = count}}, ++last_token, 20s).deliveries;
  }

  static AttemptOutcome outcome(const ClaimedDelivery& delivery, Kind kind) {
    return {.delivery_id = delivery.delivery_id,
            .webhook_id = delivery.webhook_id,
            .attempt = delivery.attempt,
            .lease_token = delivery.lease_token,
            .kind = kind,
            .retry_in = 5s,
            .response_status = kind == Kind::succeeded ? 200 : 500,
            .error = kind == Kind::succeeded ? "" : "HTTP 500",
            .duration = 12ms,
            .response_body = "hello",
            .phases = {},
            .peer_address = "",
            .health = {.failures = kind == Kind::succeeded ? 0 : 1, .backs_off_for = 0ms, .was_failing = false}};
  }
  void run_out_leases() { database.execute("UPDATE webhook_queue SET due_at = UTC_TIMESTAMP(3)"); }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(webhook_queue, QueueFixture)

BOOST_AUTO_TEST_CASE(an_empty_queue_owes_nothing) {
  BOOST_TEST(queue.owed().empty());
  BOOST_TEST(queue.claim({}, 1, 20s).deliveries.empty());
}

BOOST_AUTO_TEST_CASE(the_backlog_is_what_is_owed_and_as_old_as_its_oldest) {
  BOOST_TEST(queue.backlog().deliveries == 0);
  BOOST_TEST(queue.backlog().oldest_age.count() == 0);
  data.webhook(1);
  data.webhook(2);
  const std::string oldest = data.deliver(2);
  data.deliver(1);
  data.deliver(1);
  database.execute("UPDATE webhook_deliveries SET created_at = UTC_TIMESTAMP(3) - INTERVAL 1 HOUR WHERE id = " +
                   oldest);
  BOOST_TEST(queue.backlog().deliveries == 3);
  BOOST_TEST((queue.backlog().oldest_age >= 1h && queue.backlog().oldest_age < 61min));
}

BOOST_AUTO_TEST_CASE(a_claim_takes_the_oldest_of_each_webhook_with_all_that_is_needed_to_send_it) {
  data.webhook(1, "https://one.example/hook");
  data.webhook(2);
  const std::string first = data.deliver(1, "session.3", R"({"n":1})");
  data.deliver(1);
  const std::string other = data.deliver(2);
  const auto claimed = claim();
  BOOST_REQUIRE(claimed.size() == 2u);
  BOOST_TEST(std::to_string(claimed[0].delivery_id) == first);
  BOOST_TEST(std::to_string(claimed[1].delivery_id) == other);
  BOOST_TEST(claimed[0].webhook_id == 1);
  BOOST_TEST(claimed[0].attempt == 1);
  BOOST_TEST(claimed[0].settings->url == "https://one.example/hook");
  BOOST_TEST(claimed[0].event_type == "game.added");
  BOOST_TEST(claimed[0].body == R"({"event":"game.added","timestamp":"2026-03-15T20:30:00.000Z","data":{"n":1}})");
  BOOST_TEST(SecretBox(database.config().secret_key).open(claimed[0].settings->sealed_secret) == "secret");
}

BOOST_AUTO_TEST_CASE(a_claimed_delivery_is_nobody_elses_until_its_lease_runs_out) {
  data.webhook(1);
  data.deliver(1);
  const auto mine = claim();
  BOOST_REQUIRE(mine.size() == 1u);
  BOOST_TEST(claim().empty());
  const auto owed = queue.owed();
  BOOST_REQUIRE(owed.size() == 1u);
  BOOST_TEST((owed[0].due_in > 15s && owed[0].due_in <= 20s));
  run_out_leases();
  const auto again = claim();
  BOOST_REQUIRE(again.size() == 1u);
  BOOST_TEST(again[0].lease_token != mine[0].lease_token);
}

BOOST_AUTO_TEST_CASE(success_ends_the_delivery_with_one_log_row) {
  data.webhook(1);
  const std::string id = data.deliver(1);
  recorder.record({outcome(claim().at(0), Kind::succeeded)});
  BOOST_TEST(data.status(id) == "succeeded 1 finished");
  BOOST_TEST(data.queued() == "0");
  BOOST_TEST(database.value("SELECT CONCAT_WS('|', webhook_id, delivery_id, attempt, response_status, "
                            "COALESCE(error_message, 'none'), duration_ms, response_body) FROM webhook_logs") ==
             "1|" + id + "|1|200|none|12|hello");
}

BOOST_AUTO_TEST_CASE(a_retry_comes_due_after_its_delay_and_counts_attempts) {
  data.webhook(1);
  const std::string id = data.deliver(1);
  recorder.record({outcome(claim().at(0), Kind::retry)});
  BOOST_TEST(data.status(id) == "pending 1");
  BOOST_TEST(database.value("SELECT lease_token FROM webhook_queue") == "NULL");
  const auto due_in = queue.owed().at(0).due_in;
  BOOST_TEST((due_in > 4s && due_in <= 5s));
  run_out_leases();
  const auto again = claim();
  BOOST_TEST(again.at(0).attempt == 2);
  recorder.record({outcome(again.at(0), Kind::failed)});
  BOOST_TEST(data.status(id) == "failed 2 finished");
  BOOST_TEST(data.queued() == "0");
  BOOST_TEST(data.logged() == "2");
}

BOOST_AUTO_TEST_CASE(a_late_success_counts_though_the_lease_has_run_out) {
  data.webhook(1);
  const std::string id = data.deliver(1);
  const auto slow = claim();
  run_out_leases();
  const auto second = claim();
  recorder.record({outcome(slow.at(0), Kind::succeeded)});
  BOOST_TEST(data.status(id) == "succeeded 1 finished");
  BOOST_TEST(data.queued() == "0");
  recorder.record({outcome(second.at(0), Kind::retry)});
  BOOST_TEST(data.status(id) == "succeeded 1 finished");
  BOOST_TEST(data.queued() == "0");
  BOOST_TEST(data.logged() == "2");
}

BOOST_AUTO_TEST_CASE(a_late_failure_changes_nothing_but_is_logged) {
  data.webhook(1);
  const std::string id = data.deliver(1);
  const auto slow = claim();
  run_out_leases();
  const auto second = claim();
  recorder.record({outcome(slow.at(0), Kind::failed)});
  BOOST_TEST(data.status(id) == "pending 0");
  BOOST_TEST(database.value("SELECT lease_token FROM webhook_queue") == std::to_string(second.at(0).lease_token));
  BOOST_TEST(data.logged() == "1");
}

BOOST_AUTO_TEST_CASE(gone_disables_the_webhook_and_keeps_what_else_is_pending) {
  data.webhook(1);
  const std::string id = data.deliver(1);
  const std::string later = data.deliver(1);
  recorder.record({outcome(claim().at(0), Kind::gone)});
  BOOST_TEST(data.status(id) == "failed 1 finished");
  BOOST_TEST(database.value("SELECT CONCAT(enabled, ' ', disabled_reason) FROM webhooks") ==
             "0 The endpoint answered 410 Gone");
  BOOST_TEST(claim().empty());
  BOOST_TEST(data.status(later) == "pending 0");
  database.execute("UPDATE webhooks SET enabled = 1, disabled_reason = NULL");
  BOOST_TEST(std::to_string(claim().at(0).delivery_id) == later);
}

BOOST_AUTO_TEST_CASE(of_a_disabled_webhook_only_tests_are_sent) {
  data.webhook(1, "http://127.0.0.1:9/", "secret", false);
  data.deliver(1);
  const std::string test = data.deliver(1, std::string(kWebhookTestChannel));
  const auto claimed = claim(5);
  BOOST_REQUIRE(claimed.size() == 1u);
  BOOST_TEST(std::to_string(claimed[0].delivery_id) == test);
  BOOST_TEST(claim(5).empty());
}

BOOST_AUTO_TEST_CASE(rows_of_a_deleted_webhook_are_dropped_the_queues_last) {
  data.webhook(1);
  data.deliver(1);
  recorder.record({outcome(claim().at(0), Kind::succeeded)});
  data.deliver(1);
  database.execute("DELETE FROM webhooks");
  const auto left = [&] {
    return database.value(
        "SELECT CONCAT_WS(' ', (SELECT COUNT(*) FROM webhook_logs), (SELECT COUNT(*) FROM webhook_deliveries), "
        "(SELECT COUNT(*) FROM webhook_queue))");
  };
  for (const char* expected : {"0 2 1", "0 0 1", "0 0 0"}) {
    BOOST_TEST(claim().empty());
    BOOST_TEST(left() == expected);
  }
}

BOOST_AUTO_TEST_CASE(rows_without_delivery_or_event_are_dropped) {
  data.webhook(1);
  data.deliver(1);
  const std::string eventless = data.deliver(1);
  database.execute("DELETE FROM webhook_deliveries WHERE id <> " + eventless + "; DELETE FROM events");
  BOOST_TEST(claim(5).empty());
  BOOST_TEST(data.queued() == "0");
  BOOST_TEST(data.status(eventless) == "failed 0 finished");
}

BOOST_AUTO_TEST_CASE(nothing_is_recorded_for_a_webhook_deleted_meanwhile) {
  data.webhook(1);
  data.deliver(1);
  const auto claimed = claim();
  database.execute("DELETE FROM webhook_queue; DELETE FROM webhook_deliveries; DELETE FROM webhooks");
  recorder.record({outcome(claimed.at(0), Kind::retry)});
  BOOST_TEST(data.logged() == "0");
  BOOST_TEST(data.queued() == "0");
}

BOOST_AUTO_TEST_CASE(a_batch_is_recorded_whole) {
  data.webhook(1);
  std::vector<std::string> ids;
  for (int i = 0; i < 50; ++i) ids.push_back(data.deliver(1));
  std::vector<AttemptOutcome> outcomes;
  const auto claimed = claim(50);
  for (std::size_t i = 0; i < claimed.size(); ++i) {
    outcomes.push_back(outcome(claimed[i], i % 2 == 0 ? Kind::succeeded : Kind::retry));
  }
  recorder.record(outcomes);
  BOOST_TEST(database.value("SELECT COUNT(*) FROM webhook_deliveries WHERE status = 'succeeded'") == "25");
  BOOST_TEST(data.queued() == "25");
  BOOST_TEST(data.logged() == "50");
}

BOOST_AUTO_TEST_CASE(a_lost_connection_is_an_error_once_and_a_new_session_after) {
  data.webhook(1);
  const std::string id = data.deliver(1);
  const auto claimed = claim();
  for (const auto& row : database.query("SELECT id FROM information_schema.processlist WHERE db = DATABASE() "
                                        "AND id <> CONNECTION_ID()")) {
    database.execute("KILL " + row.at(0));
  }
  const std::vector<AttemptOutcome> outcomes{outcome(claimed.at(0), Kind::succeeded)};
  BOOST_CHECK_THROW(recorder.record(outcomes), DatabaseError);
  recorder.record(outcomes);
  BOOST_TEST(data.status(id) == "succeeded 1 finished");
  BOOST_TEST(data.logged() == "1");
}

BOOST_AUTO_TEST_CASE(what_is_given_back_is_due_as_before_and_first_again) {
  data.webhook(1);
  const std::string first = data.deliver(1);
  database.execute("UPDATE webhook_queue SET due_at = UTC_TIMESTAMP(3) - INTERVAL 1 MINUTE");
  const std::string due = database.value("SELECT due_at FROM webhook_queue");
  data.deliver(1);
  queue.give_back(claim(2));
  BOOST_TEST(database.value("SELECT due_at FROM webhook_queue WHERE delivery_id = " + first) == due);
  BOOST_TEST(database.value("SELECT COUNT(*) FROM webhook_queue WHERE lease_token IS NULL") == "2");
  BOOST_TEST(std::to_string(claim().at(0).delivery_id) == first);
}

BOOST_AUTO_TEST_CASE(what_was_claimed_with_a_range_of_tokens_is_given_back_and_nothing_else) {
  data.webhook(1);
  for (int i = 0; i < 3; ++i) data.deliver(1);
  for (int i = 0; i < 3; ++i) claim();
  queue.give_back(2, 3);
  BOOST_TEST(database.value("SELECT GROUP_CONCAT(COALESCE(lease_token, 'free') ORDER BY delivery_id) "
                            "FROM webhook_queue") == "1,free,free");
}

BOOST_AUTO_TEST_CASE(added_rows_are_seen_once_committed) {
  data.webhook(1);
  data.webhook(2);
  data.deliver(1);
  BOOST_TEST(queue.added().empty());  // owed() tells of what was there before
  data.deliver(2);
  const std::vector<std::int64_t> expected{1, 2};  // 1 once more: it is near the newest
  const auto added = queue.added();
  BOOST_CHECK_EQUAL_COLLECTIONS(added.begin(), added.end(), expected.begin(), expected.end());
  BOOST_TEST(queue.added().empty());
  claim();
  BOOST_TEST(queue.added().empty());  // nothing due
}

BOOST_AUTO_TEST_CASE(a_claim_looks_at_nothing_due_before_its_bound) {
  data.webhook(1);
  data.deliver(1);
  database.execute("UPDATE webhook_queue SET due_at = UTC_TIMESTAMP(3) - INTERVAL 1 HOUR");
  const std::string later = data.deliver(1);
  const std::int64_t bound = std::stoll(
      database.value("SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3) - INTERVAL 1 MINUTE)"));
  const auto claimed = queue.claim({{.webhook_id = 1, .count = 5, .due_from = bound}}, 1, 20s).deliveries;
  BOOST_REQUIRE(claimed.size() == 1u);
  BOOST_TEST(std::to_string(claimed[0].delivery_id) == later);
  BOOST_TEST(claimed[0].due_at >= bound);
}

BOOST_AUTO_TEST_CASE(settings_come_with_a_claim_and_an_old_secret_until_its_time) {
  data.webhook(1);
  database.execute(
      "UPDATE webhooks SET method = 'PUT', sealed_headers = 'h', retry_attempts = 2, retry_delay_ms = 30, timeout_ms = 400, "
      "previous_sealed_secret = 'old', previous_secret_until = UTC_TIMESTAMP(3) + INTERVAL 1 HOUR");
  data.deliver(1);
  data.deliver(1);
  const auto settings = claim().at(0).settings;
  BOOST_TEST(settings->method == "PUT");
  BOOST_TEST(settings->sealed_headers == "h");
  BOOST_TEST(settings->previous_sealed_secret == "old");
  BOOST_TEST(settings->retry_attempts.value() == 2);
  BOOST_TEST(settings->retry_delay.value().count() == 30);
  BOOST_TEST(settings->timeout.value().count() == 400);
  database.execute("UPDATE webhooks SET previous_secret_until = UTC_TIMESTAMP(3)");
  BOOST_TEST(claim().at(0).settings->previous_sealed_secret == "");
}

BOOST_AUTO_TEST_CASE(a_webhook_disabled_after_it_was_chosen_keeps_what_it_is_owed) {
  data.webhook(1);
  data.deliver(1);
  database.execute("UPDATE webhooks SET enabled = 0");
  BOOST_TEST(claim_of(1, 1).empty());
  BOOST_TEST(database.value("SELECT lease_token IS NULL AND due_at <= UTC_TIMESTAMP(3) FROM webhook_queue") == "1");
}

BOOST_AUTO_TEST_CASE(another_schema_version_is_refused) {
  database.execute("UPDATE schema_migrations SET version = version + 1");
  BOOST_CHECK_THROW(Database(database.config()).connect(), SchemaMismatch);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker
