#include "relay/webhook_service.hpp"

#include <algorithm>
#include <csignal>
#include <map>

#include <boost/test/unit_test.hpp>

#include "shared/signature.hpp"
#include "tests/support/http_receiver.hpp"
#include "tests/support/wait_until.hpp"
#include "tests/support/webhooks.hpp"

namespace gamepicker {
namespace {

using namespace std::chrono_literals;
using test::HttpReceiver;

struct ServiceFixture {
  test::TestDatabase database;
  test::WebhookData data{database};
  Config config = database.config();
  WebhookMetrics metrics;

  ServiceFixture() {
    std::signal(SIGPIPE, SIG_IGN);
    config.webhook_timeout = 1s;
    config.webhook_workers = 4;
    config.webhook_retry_schedule = {50ms, 50ms};
  }

  /// Waits for the delivery to have this status.
  std::string wait_for_status(const std::string& delivery, const std::string& expected) {
    test::wait_until([&] { return data.status(delivery) == expected; });
    return data.status(delivery);
  }
};

const std::string kOk = HttpReceiver::answer("200 OK", "fine");

}  // namespace

BOOST_FIXTURE_TEST_SUITE(webhook_service, ServiceFixture)

BOOST_AUTO_TEST_CASE(what_is_owed_is_sent_and_recorded) {
  HttpReceiver receiver(kOk);
  data.webhook(1, receiver.url(), "s3cret");
  const std::string id = data.deliver(1);
  WebhookService service(config, metrics);
  service.start();
  BOOST_TEST(wait_for_status(id, "succeeded 1 finished") == "succeeded 1 finished");
  service.stop();
  const auto request = receiver.requests().at(0);
  BOOST_TEST(request.header("X-Webhook-Delivery") == id);
  BOOST_TEST(request.header("X-Webhook-Signature") == webhook_signature("s3cret", request.body));
  BOOST_TEST(data.queued() == "0");
  BOOST_TEST(data.logged() == "1");
}

BOOST_AUTO_TEST_CASE(deliveries_of_one_webhook_arrive_in_event_order) {
  HttpReceiver receiver(kOk);
  data.webhook(1, receiver.url());
  std::vector<std::string> ids;
  for (int i = 0; i < 40; ++i) ids.push_back(data.deliver(1));
  WebhookService service(config, metrics);
  service.start();
  wait_for_status(ids.back(), "succeeded 1 finished");
  service.stop();
  std::vector<std::string> arrived;
  for (const auto& request : receiver.requests()) arrived.push_back(request.header("X-Webhook-Delivery"));
  BOOST_CHECK_EQUAL_COLLECTIONS(arrived.begin(), arrived.end(), ids.begin(), ids.end());
}

BOOST_AUTO_TEST_CASE(a_failure_is_retried_with_the_same_bytes_until_it_succeeds) {
  std::atomic<int> served = 0;
  HttpReceiver receiver([&](const HttpReceiver::Request&, int socket) {
    HttpReceiver::send_text(socket, ++served < 3 ? HttpReceiver::answer("500 Oops") : kOk);
    return true;
  });
  data.webhook(1, receiver.url());
  const std::string id = data.deliver(1);
  WebhookService service(config, metrics);
  service.start();
  BOOST_TEST(wait_for_status(id, "succeeded 3 finished") == "succeeded 3 finished");
  service.stop();
  const auto requests = receiver.requests();
  BOOST_REQUIRE(requests.size() == 3u);
  BOOST_TEST(requests[0].body == requests[2].body);
  BOOST_TEST(requests[2].header("X-Webhook-Attempt") == "3");
  BOOST_TEST(database.value("SELECT GROUP_CONCAT(attempt, ' ', response_status, ' ', COALESCE(error_message, '-') "
                            "ORDER BY id SEPARATOR ', ') FROM webhook_logs") ==
             "1 500 HTTP 500, 2 500 HTTP 500, 3 200 -");
  BOOST_TEST(metrics.retried.value() == 2u);
  BOOST_TEST(metrics.delivered.value() == 1u);
}

BOOST_AUTO_TEST_CASE(a_used_up_schedule_ends_as_failed) {
  HttpReceiver receiver(HttpReceiver::answer("500 Oops"));
  data.webhook(1, receiver.url());
  const std::string id = data.deliver(1);
  WebhookService service(config, metrics);
  service.start();
  BOOST_TEST(wait_for_status(id, "failed 3 finished") == "failed 3 finished");
  service.stop();
  BOOST_TEST(metrics.retried.value() == 2u);
  BOOST_TEST(metrics.failed.value() == 1u);
  BOOST_TEST(data.queued() == "0");
  BOOST_TEST(data.logged() == "3");
}

BOOST_AUTO_TEST_CASE(gone_disables_the_webhook_and_stops_the_rest) {
  HttpReceiver receiver(HttpReceiver::answer("410 Gone"));
  data.webhook(1, receiver.url());
  const std::string id = data.deliver(1);
  data.deliver(1);
  WebhookService service(config, metrics);
  service.start();
  BOOST_TEST(wait_for_status(id, "failed 1 finished") == "failed 1 finished");
  // A test that is sent later shows that nothing else was sent before it.
  const std::string test = data.deliver(1, std::string(kWebhookTestChannel));
  service.wake();
  BOOST_TEST(wait_for_status(test, "failed 1 finished") == "failed 1 finished");
  service.stop();
  BOOST_TEST(receiver.requests().size() == 2u);
  BOOST_TEST(receiver.requests().back().header("X-Webhook-Delivery") == test);
}

BOOST_AUTO_TEST_CASE(endpoints_that_hang_do_not_delay_a_healthy_one) {
  config.webhook_retry_schedule = {1ms, 1ms, 1ms, 1ms, 1ms, 1ms};
  HttpReceiver* self = nullptr;
  HttpReceiver hanging([&](const HttpReceiver::Request&, int) {
    while (!self->stopping()) std::this_thread::sleep_for(10ms);
    return false;
  });
  self = &hanging;
  HttpReceiver healthy(kOk);
  for (int id = 1; id <= 8; ++id) {
    data.webhook(id, hanging.url());
    data.deliver(id);
  }
  WebhookService service(config, metrics);
  service.start();
  std::this_thread::sleep_for(2500ms);  // all four workers have met a hanging endpoint by now
  data.webhook(9, healthy.url());
  const auto start = std::chrono::steady_clock::now();
  const std::string id = data.deliver(9);
  service.wake();
  BOOST_TEST(wait_for_status(id, "succeeded 1 finished") == "succeeded 1 finished");
  BOOST_TEST((std::chrono::steady_clock::now() - start < 800ms));
  service.stop();
}

BOOST_AUTO_TEST_CASE(a_lost_database_connection_delays_but_loses_nothing) {
  HttpReceiver receiver(kOk);
  data.webhook(1, receiver.url());
  WebhookService service(config, metrics);
  service.start();
  std::vector<std::string> ids;
  for (int i = 0; i < 10; ++i) {
    ids.push_back(data.deliver(1));
    service.wake();
    for (const auto& row : database.query("SELECT id FROM information_schema.processlist WHERE db = DATABASE() "
                                          "AND id <> CONNECTION_ID()")) {
      try {
        database.execute("KILL " + row.at(0));
      } catch (const std::exception&) {  // it ended by itself meanwhile
      }
    }
    // A claim whose COMMIT was lost leaves a lease behind: let it run out now instead of in 16 s.
    std::this_thread::sleep_for(50ms);
  }
  for (int i = 0; i < 200 && data.queued() != "0"; ++i) {
    std::this_thread::sleep_for(50ms);
    if (i % 20 == 19) database.execute("UPDATE webhook_queue SET due_at = UTC_TIMESTAMP(3)");
    service.wake();
  }
  service.stop();
  BOOST_TEST(data.queued() == "0");
  BOOST_TEST(database.value("SELECT COUNT(*) FROM webhook_deliveries WHERE status = 'succeeded'") == "10");
}

BOOST_AUTO_TEST_CASE(stop_waits_for_the_request_under_way_and_records_it) {
  HttpReceiver receiver([](const HttpReceiver::Request&, int socket) {
    std::this_thread::sleep_for(300ms);
    HttpReceiver::send_text(socket, kOk);
    return true;
  });
  data.webhook(1, receiver.url());
  const std::string id = data.deliver(1);
  WebhookService service(config, metrics);
  service.start();
  receiver.wait_for(1);
  service.stop();
  BOOST_TEST(data.status(id) == "succeeded 1 finished");
}

BOOST_AUTO_TEST_CASE(a_webhooks_own_settings_are_used) {
  HttpReceiver receiver(HttpReceiver::answer("500 Oops"));
  data.webhook(1, receiver.url(), "new");
  const SecretBox box(config.secret_key);
  database.execute("UPDATE webhooks SET method = 'PUT', retry_attempts = 1, retry_delay_ms = 20, sealed_headers = '" +
                   box.seal(R"({"X-Team":"red","Authorization":"Bearer t"})") + "', previous_sealed_secret = '" +
                   box.seal("old") + "', previous_secret_until = UTC_TIMESTAMP(3) + INTERVAL 1 HOUR");
  const std::string id = data.deliver(1);
  WebhookService service(config, metrics);
  service.start();
  BOOST_TEST(wait_for_status(id, "failed 2 finished") == "failed 2 finished");
  service.stop();
  const auto request = receiver.requests().at(0);
  BOOST_TEST(request.head.starts_with("PUT "));
  BOOST_TEST(request.header("X-Team") == "red");
  BOOST_TEST(request.header("Authorization") == "Bearer t");
  BOOST_TEST(request.header("X-Webhook-Signature") == webhook_signature("new", request.body));
  const std::string time = request.header("webhook-timestamp");
  BOOST_TEST(request.header("webhook-signature") == standard_webhook_signature("new", id, time, request.body) + " " +
                                                        standard_webhook_signature("old", id, time, request.body));
}

BOOST_AUTO_TEST_CASE(as_many_requests_at_a_time_as_the_webhook_allows) {
  std::atomic<int> open = 0;
  std::atomic<int> most = 0;
  HttpReceiver receiver([&](const HttpReceiver::Request&, int socket) {
    const int now = ++open;
    for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) continue;
    for (int i = 0; i < 500 && most < 3; ++i) std::this_thread::sleep_for(1ms);
    --open;
    HttpReceiver::send_text(socket, kOk);
    return true;
  });
  config.webhook_workers = 8;
  data.webhook(1, receiver.url());
  database.execute("UPDATE webhooks SET concurrency = 3");
  for (int i = 0; i < 29; ++i) data.deliver(1);
  const std::string last = data.deliver(1);
  WebhookService service(config, metrics);
  service.start();
  wait_for_status(last, "succeeded 1 finished");
  service.stop();
  BOOST_TEST(most.load() == 3);
  BOOST_TEST(receiver.requests().size() == 30u);
}

BOOST_AUTO_TEST_CASE(while_an_endpoint_fails_the_others_wait_without_using_up_their_attempts) {
  config.webhook_retry_schedule = {50ms, 50ms, 50ms, 50ms, 50ms, 50ms, 50ms, 50ms, 50ms, 50ms};
  std::atomic<bool> broken = true;
  HttpReceiver receiver([&](const HttpReceiver::Request&, int socket) {
    HttpReceiver::send_text(socket, broken ? HttpReceiver::answer("503 Busy") : kOk);
    return true;
  });
  data.webhook(1, receiver.url());
  std::vector<std::string> ids;
  for (int i = 0; i < 20; ++i) ids.push_back(data.deliver(1));
  WebhookService service(config, metrics);
  service.start();
  receiver.wait_for(5);  // three at once, then a probe a second or two
  BOOST_TEST(database.value("SELECT failures >= 3 AND backoff_until IS NOT NULL FROM webhook_health") == "1");
  BOOST_TEST(data.status(ids.back()) == "pending 0");
  broken = false;
  BOOST_TEST(wait_for_status(ids.back(), "succeeded 1 finished") == "succeeded 1 finished");
  BOOST_TEST(test::wait_until([&] { return data.queued() == "0"; }));
  service.stop();
  BOOST_TEST(database.value("SELECT COUNT(*) FROM webhook_deliveries WHERE status = 'succeeded'") == "20");
  BOOST_TEST(database.value("SELECT COUNT(*) FROM webhook_deliveries WHERE attempts > 1") != "20");
  BOOST_TEST(database.value("SELECT failures = 0 AND failing_since IS NULL FROM webhook_health") == "1");
}

BOOST_AUTO_TEST_CASE(two_relays_send_every_delivery_once_and_those_of_a_webhook_in_order) {
  HttpReceiver receiver(kOk);
  for (int id = 1; id <= 6; ++id) data.webhook(id, receiver.url("/" + std::to_string(id)));
  std::vector<std::string> ids;
  for (int i = 0; i < 300; ++i) ids.push_back(data.deliver(1 + i % 6));
  WebhookMetrics others;
  WebhookService one(config, metrics);
  WebhookService two(config, others);
  one.start();
  two.start();
  BOOST_TEST(test::wait_until([&] { return data.queued() == "0"; }));
  one.stop();
  two.stop();
  std::map<std::string, std::vector<std::uint64_t>> arrived;
  for (const auto& request : receiver.requests()) {
    arrived[request.head.substr(0, 7)].push_back(std::stoull(request.header("X-Webhook-Delivery")));
  }
  std::size_t total = 0;
  for (const auto& [path, deliveries] : arrived) {
    BOOST_TEST(std::ranges::is_sorted(deliveries));
    total += deliveries.size();
  }
  BOOST_TEST(total == 300u);
  BOOST_TEST(metrics.delivered.value() + others.delivered.value() == 300u);
}

BOOST_AUTO_TEST_CASE(what_was_claimed_but_not_begun_is_given_back_at_the_end) {
  std::atomic<int> served = 0;
  HttpReceiver receiver([&](const HttpReceiver::Request&, int socket) {
    if (++served > 1) std::this_thread::sleep_for(200ms);
    HttpReceiver::send_text(socket, kOk);
    return true;
  });
  data.webhook(1, receiver.url());
  for (int i = 0; i < 30; ++i) data.deliver(1);
  WebhookService service(config, metrics);
  service.start();
  receiver.wait_for(2);
  service.stop();
  BOOST_TEST(database.value("SELECT COUNT(*) FROM webhook_queue WHERE lease_token IS NOT NULL") == "0");
  BOOST_TEST(std::stoi(data.queued()) + std::stoi(data.logged()) == 30);
}

BOOST_AUTO_TEST_CASE(a_webhook_that_was_fast_and_hangs_does_not_stall_others) {
  config.webhook_timeout = 8s;
  std::atomic<bool> hangs = false;
  std::atomic<int> hanging = 0;
  HttpReceiver* self = nullptr;
  HttpReceiver busy([&](const HttpReceiver::Request&, int socket) {
    if (hangs) {
      ++hanging;
      while (hangs && !self->stopping()) std::this_thread::sleep_for(10ms);
      return false;
    }
    HttpReceiver::send_text(socket, kOk);
    return true;
  });
  self = &busy;
  HttpReceiver healthy(kOk);
  // Two of them could have all four workers.
  for (int id = 1; id <= 2; ++id) data.webhook(id, busy.url());
  database.execute("UPDATE webhooks SET concurrency = 32");
  for (int i = 0; i < 400; ++i) data.deliver(1 + i % 2);
  data.webhook(3, healthy.url());
  WebhookService service(config, metrics);
  service.start();
  busy.wait_for(100);
  hangs = true;
  BOOST_TEST(test::wait_until([&] { return hanging >= 4; }));
  const auto start = std::chrono::steady_clock::now();
  const std::string id = data.deliver(3);
  service.wake();
  BOOST_TEST(wait_for_status(id, "succeeded 1 finished") == "succeeded 1 finished");
  BOOST_TEST((std::chrono::steady_clock::now() - start < 4s));  // half of what the hanging ones take
  hangs = false;
  service.stop();
}

BOOST_AUTO_TEST_CASE(first_attempts_start_in_event_order_though_some_fail) {
  config.webhook_retry_schedule = {10min};
  HttpReceiver receiver([&](const HttpReceiver::Request& request, int socket) {
    const bool fails = std::stoull(request.header("X-Webhook-Delivery")) % 20 == 0;
    HttpReceiver::send_text(socket, fails ? HttpReceiver::answer("500 Oops") : kOk);
    return true;
  });
  data.webhook(1, receiver.url());
  for (int i = 0; i < 500; ++i) data.deliver(1);
  WebhookService service(config, metrics);
  service.start();
  const auto requests = receiver.wait_for(500);
  service.stop();
  std::vector<std::uint64_t> arrived;
  for (const auto& request : requests) arrived.push_back(std::stoull(request.header("X-Webhook-Delivery")));
  BOOST_TEST(arrived.size() == 500u);
  BOOST_TEST(std::ranges::is_sorted(arrived));
}

BOOST_AUTO_TEST_CASE(a_test_does_not_wait_for_a_back_off_nor_behind_a_backlog) {
  HttpReceiver receiver(HttpReceiver::answer("503 Busy"));
  data.webhook(1, receiver.url());
  for (int i = 0; i < 50; ++i) data.deliver(1);
  database.execute(
      "INSERT INTO webhook_health (webhook_id, failures, failing_since, backoff_until) VALUES (1, 9, UTC_TIMESTAMP(3), "
      "UTC_TIMESTAMP(3) + INTERVAL 1 HOUR)");
  WebhookService service(config, metrics);
  service.start();
  const std::string first = data.deliver(1, std::string(kWebhookTestChannel));
  service.wake();
  BOOST_TEST(wait_for_status(first, "pending 1") == "pending 1");
  service.stop();
  BOOST_TEST(receiver.requests().at(0).header("X-Webhook-Delivery") == first);
  BOOST_TEST(receiver.requests().size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_new_webhooks_rate_holds_from_its_first_delivery) {
  HttpReceiver receiver(kOk);
  data.webhook(1, receiver.url());
  database.execute("UPDATE webhooks SET rate_limit = 10");
  WebhookService service(config, metrics);
  service.start();
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 8; ++i) {
    data.deliver(1);
    service.wake();
  }
  receiver.wait_for(8);
  BOOST_TEST((std::chrono::steady_clock::now() - start >= 690ms));
  service.stop();
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker
