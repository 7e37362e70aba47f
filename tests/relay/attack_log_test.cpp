// Attacks on what stands between clients and the event log, be the database there or not; see attack_test.cpp.

#include <string>

#include <boost/test/unit_test.hpp>

#include "tests/relay/attack_fixture.hpp"
#include "tests/relay/relay_fixture.hpp"

using namespace gamepicker;
using namespace gamepicker::testing;

namespace {

struct LogAttackFixture : RelayFixture {
  /// One who behaves follows the channel "calm".
  void begin() {
    auto client = connect();
    client->send_text(subscribe("calm"));
    client->next_text();
    bystander = std::make_unique<Bystander>(
        std::move(client), [this](std::uint64_t offset) { commit("calm", 1, static_cast<int>(offset)); });
    bystander->expect_peace();
  }

  Crowd connect_many(int size) {
    int number = 0;
    return gather(static_cast<std::size_t>(size),
                  [&] { return connect(Role::bot, "attacker " + std::to_string(++number)); });
  }

  /// Until the result is destroyed nobody writes to this channel, which there has to be.
  std::unique_ptr<test::Connection> block(const std::string& channel) {
    auto blocker = database.connect();
    blocker->execute("START TRANSACTION");
    blocker->query("SELECT head FROM channels WHERE name = '" + channel + "' FOR UPDATE");
    return blocker;
  }

  std::unique_ptr<Bystander> bystander;
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(attack_log, LogAttackFixture)

BOOST_AUTO_TEST_CASE(a_flood_of_subscriptions_ends_at_a_hundred_and_then_with_4429) {
  begin();
  const Crowd crowd = connect_many(50);
  for (std::size_t n = 0; n < crowd.size(); ++n) {
    for (int batch = 0; batch < 3; ++batch) {
      std::string names;
      for (int i = 0; i < 50; ++i) {
        names += (i > 0 ? ",\"" : "\"") + std::to_string(n) + ":" + std::to_string(batch * 50 + i) + "\"";
      }
      crowd[n]->send_text(R"({"type":"subscribe_batch","channels":[)" + names + "]}");
    }
  }
  bystander->expect_peace();
  for (const auto& client : crowd) {
    std::size_t succeeded = 0;
    for (int batch = 0; batch < 3; ++batch) {
      const std::string text = client->next_text();
      if (text.find(R"("failed":{})") != std::string::npos) ++succeeded;
      if (text.find(R"("succeeded":[],"failed":{)") != std::string::npos) {
        BOOST_TEST((text.find(R"(:149":"Subscription limit reached"}})") != std::string::npos));
      }
    }
    BOOST_TEST(succeeded == 2u);
  }
  for (const auto& client : crowd) {
    for (int i = 0; i < 700; ++i) {
      client->send_text(R"({"type":"unsubscribe","channel":"0:0"})");
      client->send_text(subscribe("loop"));
    }
  }
  bystander->expect_peace();
  expect_closes(crowd, "4429 too many messages");
}

BOOST_AUTO_TEST_CASE(who_resumes_a_long_history_and_never_reads_it_is_closed_4410) {
  config.relay_max_queue_age = std::chrono::milliseconds(1000);
  restart_relay();
  database.execute(
      "INSERT INTO events (channel, seq, type, body) SELECT 'long', n.value, 'made', CONCAT('{\"event\":\"made\","
      "\"timestamp\":\"2026-03-15T20:30:00.000Z\",\"data\":\"', REPEAT('x', 2000), '\"}') "
      "FROM JSON_TABLE(CONCAT('[0', REPEAT(',0', 4999), ']'), '$[*]' COLUMNS (value FOR ORDINALITY)) n");
  database.execute("INSERT INTO channels (name, head) VALUES ('long', 5000)");
  begin();
  const Crowd crowd = connect_many(100);  // 10 MB for each
  for (const auto& client : crowd) client->send_text(subscribe("long", R"(,"offset":0)"));
  const auto quick = connect();
  quick->send_text(subscribe("long", R"(,"offset":0)"));
  BOOST_TEST(quick->next_text() == subscribed("long", 0, R"(,"recovered":true)"));
  for (std::uint64_t offset = 1; offset <= 5000; ++offset) BOOST_TEST_REQUIRE(offset_in(quick->next_text()) == offset);
  bystander->expect_peace();
  BOOST_TEST(waits_until([&] { return relay->metrics().io.slow_closes.value() == crowd.size(); }));
  expect_closes(crowd, "4410 slow consumer");
}

BOOST_AUTO_TEST_CASE(client_events_that_the_database_does_not_take_are_refused_when_a_few_mib_wait) {
  begin();
  commit("private-x", 1);
  const Crowd crowd = connect_many(30);
  for (const auto& client : crowd) {
    client->send_text(subscribe("private-x"));
    client->next_text();
  }
  const auto blocker = block("private-x");
  const std::string event =
      R"({"type":"client_event","channel":"private-x","event":"client-flood","ack":"a","data":")" +
      std::string(60'000, 'x') + "\"}";
  for (int i = 0; i < 90; ++i) {  // 160 MB
    for (const auto& client : crowd) client->send_text(event);
  }
  for (std::size_t i = 10; i < crowd.size(); ++i) {
    for (int n = 0; n < 80; ++n) {
      BOOST_TEST_REQUIRE(crowd[i]->next_text() ==
                         R"({"type":"error","message":"Rate limit exceeded","retryAfterMs":1000,"ack":"a"})");
    }
  }
  bystander->expect_peace();
  blocker->execute("ROLLBACK");
  bystander->expect_peace();
}

BOOST_AUTO_TEST_CASE(who_comes_and_goes_in_a_presence_channel_leaves_nothing_that_waits_for_the_database) {
  begin();
  const auto member = connect(Role::bot, "member");
  member->send_text(subscribe("presence-lobby"));
  member->next_text();
  Crowd crowd = connect_many(300);
  const auto blocker = block("presence-lobby");
  const std::string enter = subscribe("presence-lobby", R"(,"data":")" + std::string(4000, 'x') + "\"");
  for (int i = 0; i < 49; ++i) {  // 59 MB
    for (const auto& client : crowd) {
      client->send_text(enter);
      client->send_text(R"({"type":"unsubscribe","channel":"presence-lobby"})");
    }
  }
  for (const auto& client : crowd) {
    for (int i = 0; i < 49; ++i) {
      BOOST_TEST_REQUIRE(client->next_text() == R"({"type":"unsubscribed","channel":"presence-lobby"})");
    }
  }
  bystander->expect_peace();
  blocker->execute("ROLLBACK");
  const auto newcomer = connect(Role::bot, "newcomer");
  newcomer->send_text(subscribe("presence-lobby"));
  BOOST_TEST(newcomer->next_text().starts_with(R"({"type":"subscribed","channel":"presence-lobby")"));
  bystander->expect_peace();
  for (auto& client : crowd) {
    for (int i = 0; i < 700; ++i) {
      client->send_text(subscribe("presence-lobby"));
      client->send_text(R"({"type":"unsubscribe","channel":"presence-lobby"})");
    }
    BOOST_TEST_REQUIRE(client->next_close() == "4429 too many messages");
    client.reset();
  }
  bystander->expect_peace();
}

BOOST_AUTO_TEST_SUITE_END()
