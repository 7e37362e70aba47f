// What webhooks hear of the relay itself: through bursts, without the database, and when it stops.

#include <algorithm>
#include <deque>

#include <boost/test/unit_test.hpp>

#include "tests/relay/relay_events_fixture.hpp"

using namespace gamepicker;
using namespace gamepicker::testing;

namespace {

/// One after the other as fast as they are let in; of `kept` at most the sockets are open at the same time.
constexpr int kBurst = 10'000;
constexpr std::size_t kKept = 4'000;

}  // namespace

BOOST_FIXTURE_TEST_SUITE(relay_events_under_load, RelayEventsFixture)

BOOST_AUTO_TEST_CASE(a_burst_of_10000_connects_loses_none_and_delays_nobody) {
  want(Type::connection);
  want(Type::disconnection);
  auto bystander = connect();
  const std::string token = TokenAuthority(config.jwt_secret).issue(Role::viewer, "ann", 1h);
  Clock::duration longest{};
  {
    std::deque<RawClient> clients;
    for (int i = 0; i < kBurst; ++i) {
      if (clients.size() >= kKept) {
        clients.front().read_head();  // it has got in
        clients.pop_front();
      }
      clients.emplace_back(relay->socket())
          .send_bytes(
              "GET /api/sessions/live HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer " +
              token + "\r\n\r\n");
      if (i % 100 != 0) continue;
      const auto asked = Clock::now();
      bystander->send_text(R"({"type":"ping"})");
      BOOST_TEST_REQUIRE(bystander->next_text() == R"({"type":"pong"})");
      longest = std::max(longest, Clock::now() - asked);
    }
    for (RawClient& client : clients) client.read_head();
  }
  BOOST_TEST((longest < 250ms), std::chrono::duration<double>(longest).count());
  BOOST_TEST(waits_until_count("connection", std::to_string(kBurst + 1), 60s));
  BOOST_TEST(waits_until_count("disconnection", std::to_string(kBurst), 60s));
  BOOST_TEST(database.value("SELECT COUNT(DISTINCT JSON_VALUE(body, '$.data.socketId')) FROM events") ==
             std::to_string(kBurst + 1));
  BOOST_TEST(database.value("SELECT COUNT(*) FROM (SELECT MIN(IF(type = 'connection', seq, NULL)) AS came, "
                            "MIN(IF(type = 'disconnection', seq, NULL)) AS went FROM events "
                            "GROUP BY JSON_VALUE(body, '$.data.socketId')) AS sockets WHERE went < came") == "0");
  BOOST_TEST(relay->metrics().relay_events.dropped.value() == 0u);
}

BOOST_AUTO_TEST_CASE(what_happens_while_the_database_is_away_is_written_when_it_is_back) {
  add_webhook("*");
  expect_wanted(Type::connection, true);
  auto bystander = connect();
  BOOST_TEST_REQUIRE(waits_until_count("connection", "1"));
  take_database_away();
  std::vector<std::string> ids;
  for (int i = 0; i < 1'000; ++i) {
    const auto client = connect();
    ids.push_back(last_socket_id);
  }
  bystander->send_text(R"({"type":"ping"})");
  BOOST_TEST(bystander->next_text() == R"({"type":"pong"})");
  BOOST_TEST(waits_until([&] { return relay->metrics().relay_events.errors.value() > 0; }));
  bring_database_back();
  BOOST_TEST(waits_until_count("disconnection", "1000", 30s));
  BOOST_TEST(count("connection") == "1001");
  for (std::size_t i = 0; i < ids.size(); i += 100) BOOST_TEST(story(ids[i]) == "connection disconnection");
}

BOOST_AUTO_TEST_CASE(a_relay_that_starts_without_the_database_misses_nobody) {
  add_webhook("connection");
  relay.reset();
  take_database_away();
  relay = std::make_unique<Relay>(config, folder);
  auto client = connect();
  bring_database_back();
  BOOST_TEST(waits_until_count("connection", "1"));
}

BOOST_AUTO_TEST_CASE(beyond_the_bound_the_newest_are_dropped_and_counted) {
  add_webhook("*");
  WantedRelayEvents wanted;
  RelayEventMetrics metrics;
  RelayEventWriter writer(config, wanted, metrics);
  constexpr std::size_t kLarge = 1u << 20;
  constexpr std::size_t kMany = RelayEventWriter::kMaxWaitingBytes / kLarge + 10;
  for (std::size_t i = 0; i < kMany; ++i) {
    RelayEvent event;
    event.type = Type::subscribe;
    event.socket_id = std::to_string(i);
    event.channel = "orders";
    event.text = "\"" + std::string(kLarge, 'x') + "\"";
    writer.write(std::move(event));
  }
  BOOST_TEST(metrics.dropped.value() == 11u);  // each is a bit larger than a megabyte
  writer.start();
  BOOST_TEST(waits_until_count("subscribe", std::to_string(kMany - 11), 30s));
  writer.stop();
  BOOST_TEST(metrics.written.value() == kMany - 11);
  BOOST_TEST(database.value("SELECT GROUP_CONCAT(JSON_VALUE(body, '$.data.socketId') ORDER BY seq) FROM events")
                 .starts_with("0,1,2,3,4,5,6,7,8,9,10,"));
}

BOOST_AUTO_TEST_CASE(what_waits_when_it_stops_is_written_or_counted_as_lost) {
  add_webhook("*");
  const auto write_some = [](RelayEventWriter& writer) {
    for (int i = 0; i < 500; ++i) {
      RelayEvent event;
      event.type = Type::unsubscribe;
      event.channel = "orders";
      writer.write(std::move(event));
    }
  };
  WantedRelayEvents wanted;
  RelayEventMetrics metrics;
  {
    RelayEventWriter writer(config, wanted, metrics);
    write_some(writer);
    writer.start();
    writer.stop();
  }
  BOOST_TEST(count("unsubscribe") == "500");
  take_database_away();
  RelayEventWriter writer(config, wanted, metrics);
  write_some(writer);
  writer.start();
  const auto asked = Clock::now();
  writer.stop();
  BOOST_TEST((Clock::now() - asked < 3s));
  bring_database_back();
  BOOST_TEST(count("unsubscribe") == "500");
  BOOST_TEST(metrics.dropped.value() == 500u);
}

BOOST_AUTO_TEST_SUITE_END()
