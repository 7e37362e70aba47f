#include "relay/webhook_endpoints.hpp"

#include <boost/test/unit_test.hpp>

namespace gamepicker {
namespace {

using namespace std::chrono_literals;
using Clock = WebhookEndpoints::Clock;

/// A queue in memory that gives what is wished for.
struct EndpointsFixture {
  WebhookEndpoints endpoints{8, [] { return 0.5; }};  // no jitter
  Clock::time_point now = Clock::now();
  Clock::time_point next = Clock::time_point::max();
  std::map<std::int64_t, std::size_t> queued;
  std::map<std::int64_t, std::shared_ptr<const WebhookSettings>> settings;
  std::uint64_t last_id = 0;

  void owe(std::int64_t id, std::size_t count, OwedWebhook webhook = {}) {
    queued[id] += count;
    WebhookSettings known;
    known.concurrency = webhook.concurrency;
    known.rate_limit = webhook.rate_limit;
    settings[id] = std::make_shared<WebhookSettings>(known);
    webhook.webhook_id = id;
    endpoints.note_owed(webhook, now);
  }
  std::vector<ClaimWish> choose() {
    next = Clock::time_point::max();
    return endpoints.choose([](std::int64_t) { return true; }, now, next);
  }
  /// Claims what is wanted; returns how many it gave.
  std::size_t claim() {
    const auto wishes = choose();
    Claim given;
    for (const ClaimWish& wish : wishes) {
      for (std::size_t i = 0; i < wish.count && queued[wish.webhook_id] > 0; ++i, --queued[wish.webhook_id]) {
        ClaimedDelivery delivery;
        delivery.delivery_id = ++last_id;
        delivery.webhook_id = wish.webhook_id;
        delivery.settings = settings.at(wish.webhook_id);
        given.deliveries.push_back(delivery);
      }
    }
    const std::size_t count = given.deliveries.size();
    endpoints.claimed(wishes, std::move(given), now);
    return count;
  }
  EndpointHealth finish(std::int64_t id, bool succeeded, std::chrono::milliseconds duration = 1ms) {
    return endpoints.finished(
        id, {.succeeded = succeeded, .gone = false, .endless = false, .duration = duration, .retry_after = {}}, now);
  }
  /// One delivery of a webhook that has never been heard of, or waits for its turn, sent with this result.
  EndpointHealth attempt(std::int64_t id, bool succeeded) {
    BOOST_REQUIRE(endpoints.start(now));
    return finish(id, succeeded);
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(webhook_endpoints, EndpointsFixture)

BOOST_AUTO_TEST_CASE(an_unknown_endpoint_gets_one_delivery_a_proven_one_some_ahead) {
  owe(1, 100);
  BOOST_TEST(claim() == 1u);
  BOOST_TEST(claim() == 0u);
  attempt(1, true);
  BOOST_TEST(claim() > 8u);
  BOOST_TEST(endpoints.startable() == 1u);  // still one at a time
}

BOOST_AUTO_TEST_CASE(at_most_concurrency_requests_are_under_way) {
  owe(1, 100, {.concurrency = 3});
  BOOST_TEST(claim() == 3u);
  for (int i = 0; i < 3; ++i) attempt(1, true);
  claim();
  for (int i = 0; i < 3; ++i) BOOST_TEST(endpoints.start(now).has_value());
  BOOST_TEST(!endpoints.start(now));
  finish(1, true);
  BOOST_TEST(endpoints.start(now).has_value());
  BOOST_TEST(!endpoints.start(now));
}

BOOST_AUTO_TEST_CASE(what_was_claimed_ahead_of_a_failing_or_slow_endpoint_is_given_back) {
  for (const bool fails : {true, false}) {
    const std::int64_t id = fails ? 1 : 2;
    owe(id, 20);
    claim();
    attempt(id, true);
    const std::size_t claimed = claim();
    BOOST_REQUIRE(endpoints.start(now));
    finish(id, !fails, fails ? 1ms : 300ms);
    auto returned = endpoints.take_returned();
    BOOST_TEST(returned.size() == claimed - 1);
    BOOST_TEST(endpoints.in_hand() == 0u);
    queued[id] = 1;
    BOOST_TEST(claim() == 0u);  // what comes behind it must not overtake
    endpoints.not_given_back(std::move(returned));
    BOOST_TEST(claim() == 0u);
    endpoints.given_back(endpoints.take_returned());
    BOOST_TEST(claim() == 1u);
    attempt(id, true);
  }
}

BOOST_AUTO_TEST_CASE(what_comes_of_a_claim_that_was_under_way_goes_back_too) {
  owe(1, 100);
  claim();
  attempt(1, true);
  claim();
  const auto wishes = std::vector<ClaimWish>{{.webhook_id = 1, .count = 1}};
  ClaimedDelivery later;
  later.webhook_id = 1;
  later.settings = settings.at(1);
  BOOST_REQUIRE(endpoints.start(now));
  finish(1, false);
  endpoints.take_returned();
  endpoints.claimed(wishes, {.deliveries = {later}, .held_up = {}}, now);
  BOOST_TEST(!endpoints.start(now));
  BOOST_TEST(endpoints.take_returned().size() == 1u);
}

BOOST_AUTO_TEST_CASE(no_more_is_claimed_ahead_than_goes_out_in_a_quarter_of_a_second) {
  owe(1, 100);
  claim();
  BOOST_REQUIRE(endpoints.start(now));
  finish(1, true, 100ms);
  BOOST_TEST(claim() == 2u);
}

BOOST_AUTO_TEST_CASE(no_webhook_gets_more_than_half_of_the_workers) {
  owe(1, 100, {.concurrency = 32});
  BOOST_TEST(claim() == 4u);
}

BOOST_AUTO_TEST_CASE(the_limits_of_a_webhook_are_known_from_its_first_claim) {
  owe(1, 100, {.concurrency = 3, .rate_limit = 2});
  WebhookEndpoints fresh{8, [] { return 0.5; }};
  fresh.note_added(1, now);
  const auto all = [](std::int64_t) { return true; };
  auto wishes = fresh.choose(all, now, next);
  BOOST_REQUIRE(wishes.size() == 1u);
  BOOST_TEST(wishes[0].count == 1u);
  ClaimedDelivery first;
  first.webhook_id = 1;
  first.settings = settings.at(1);
  fresh.claimed(wishes, {.deliveries = {first}, .held_up = {}}, now);
  BOOST_TEST(fresh.choose(all, now, next).empty());
  BOOST_TEST(fresh.choose(all, now + 499ms, next).empty());
  BOOST_TEST(fresh.choose(all, now + 500ms, next).size() == 1u);
}

BOOST_AUTO_TEST_CASE(an_endpoint_that_fails_three_times_backs_off_as_a_whole_with_one_probe_at_a_time) {
  owe(1, 100, {.concurrency = 4});
  BOOST_TEST(claim() == 4u);
  EndpointHealth health;
  for (int i = 0; i < 3; ++i) {
    BOOST_REQUIRE(endpoints.start(now));
    health = finish(1, false);
  }
  BOOST_TEST(health.failures == 3);
  BOOST_TEST((health.backs_off_for == 1s));
  BOOST_REQUIRE(endpoints.start(now));
  finish(1, false);
  BOOST_TEST(claim() == 0u);
  BOOST_TEST((next == now + 2s));
  endpoints.note_added(1, now);  // it may be a test
  BOOST_REQUIRE(choose().size() == 1u);
  BOOST_TEST(choose().at(0).tests);
  endpoints.claimed(choose(), {}, now);
  BOOST_TEST(choose().empty());
  now += 2s;
  BOOST_TEST(choose().at(0).probe);
  BOOST_TEST(claim() == 1u);
  BOOST_TEST(claim() == 0u);
  BOOST_TEST((attempt(1, false).backs_off_for == 4s));
  now += 4s;
  BOOST_TEST(claim() == 1u);
  health = attempt(1, true);
  BOOST_TEST(health.failures == 0);
  BOOST_TEST(health.was_failing);
  BOOST_TEST(claim() > 4u);
}

BOOST_AUTO_TEST_CASE(the_back_off_ends_at_a_minute_and_retry_after_makes_it_longer) {
  owe(1, 1000, {.failures = 40});
  BOOST_TEST(claim() == 1u);
  BOOST_TEST((attempt(1, false).backs_off_for == 60s));
  now += 60s;
  claim();
  BOOST_REQUIRE(endpoints.start(now));
  const auto health = endpoints.finished(1, {.succeeded = false, .duration = 1ms, .retry_after = 10min}, now);
  BOOST_TEST((health.backs_off_for == 10min));
}

BOOST_AUTO_TEST_CASE(a_back_off_outlives_the_relay) {
  owe(1, 5, {.failures = 7, .backs_off_for = 9s});
  BOOST_TEST(claim() == 0u);
  now += 9s;
  BOOST_TEST(claim() == 1u);
}

BOOST_AUTO_TEST_CASE(hanging_endpoints_never_get_all_workers) {
  for (std::int64_t id = 1; id <= 20; ++id) owe(id, 10);
  BOOST_TEST(claim() == 6u);  // three quarters of eight
  owe(21, 10);
  BOOST_TEST(claim() == 0u);
  for (std::int64_t id = 1; id <= 6; ++id) {
    BOOST_REQUIRE(endpoints.start(now));
    finish(id, true);
  }
  BOOST_TEST(claim() > 6u);  // proven ones are not held to it
}

BOOST_AUTO_TEST_CASE(failing_endpoints_get_half_of_the_workers) {
  for (std::int64_t id = 1; id <= 20; ++id) owe(id, 10, {.failures = 1});
  BOOST_TEST(claim() == 4u);
}

BOOST_AUTO_TEST_CASE(a_rate_limit_spaces_the_claims) {
  owe(1, 100, {.rate_limit = 10});
  int sent = 0;
  for (int tick = 0; tick < 200; ++tick, now += 5ms) {  // one second
    claim();
    if (!endpoints.start(now)) continue;
    finish(1, true);
    ++sent;
  }
  BOOST_TEST(sent == 10);
}

BOOST_AUTO_TEST_CASE(what_another_transaction_has_locked_is_looked_for_again_soon) {
  owe(1, 10);
  endpoints.claimed(choose(), {.deliveries = {}, .held_up = {1}}, now);
  BOOST_TEST(choose().empty());
  BOOST_TEST((next > now && next <= now + 10ms));
  now = next;
  BOOST_TEST(claim() == 1u);
}

BOOST_AUTO_TEST_CASE(a_retry_is_not_forgotten_over_what_is_sent_before_it) {
  owe(1, 2);
  BOOST_TEST(claim() == 1u);
  BOOST_REQUIRE(endpoints.start(now));
  finish(1, false);
  endpoints.note_retry(1, now + 100ms);
  endpoints.note_retry(1, now + 300ms);
  while (claim() > 0) {  // the other one
    while (endpoints.start(now)) finish(1, true);
  }
  for (const auto wait : {100ms, 200ms}) {
    BOOST_TEST(choose().empty());
    BOOST_TEST((next == now + wait));
    now = next;
    owe(1, 1, {.due_in = 5s});
    BOOST_TEST(claim() == 1u);
    while (endpoints.start(now)) finish(1, true);
    BOOST_TEST(claim() == 0u);
  }
}

BOOST_AUTO_TEST_CASE(what_a_probe_or_a_test_took_says_nothing_of_where_the_backlog_begins) {
  owe(1, 3);
  for (int i = 0; i < 3; ++i) {
    claim();
    attempt(1, false);
  }
  const auto send_late = [&](bool test) {
    const auto wishes = choose();
    BOOST_REQUIRE(wishes.size() == 1u);
    BOOST_TEST((test ? wishes[0].tests : wishes[0].probe));
    ClaimedDelivery late;
    late.webhook_id = 1;
    late.due_at = 1'000'000'000;
    late.settings = settings.at(1);
    endpoints.claimed(wishes, {.deliveries = {late}, .held_up = {}}, now);
  };
  endpoints.note_added(1, now);
  send_late(true);
  attempt(1, false);
  now += 1min;
  BOOST_TEST(choose().at(0).due_from == 0);
  send_late(false);
  attempt(1, true);
  BOOST_TEST(choose().at(0).due_from == 0);
}

BOOST_AUTO_TEST_CASE(what_had_no_worker_is_looked_at_when_one_is_free) {
  for (std::int64_t id = 1; id <= 7; ++id) owe(id, 1);
  BOOST_TEST(claim() == 6u);  // three quarters of eight
  BOOST_TEST(claim() == 0u);
  BOOST_TEST(!endpoints.wants_look());
  BOOST_REQUIRE(endpoints.start(now));
  finish(1, true);
  BOOST_TEST(endpoints.wants_look());
  BOOST_TEST(claim() == 1u);
}

BOOST_AUTO_TEST_CASE(what_waited_too_long_for_a_worker_is_given_back_while_its_lease_lasts) {
  owe(1, 1);
  BOOST_TEST(claim() == 1u);
  now += 10s;
  BOOST_TEST(!endpoints.start(now));
  BOOST_TEST(endpoints.in_hand() == 0u);
  const auto returned = endpoints.take_returned();
  BOOST_REQUIRE(returned.size() == 1u);
  queued[1] = 1;
  BOOST_TEST(claim() == 0u);
  endpoints.given_back(returned);
  BOOST_TEST(claim() == 1u);
  BOOST_TEST(endpoints.start(now).has_value());
}

BOOST_AUTO_TEST_CASE(a_test_whose_row_is_locked_is_looked_for_again) {
  owe(1, 3);
  for (int i = 0; i < 3; ++i) {
    claim();
    attempt(1, false);
  }
  BOOST_TEST(choose().empty());
  endpoints.note_added(1, now);
  endpoints.claimed(choose(), {.deliveries = {}, .held_up = {1}}, now);
  BOOST_TEST(choose().empty());
  BOOST_TEST((next > now && next <= now + 10ms));
  now = next;
  BOOST_TEST(choose().at(0).tests);
}

BOOST_AUTO_TEST_CASE(every_webhook_has_its_turn) {
  for (std::int64_t id = 1; id <= 200; ++id) {
    owe(id, 1, {.concurrency = 1});
  }
  std::map<std::int64_t, int> served;
  for (int i = 0; i < 400 && served.size() < 200; ++i) {
    claim();
    while (const auto delivery = endpoints.start(now)) {
      finish(delivery->webhook_id, true);
      ++served[delivery->webhook_id];
    }
  }
  BOOST_TEST(served.size() == 200u);
}

BOOST_AUTO_TEST_CASE(nothing_is_claimed_after_a_410_until_the_database_knows) {
  owe(1, 10);
  claim();
  BOOST_REQUIRE(endpoints.start(now));
  endpoints.finished(1, {.succeeded = false, .gone = true, .endless = false, .duration = 1ms, .retry_after = {}}, now);
  owe(1, 0);  // read before the outcome was recorded
  const auto wishes = choose();
  BOOST_TEST((wishes.empty() || wishes[0].state == OwedWebhook::State::disabled));
  endpoints.note_disabled(1);
  owe(1, 0, {.state = OwedWebhook::State::enabled});  // enabled again
  BOOST_TEST((choose().at(0).state == OwedWebhook::State::enabled));
}

BOOST_AUTO_TEST_CASE(only_its_owner_claims_a_webhook_and_who_is_not_any_more_gives_back) {
  owe(1, 100);
  claim();
  attempt(1, true);
  const std::size_t claimed = claim();
  BOOST_TEST(endpoints.choose([](std::int64_t) { return false; }, now, next).empty());
  BOOST_TEST(endpoints.take_returned().size() == claimed - 1);
  BOOST_TEST(endpoints.in_hand() == 1u);
}

BOOST_AUTO_TEST_CASE(an_endpoint_whose_answers_do_not_end_is_served_now_and_then) {
  owe(1, 100);
  int sent = 0;
  for (int tick = 0; tick < 100; ++tick, now += 1ms) {
    claim();
    if (!endpoints.start(now)) continue;
    endpoints.finished(1, {.succeeded = true, .endless = true, .duration = 1ms, .retry_after = {}}, now);
    ++sent;
  }
  BOOST_TEST(sent == 5);
}

BOOST_AUTO_TEST_CASE(at_the_end_all_that_was_not_started_is_returned) {
  owe(1, 100, {.concurrency = 2});
  claim();
  BOOST_REQUIRE(endpoints.start(now));
  endpoints.return_all();
  BOOST_TEST(endpoints.take_returned().size() == 1u);
  BOOST_TEST(endpoints.in_hand() == 1u);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker
