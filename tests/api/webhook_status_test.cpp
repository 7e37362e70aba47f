#include "shared/event_catalogue.hpp"
#include "shared/events.hpp"
#include "tests/api/fixture.hpp"
#include "tests/support/webhooks.hpp"

using namespace gamepicker;
using namespace gamepicker::test;

namespace {

struct StatusFixture : ApiFixture {
  StatusFixture() {
    admin("POST", "/api/webhooks",
          R"({"name":"n","url":"https://a.example/","secret":"s","events":["*"],"rateLimit":9})");
  }

  Response status() { return admin("GET", "/api/webhooks/1/status"); }

  WebhookData data{database};  // its events are no real ones: on a channel that is not held against the catalogue
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(webhook_status, StatusFixture)

BOOST_AUTO_TEST_CASE(a_new_webhook_is_healthy_and_owes_nothing) {
  BOOST_TEST(status().body ==
             R"({"id":1,"state":"healthy","backing_off_until":null,"disabled_reason":null,"failing_since":null,)"
             R"("consecutive_failures":0,"last_error":null,"last_error_at":null,"backlog":0,)"
             R"("oldest_undelivered_age_ms":null,"rateLimit":9,"succeeded_last_minute":0,"seconds_to_drain":0,)"
             R"("recovery":null})");
}

BOOST_AUTO_TEST_CASE(an_endpoint_that_fails_backs_off_until_it_succeeds_and_a_disabled_one_is_disabled) {
  data.deliver(1, "orders");
  database.execute(
      "INSERT INTO webhook_health VALUES (1, 3, '2026-03-15 20:00:00', '2026-03-15 20:30:00.5', 'HTTP 500', "
      "'2026-03-15 20:29:59')");
  const Response failing = status();
  BOOST_TEST(at(failing, "state") == "backing_off");
  BOOST_TEST(at(failing, "backing_off_until") == "2026-03-15T20:30:00.500Z");
  BOOST_TEST(at(failing, "failing_since") == "2026-03-15T20:00:00.000Z");
  BOOST_TEST(at(failing, "consecutive_failures") == "3");
  BOOST_TEST(at(failing, "last_error") == "HTTP 500");
  BOOST_TEST(at(failing, "last_error_at") == "2026-03-15T20:29:59.000Z");
  BOOST_TEST(at(failing, "seconds_to_drain") == "null");

  database.execute("UPDATE webhooks SET enabled = 0, disabled_reason = 'The endpoint answered 410 Gone'");
  const Response disabled = status();
  BOOST_TEST(at(disabled, "state") == "disabled");
  BOOST_TEST(at(disabled, "disabled_reason") == "The endpoint answered 410 Gone");
  BOOST_TEST(at(disabled, "backing_off_until") == "null");

  database.execute("UPDATE webhook_health SET failures = 0, failing_since = NULL, backoff_until = NULL");
  admin("PATCH", "/api/webhooks/1", R"({"enabled":true})");
  const Response healthy = status();
  BOOST_TEST(at(healthy, "state") == "healthy");
  BOOST_TEST(at(healthy, "last_error") == "HTTP 500");
}

BOOST_AUTO_TEST_CASE(the_time_to_drain_comes_from_what_succeeded_in_the_last_minute) {
  for (int i = 0; i < 7; ++i) data.deliver(1, "orders");
  BOOST_TEST(at(status(), "seconds_to_drain") == "null");
  database.execute(
      "INSERT INTO webhook_logs (webhook_id, delivery_id, attempt, duration_ms, error_message, created_at) VALUES "
      "(1, 1, 1, 5, NULL, UTC_TIMESTAMP(3) - INTERVAL 2 MINUTE), (1, 1, 1, 5, NULL, UTC_TIMESTAMP(3) - INTERVAL 9 SECOND), "
      "(1, 1, 1, 5, 'HTTP 500', UTC_TIMESTAMP(3)), (1, 1, 1, 5, NULL, UTC_TIMESTAMP(3))");
  const Response draining = status();
  BOOST_TEST(at(draining, "backlog") == "7");
  BOOST_TEST(at(draining, "succeeded_last_minute") == "2");
  BOOST_TEST(at(draining, "seconds_to_drain") == "210");
}

BOOST_AUTO_TEST_CASE(the_oldest_delivery_counts_also_when_it_waits_for_a_late_retry) {
  const std::string oldest = data.deliver(1, "orders");
  data.deliver(1, "orders");
  database.execute(
      "UPDATE webhook_deliveries SET created_at = UTC_TIMESTAMP(3) - INTERVAL 1 HOUR WHERE id = " + oldest +
      "; UPDATE webhook_queue SET due_at = UTC_TIMESTAMP(3) + INTERVAL 1 HOUR WHERE delivery_id = " + oldest);
  const int age = std::stoi(at(status(), "oldest_undelivered_age_ms"));
  BOOST_TEST(age >= 3'600'000);
  BOOST_TEST(age < 3'700'000);
}

BOOST_AUTO_TEST_CASE(the_newest_recovery_tells_how_far_it_is) {
  database.execute(
      "INSERT INTO webhook_recoveries (webhook_id, since, cursor_id, last_id, total, requeued, created_at, finished_at) "
      "VALUES (1, '2026-03-14', 0, 9, 4, 4, '2026-03-15', '2026-03-15 00:00:01'), "
      "(1, '2026-03-15', 3, 9, 6, 2, '2026-03-16', NULL)");
  BOOST_TEST(status().body.ends_with(
      R"("recovery":{"id":2,"since":"2026-03-15T00:00:00.000Z","total":6,"requeued":2,"state":"running",)"
      R"("created_at":"2026-03-16T00:00:00.000Z","finished_at":null}})"));
  database.execute("DELETE FROM webhook_recoveries WHERE id = 2");
  const Response finished = status();
  BOOST_TEST(at(finished, "recovery.state") == "finished");
  BOOST_TEST(at(finished, "recovery.finished_at") == "2026-03-15T00:00:01.000Z");
}

BOOST_AUTO_TEST_CASE(the_catalogue_names_every_event_once_with_schema_and_example) {
  const Response catalogue = admin("GET", "/api/webhooks/events");
  BOOST_TEST(catalogue.status == 200);
  std::size_t i = 0;
  for (const EventType& type : event_catalogue()) {
    BOOST_TEST_CONTEXT(type.name) {
      const std::string row = "[" + std::to_string(i++) + "].";
      BOOST_TEST(at(catalogue, row + "name") == type.name);
      BOOST_TEST(at(catalogue, row + "description") == type.description);
      BOOST_TEST(at(catalogue, row + "schema.type") == "object");
      BOOST_TEST(at(catalogue, row + "example") != "(missing)");
      BOOST_TEST(is_known_event_pattern(type.name));
    }
  }
  BOOST_TEST(i == 24U);
  BOOST_TEST(is_event_type("webhook.disabled"));
  BOOST_TEST(!is_event_type("*"));
  BOOST_TEST(!is_event_type("game.*"));
}

BOOST_AUTO_TEST_CASE(all_of_it_is_for_admins) {
  const std::string bot = "Bearer " + api.tokens.issue(Role::bot, "bot", std::chrono::hours(1));
  const std::vector<std::pair<const char*, const char*>> endpoints = {
      {"GET", "/api/webhooks/events"},     {"GET", "/api/webhooks/1/status"},
      {"GET", "/api/webhooks/1/logs"},     {"GET", "/api/webhooks/1/deliveries"},
      {"POST", "/api/webhooks/1/recover"}, {"POST", "/api/webhooks/1/deliveries/1/retry"},
      {"PATCH", "/api/webhooks/1"},        {"POST", "/api/webhooks"},
      {"POST", "/api/webhooks/test/1"},    {"DELETE", "/api/webhooks/1"},
  };
  for (const auto& [method, path] : endpoints) {
    BOOST_TEST_CONTEXT(method << " " << path) {
      BOOST_TEST(at(call(method, path), "error") == "Access token required");
      const Response refused = call(method, path, "", bot);
      BOOST_TEST(refused.status == 403);
      BOOST_TEST(at(refused, "error") == "Insufficient permissions");
    }
  }
  check_errors(*this, {{"GET", "/api/webhooks/9/status", "", 404, "Webhook not found"}});
}

BOOST_AUTO_TEST_SUITE_END()
