// Sentences of the WebSocket contract that no other file holds.

#include <chrono>
#include <filesystem>
#include <string>

#include <boost/test/unit_test.hpp>

#include "tests/relay/relay_fixture.hpp"

using namespace gamepicker;
using namespace gamepicker::testing;
using namespace std::chrono_literals;

namespace {

const std::string kPong = R"({"type":"pong"})";
const std::string kNotAuthenticated = error("Not authenticated");

/// A ping of exactly this size.
std::string ping_of(std::size_t bytes) {
  const std::string start = R"({"type":"ping","padding":")";
  return start + std::string(bytes - start.size() - 2, 'x') + "\"}";
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(contract, IoFixture)

BOOST_AUTO_TEST_CASE(the_defaults_are_those_of_the_contract) {
  const Config defaults;
  BOOST_TEST((defaults.relay_auth_timeout == 10s));
  BOOST_TEST((defaults.relay_ping_after == 25s));
  BOOST_TEST((defaults.relay_idle_timeout == 60s));
  BOOST_TEST(defaults.relay_max_queue_bytes == 1048576u);
  BOOST_TEST((defaults.retention_events == std::chrono::days(7)));
  BOOST_TEST(defaults.retention_events_per_channel == 10000u);
  BOOST_TEST(defaults.cors_origin == "*");
}

BOOST_AUTO_TEST_CASE(by_default_any_origin_may_connect) {
  start();
  connect("Origin: https://anywhere.example\r\n");
  connect("Origin: null\r\n");
}

BOOST_AUTO_TEST_CASE(before_authentication_there_is_auth_and_ping_and_nothing_else) {
  start();
  const auto client = connect();
  for (const char* type : {"subscribe", "unsubscribe", "subscribe_batch", "client_event", "poll.leading", "", "x"}) {
    client->send_text(std::string(R"({"type":")") + type + R"(","sessionId":1,"channel":"orders","ack":"a"})");
    BOOST_TEST(client->next_text() == R"({"type":"error","message":"Not authenticated","ack":"a"})");
  }
  client->send_text(R"({"type":"ping"})");
  BOOST_TEST(client->next_text() == kPong);
}

BOOST_AUTO_TEST_CASE(every_kind_of_failed_authentication_counts) {
  start();
  const std::string foreign = TokenAuthority("another secret, as long as the first").issue(Role::admin, "x", 1h);
  const auto client = connect("Authorization: Bearer " + foreign + "\r\n");
  BOOST_TEST(client->next_text() == R"({"type":"auth_error","message":"Invalid or expired token"})");
  client->send_text(R"({"type":"auth","token":")" + token(-1s) + "\"}");
  BOOST_TEST(client->next_text() == R"({"type":"auth_error","message":"Invalid or expired token"})");
  client->send_text(R"({"type":"auth","token":7})");
  BOOST_TEST(client->next_text() == R"({"type":"auth_error","message":"Token required"})");
  BOOST_TEST(client->next_close() == "4401 authentication failed");
}

BOOST_AUTO_TEST_CASE(a_message_may_have_64_kib_and_not_a_byte_more) {
  start();
  const auto client = connect();
  client->send_text(ping_of(65536));
  BOOST_TEST(client->next_text() == kPong);
  client->send_text(ping_of(65537));
  BOOST_TEST(client->next_close() == "1009 message too big");
}

BOOST_AUTO_TEST_CASE(errors_never_close_the_socket) {
  start();
  const auto client = connect_authenticated();
  for (int i = 0; i < 50; ++i) {
    client->send_text("[");
    BOOST_TEST_REQUIRE(client->next_text() == error("Invalid message format"));
    client->send_text(R"({"type":"nonsense"})");
    BOOST_TEST_REQUIRE(client->next_text().starts_with(R"({"type":"error","message":")"));
  }
  publish("sessions", 1, "still there");
  while (client->next_text() != "still there") continue;
}

BOOST_AUTO_TEST_CASE(a_fresh_token_in_time_keeps_the_subscriptions_and_their_events) {
  start();
  const auto client = connect();
  client->send_text(R"({"type":"auth","token":")" + token(2s) + "\"}");
  client->next_text();
  client->send_text(R"({"type":"subscribe","sessionId":1})");
  client->next_text();
  const auto expiring = connect();
  expiring->send_text(R"({"type":"auth","token":")" + token(2s) + "\"}");
  expiring->next_text();
  publish("session.1", 1, "before");
  BOOST_TEST(client->next_text() == "before");
  client->send_text(R"({"type":"auth","token":")" + token() + R"(","ack":"r"})");
  BOOST_TEST(client->next_text() == R"({"type":"auth_success","message":"Authenticated successfully","ack":"r"})");
  BOOST_TEST(expiring->next_text() == R"({"type":"auth_error","message":"Invalid or expired token"})");
  BOOST_TEST(expiring->next_close() == "4401 token expired");
  publish("session.1", 2, "after");
  BOOST_TEST(client->next_text() == "after");
}

BOOST_AUTO_TEST_CASE(any_frame_counts_as_activity) {
  config.relay_ping_after = 1000ms;
  config.relay_idle_timeout = 2000ms;
  start();
  const auto talking = connect_authenticated(), ponging = connect_authenticated(), silent = connect_authenticated();
  int closed = 0;
  // Until one who says nothing has met its end, and a while after that.
  for (int i = 0; i < 30; ++i) {
    talking->send_text(R"({"type":"ping"})");
    BOOST_TEST_REQUIRE(talking->next_text() == kPong);
    ponging->send_frame(10, "");
    std::this_thread::sleep_for(90ms);
    metrics.io.closes.each([&](std::uint16_t code, std::uint64_t count) {
      if (code == 4408) closed = static_cast<int>(count);
    });
  }
  BOOST_TEST(closed == 1);
  BOOST_TEST(silent->next_close() == "4408 no activity");
  for (RawClient* client : {talking.get(), ponging.get()}) {
    client->send_text(R"({"type":"ping"})");
    BOOST_TEST(client->next_text() == kPong);
  }
}

BOOST_AUTO_TEST_CASE(a_stopping_relay_accepts_nobody_and_spreads_its_closes) {
  start();
  std::vector<std::unique_ptr<RawClient>> clients;
  while (clients.size() < 400) clients.push_back(connect());
  begin_stop();
  const auto closed = [this] {
    std::uint64_t closes = 0;
    metrics.io.closes.each([&](std::uint16_t code, std::uint64_t count) { closes += code == 1012 ? count : 0; });
    return closes;
  };
  BOOST_TEST(waits_until([&] { return closed() > 0; }));
  BOOST_TEST(closed() < 200u);
  BOOST_TEST(!std::filesystem::exists(config.relay_socket));
  for (const auto& client : clients) BOOST_TEST_REQUIRE(client->next_close() == "1012 service restart");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(contract_log, RelayFixture)

BOOST_AUTO_TEST_CASE(the_ack_comes_back_with_whatever_is_answered) {
  const struct {
    std::string message;
    std::string answer;
  } steps[] = {
      {R"({"type":"auth")", R"({"type":"auth_error","message":"Token required")"},
      {R"({"type":"ping")", R"({"type":"pong")"},
      {R"({"type":"subscribe","channel":"orders")", R"({"type":"subscribed","channel":"orders","offset":0)"},
      {R"({"type":"subscribe","channel":"orders","offset":0)",
       R"({"type":"subscribed","channel":"orders","offset":0,"recovered":true)"},
      {R"({"type":"unsubscribe","channel":"orders")", R"({"type":"unsubscribed","channel":"orders")"},
      {R"({"type":"unsubscribe","channel":"orders")", R"({"type":"error","message":"Not subscribed")"},
      {R"({"type":"subscribe","channel":"a b")", R"({"type":"error","message":"Invalid channel name")"},
      {R"({"type":"subscribe","channel":"private-x")", R"({"type":"error","message":"Insufficient permissions")"},
      {R"({"type":"subscribe","sessionId":99)", R"({"type":"error","message":"Session not found")"},
      {R"({"type":"subscribe")", R"({"type":"error","message":"Session ID required")"},
      {R"({"type":"unsubscribe")", R"({"type":"error","message":"Session ID required")"},
      {R"({"type":"poll.leading")", R"({"type":"error","message":"Insufficient permissions")"},
      {R"({"type":"nonsense")", R"({"type":"error","message":"Unknown message type: nonsense")"},
      {R"({"type":1)", R"({"type":"error","message":"Invalid message format")"},
      {R"({"type":"subscribe_batch","channels":["orders"])",
       R"({"type":"subscribed_batch","succeeded":["orders"],"failed":{})"},
      {R"({"type":"subscribe_batch","channels":"orders")", R"({"type":"error","message":"Invalid message format")"},
      {R"({"type":"subscribe","channel":"private-mine")",
       R"({"type":"subscribed","channel":"private-mine","offset":0)"},
      {R"({"type":"client_event","channel":"private-mine","event":"client-x","data":1)", R"({"type":"ack")"},
  };
  const auto client = connect(Role::viewer, "v", {"private-mine"});
  for (const auto& step : steps) {
    client->send_text(step.message + R"(,"ack":"n 1"})");
    BOOST_TEST(client->next_text() == step.answer + R"(,"ack":"n 1"})");
  }
}

BOOST_AUTO_TEST_CASE(a_batch_has_at_most_fifty_channels) {
  const auto client = connect();
  const auto batch = [](int size) {
    std::string names;
    for (int i = 0; i < size; ++i) names += (i > 0 ? ",\"c" : "\"c") + std::to_string(i) + '"';
    return R"({"type":"subscribe_batch","channels":[)" + names + "]}";
  };
  client->send_text(batch(51));
  BOOST_TEST(client->next_text() == error("Invalid message format"));
  client->send_text(batch(50));
  BOOST_TEST(client->next_text().ends_with(R"("failed":{}})"));
  commit("c49", 1);
  BOOST_TEST(offset_in(client->next_text()) == 1u);
}

BOOST_AUTO_TEST_CASE(a_claim_names_one_channel_unless_it_ends_with_a_star) {
  const auto viewer = connect(Role::viewer, "v", {"private-mine", "private-*-x", "presence-team-*"});
  for (const char* channel :
       {"private-mine2", "private-min", "private-a-x", "presence-team", "presence-tea", "private-*"}) {
    viewer->send_text(subscribe(channel));
    const std::string answer = viewer->next_text();
    BOOST_TEST((answer == error("Insufficient permissions") || answer == error("Invalid channel name")), answer);
  }
  viewer->send_text(subscribe("private-mine"));
  BOOST_TEST(viewer->next_text() == subscribed("private-mine", 0));
  for (const auto& [role, name] : {std::pair(Role::bot, "b"), {Role::admin, "a"}}) {
    const auto client = connect(role, name);
    client->send_text(subscribe("private-mine2"));
    BOOST_TEST(client->next_text() == subscribed("private-mine2", 0));
  }
}

BOOST_AUTO_TEST_CASE(an_admin_tells_the_leader_of_a_poll_as_a_bot_does) {
  database.execute("UPDATE sessions SET poll_started_at = UTC_TIMESTAMP(3)");
  const auto admin = connect(Role::admin);
  admin->send_text(R"({"type":"subscribe","sessionId":1})");
  admin->next_text();
  admin->send_text(R"({"type":"poll.leading","sessionId":1,"gameId":17,"label":"Quiplash 3","votes":12})");
  BOOST_TEST(admin->next_text().starts_with(R"({"type":"poll.leading","timestamp":")"));
  BOOST_TEST(database.value("SELECT poll_leading_label FROM sessions") == "Quiplash 3");
}

BOOST_AUTO_TEST_CASE(who_was_closed_for_being_slow_resumes_by_its_offset_without_loss) {
  config.relay_max_queue_bytes = 65536;
  config.relay_max_queue_age = 500ms;
  restart_relay();
  auto client = connect();
  client->send_text(subscribe("long"));
  client->next_text();
  database.execute(
      "INSERT INTO events (channel, seq, type, body) SELECT 'long', n.value, 'made', CONCAT('{\"event\":\"made\","
      "\"timestamp\":\"2026-03-15T20:30:00.000Z\",\"data\":\"', REPEAT('x', 2000), '\"}') "
      "FROM JSON_TABLE(CONCAT('[0', REPEAT(',0', 999), ']'), '$[*]' COLUMNS (value FOR ORDINALITY)) n; "
      "INSERT INTO channels (name, head) VALUES ('long', 1000)");
  BOOST_TEST(waits_until([&] { return relay->metrics().io.slow_closes.value() == 1; }));
  std::uint64_t seen = 0;
  for (auto frame = client->next_frame(); frame.opcode != 8; frame = client->next_frame()) {
    if (frame.opcode == 1) BOOST_TEST_REQUIRE(offset_in(frame.payload) == ++seen);
  }
  BOOST_TEST(seen < 1000u);
  client = connect();
  client->send_text(subscribe("long", R"(,"offset":)" + std::to_string(seen)));
  BOOST_TEST(client->next_text() == subscribed("long", static_cast<int>(seen), R"(,"recovered":true)"));
  while (seen < 1000) BOOST_TEST_REQUIRE(offset_in(client->next_text()) == ++seen);
}

BOOST_AUTO_TEST_SUITE_END()
