#include <csignal>

#include <boost/test/unit_test.hpp>

#include "relay/webhook_service.hpp"
#include "shared/signature.hpp"
#include "tests/support/http_receiver.hpp"
#include "tests/support/wait_until.hpp"
#include "tests/support/webhooks.hpp"

namespace gamepicker {
namespace {

using namespace std::chrono_literals;
using test::HttpReceiver;

struct TriesFixture {
  TriesFixture() {
    std::signal(SIGPIPE, SIG_IGN);
    data.webhook(1, receiver.url(), "hush");
  }

  /// Answers the first try of each delivery with this (nothing: hangs up), and 200 to the next.
  static HttpReceiver::Answer refusing(std::string refusal) {
    return [refusal = std::move(refusal)](const HttpReceiver::Request& request, int socket) {
      const bool first = request.header("X-Webhook-Attempt") == "1";
      if (first && refusal.empty()) return false;
      HttpReceiver::send_text(socket, first ? refusal : HttpReceiver::answer("200 OK"));
      return true;
    };
  }

  /// Sends what is queued until nothing is.
  void send_all(Config::Durations schedule) {
    config.webhook_retry_schedule = std::move(schedule);
    WebhookMetrics metrics;
    WebhookService service(config, metrics);
    service.start();
    BOOST_TEST(test::wait_until([&] { return data.queued() == "0"; }));
    service.stop();
  }

  test::TestDatabase database;
  test::WebhookData data{database};
  Config config = database.config();
  HttpReceiver receiver{refusing(HttpReceiver::answer("500 Oops"))};
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(webhook_tries, TriesFixture)

BOOST_AUTO_TEST_CASE(every_try_has_the_same_id_and_bytes_and_its_own_number_and_time) {
  const std::string id = data.deliver(1, "orders", R"({"title":"Ümlaut","n":1.0})");
  send_all({1500ms});  // at least 1.2 s: another second
  const auto tries = receiver.requests();
  BOOST_REQUIRE(tries.size() == 2u);
  const std::string stored = database.value("SELECT body FROM events");
  for (std::size_t i = 0; i < tries.size(); ++i) {
    BOOST_TEST_CONTEXT("try " << i + 1) {
      BOOST_TEST(tries[i].body == stored);
      BOOST_TEST(tries[i].header("X-Webhook-Attempt") == std::to_string(i + 1));
      BOOST_TEST(tries[i].header("X-Webhook-Delivery") == id);
      BOOST_TEST(tries[i].header("X-Webhook-Event") == "game.added");
      BOOST_TEST(tries[i].header("X-Webhook-Signature") == webhook_signature("hush", stored));
      BOOST_TEST(tries[i].header("webhook-id") == id);
      BOOST_TEST(tries[i].header("webhook-signature") ==
                 standard_webhook_signature("hush", id, tries[i].header("webhook-timestamp"), stored));
    }
  }
  BOOST_TEST(std::stoll(tries[0].header("webhook-timestamp")) < std::stoll(tries[1].header("webhook-timestamp")));
}

BOOST_AUTO_TEST_CASE(redirects_client_errors_and_silence_are_failures_like_any_other) {
  const std::vector<std::pair<std::string, std::string>> refusals = {
      {HttpReceiver::answer("302 Found", "", "Location: /elsewhere\r\n"), "302 HTTP 302: redirects are not followed"},
      {HttpReceiver::answer("404 Not Found"), "404 HTTP 404"},
      {HttpReceiver::answer("429 Slow down", "", "Retry-After: 0\r\n"), "429 HTTP 429"},
      {"", "none "}};
  for (const auto& [refusal, logged] : refusals) {
    BOOST_TEST_CONTEXT(logged) {
      HttpReceiver refuses(refusing(refusal));
      database.execute("UPDATE webhooks SET url = '" + refuses.url() + "'");
      const std::string id = data.deliver(1);
      send_all({1ms});
      BOOST_TEST(data.status(id) == "succeeded 2 finished");
      const std::string log = database.value(
          "SELECT GROUP_CONCAT(COALESCE(response_status, 'none'), ' ', COALESCE(error_message, '-') ORDER BY attempt "
          "SEPARATOR '; ') FROM webhook_logs WHERE delivery_id = " +
          id);
      BOOST_TEST(log.starts_with(logged), log);
      BOOST_TEST(log.ends_with("; 200 -"), log);
      for (const auto& request : refuses.requests()) BOOST_TEST(request.head.starts_with("POST /hook "));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_delivery_that_is_queued_again_keeps_its_id_and_counts_on) {
  const std::string id = data.deliver(1);
  send_all({});
  BOOST_TEST(data.status(id) == "failed 1 finished");
  // As the handlers and a recovery do.
  database.execute(
      "UPDATE webhook_deliveries SET status = 'pending', finished_at = NULL; INSERT INTO webhook_queue (delivery_id, "
      "webhook_id, due_at, attempts, base_attempts) VALUES (" +
      id + ", 1, UTC_TIMESTAMP(3), 1, 1); DELETE FROM webhook_health");
  send_all({});
  BOOST_TEST(data.status(id) == "succeeded 2 finished");
  const auto tries = receiver.requests();
  BOOST_REQUIRE(tries.size() == 2u);
  BOOST_TEST(tries[1].header("X-Webhook-Delivery") == id);
  BOOST_TEST(tries[1].header("X-Webhook-Attempt") == "2");
  BOOST_TEST(tries[1].body == tries[0].body);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker
