#include "relay/delivery_attempt.hpp"

#include <boost/test/unit_test.hpp>

namespace gamepicker {
namespace {

using namespace std::chrono_literals;
using Kind = AttemptOutcome::Kind;

struct AttemptFixture {
  WebhookSettings settings;
  ClaimedDelivery delivery;
  SecretBox box{std::string(64, 'a')};
  const Config::Durations server{5s, 5min};

  AttemptFixture() {
    settings.sealed_secret = box.seal("hush");
    delivery.delivery_id = 7;
    delivery.body = "{}";
  }

  /// After an attempt with this answer; no status: none came. No jitter.
  AttemptOutcome outcome(std::optional<int> status, std::optional<std::chrono::milliseconds> retry_after = {}) {
    delivery.settings = std::make_shared<WebhookSettings>(settings);
    WebhookResponse response;
    response.status = status;
    const bool succeeded = status && *status / 100 == 2;
    response.error = succeeded ? "" : status ? "HTTP " + std::to_string(*status) : "Connection failed";
    response.retry_after = retry_after;
    return delivery_outcome(delivery, response, server, 0.5);
  }
  WebhookRequest request() {
    delivery.settings = std::make_shared<WebhookSettings>(settings);
    return delivery_request(delivery, box, 5s);
  }
  /// The waits after each attempt until the last, without jitter.
  std::vector<std::chrono::milliseconds> waits() {
    std::vector<std::chrono::milliseconds> found;
    for (delivery.scheduled = 1; delivery.scheduled < 30; ++delivery.scheduled) {
      const AttemptOutcome after = outcome(500);
      if (after.kind != Kind::retry) return found;
      found.push_back(after.retry_in);
    }
    return found;
  }
};

using Waits = std::vector<std::chrono::milliseconds>;

}  // namespace

BOOST_FIXTURE_TEST_SUITE(delivery_attempt, AttemptFixture)

BOOST_AUTO_TEST_CASE(two_hundreds_succeed_gone_ends_and_everything_else_is_tried_again) {
  for (const int status : {200, 201, 202, 204, 299}) {
    BOOST_TEST((outcome(status).kind == Kind::succeeded), status);
    BOOST_TEST(outcome(status).error == "");
  }
  BOOST_TEST((outcome(410).kind == Kind::gone));
  for (const int status :
       {300, 301, 302, 304, 307, 308, 400, 401, 403, 404, 408, 409, 411, 413, 422, 429, 500, 503, 599}) {
    BOOST_TEST((outcome(status).kind == Kind::retry), status);
    BOOST_TEST(outcome(status).error != "");
  }
  BOOST_TEST((outcome(std::nullopt).kind == Kind::retry));
  BOOST_TEST((outcome(std::nullopt).retry_in == 5s));
}

BOOST_AUTO_TEST_CASE(gone_ends_it_and_success_too_whatever_the_answer_asks_for_and_is_left_of_the_schedule) {
  delivery.scheduled = 3;
  BOOST_TEST((outcome(410, 10s).kind == Kind::gone));
  BOOST_TEST((outcome(200, 10s).kind == Kind::succeeded));
  BOOST_TEST((outcome(503, 10s).kind == Kind::failed));
}

BOOST_AUTO_TEST_CASE(retry_after_is_honoured_up_to_an_hour_beside_either_schedule) {
  BOOST_TEST((outcome(503, 10min).retry_in == 10min));
  BOOST_TEST((outcome(503, 1s).retry_in == 5s));
  BOOST_TEST((outcome(429, 25h).retry_in == 1h));
  settings.retry_delay = 20ms;
  BOOST_TEST((outcome(429, 25h).retry_in == 1h));
  BOOST_TEST((outcome(301, 10min).retry_in == 10min));
}

BOOST_AUTO_TEST_CASE(a_webhook_with_either_field_follows_its_own_schedule_and_one_with_neither_the_servers) {
  BOOST_TEST((waits() == Waits{5s, 5min}));
  settings.retry_attempts = 5;
  BOOST_TEST((waits() == Waits{1s, 2s, 4s, 8s, 16s}));
  settings.retry_attempts = 0;
  BOOST_TEST(waits().empty());
  settings.retry_attempts.reset();
  settings.retry_delay = 250ms;
  BOOST_TEST((waits() == Waits{250ms, 500ms, 1s}));
  settings.retry_delay = 0ms;
  BOOST_TEST((waits() == Waits{0ms, 0ms, 0ms}));
  settings.retry_attempts = 20;
  settings.retry_delay = 1h;
  Waits expected(20, 2h);
  expected[0] = 1h;
  BOOST_TEST((waits() == expected));
}

BOOST_AUTO_TEST_CASE(the_schedule_counts_from_when_a_delivery_was_last_queued_the_log_from_its_first_try) {
  delivery.attempt = 9;
  delivery.scheduled = 1;
  const AttemptOutcome after = outcome(500);
  BOOST_TEST(after.attempt == 9);
  BOOST_TEST((after.retry_in == 5s));
}

BOOST_AUTO_TEST_CASE(a_webhooks_own_timeout_goes_before_the_servers) {
  BOOST_TEST((request().timeout == 5s));
  settings.timeout = 100ms;
  BOOST_TEST((request().timeout == 100ms));
}

BOOST_AUTO_TEST_CASE(every_valid_secret_is_opened_the_current_one_first_and_one_of_another_key_is_not) {
  BOOST_TEST(request().secrets == std::vector<std::string>{"hush"}, boost::test_tools::per_element());
  settings.previous_sealed_secret = box.seal("old");
  const std::vector<std::string> both{"hush", "old"};
  BOOST_TEST(request().secrets == both, boost::test_tools::per_element());
  settings.sealed_secret = SecretBox(std::string(64, 'b')).seal("hush");
  BOOST_CHECK_THROW(request(), std::runtime_error);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker
