#include <chrono>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "io_fixture.hpp"

namespace gamepicker {
namespace {

using namespace std::chrono_literals;
using testing::IoFixture;
using testing::RawClient;
using Clock = std::chrono::steady_clock;

const std::string kNotAuthenticated = R"({"type":"error","message":"Not authenticated"})";
const std::string kInvalidToken = R"({"type":"auth_error","message":"Invalid or expired token"})";
const std::string kPong = R"({"type":"pong"})";

/// After it has been answered, everything the client sent before was dealt with.
void check_alive(RawClient& client) {
  client.send_text(R"({"type":"ping"})");
  BOOST_TEST(client.next_text() == kPong);
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(io, IoFixture)

BOOST_AUTO_TEST_CASE(the_first_frame_greets_with_a_random_uuid) {
  start();
  RawClient client(config.relay_socket);
  BOOST_TEST(client.upgrade().find("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n") != std::string::npos);
  const std::string greeting = client.next_text();
  const std::string before = R"({"type":"connection_established","socketId":")";
  BOOST_TEST_REQUIRE(greeting.size() == before.size() + 36 + 23);
  BOOST_TEST(greeting.substr(0, before.size()) == before);
  BOOST_TEST(greeting[before.size() + 14] == '4');
  BOOST_TEST(greeting.substr(before.size() + 36) == R"(","activityTimeout":60})");
}

BOOST_AUTO_TEST_CASE(requests_that_are_no_upgrade_get_a_json_error) {
  start();
  const struct {
    std::string request;
    std::string status;
  } cases[] = {
      {"GET /api/sessions/live HTTP/1.1\r\nHost: a\r\n\r\n", "426 "},
      {"POST /api/sessions/live HTTP/1.1\r\nHost: a\r\n\r\n", "405 "},
      {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: "
       "13\r\n"
       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
       "404 "},
      {"nonsense\r\n\r\n", "400 "},
      {"GET / HTTP/1.1\r\nX: " + std::string(9000, 'a') + "\r\n\r\n", "431 "},
  };
  for (const auto& one : cases) {
    RawClient client(config.relay_socket);
    client.send_bytes(one.request);
    const std::string answer = client.read_to_end();
    BOOST_TEST(answer.substr(0, 9 + one.status.size()) == "HTTP/1.1 " + one.status);
    BOOST_TEST(answer.find("\r\n\r\n{\"error\":\"") != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(the_request_may_arrive_in_pieces_and_frames_right_behind_it) {
  start();
  RawClient slow(config.relay_socket);
  const std::string request =
      "GET /api/sessions/live?a=b HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
  for (const char c : request) slow.send_bytes({&c, 1});
  BOOST_TEST(slow.read_head().starts_with("HTTP/1.1 101 "));

  RawClient eager(config.relay_socket);
  const std::string ping = std::string("\x81\x8f\0\0\0\0", 6) + R"({"type":"ping"})";
  eager.send_bytes(request + ping + ping);
  BOOST_TEST(eager.read_head().starts_with("HTTP/1.1 101 "));
  eager.next_text();
  BOOST_TEST(eager.next_text() == kPong);
  BOOST_TEST(eager.next_text() == kPong);
}

BOOST_AUTO_TEST_CASE(messages_before_and_after_authentication_are_answered_to_the_letter) {
  start();
  const std::string good = R"({"type":"auth","token":")" + token() + R"("})";
  const struct {
    std::string sent;
    std::string answer;
  } steps[] = {
      {R"({"type":"ping"})", kPong},
      {R"({"type":"ping","ack":"7"})", R"({"type":"pong","ack":"7"})"},
      {R"({"type":"subscribe","sessionId":1})", kNotAuthenticated},
      {R"({"type":"whatever"})", kNotAuthenticated},
      {"hello", R"({"type":"error","message":"Invalid message format"})"},
      {"[1]", R"({"type":"error","message":"Invalid message format"})"},
      {R"({"type":7})", R"({"type":"error","message":"Invalid message format"})"},
      {R"({"a":1,"ack":"x"})", R"({"type":"error","message":"Invalid message format","ack":"x"})"},
      {R"({"type":"auth"})", R"({"type":"auth_error","message":"Token required"})"},
      {R"({"type":"auth","token":"a.b.c","ack":"t"})",
       R"({"type":"auth_error","message":"Invalid or expired token","ack":"t"})"},
      {good, R"({"type":"auth_success","message":"Authenticated successfully"})"},
      {R"({"type":"whatever"})", R"({"type":"error","message":"Unknown message type: whatever"})"},
      {R"({"type":"subscribe"})", R"({"type":"error","message":"Session ID required"})"},
      {R"({"type":"subscribe","sessionId":"1"})", R"({"type":"error","message":"Session ID required"})"},
      {R"({"type":"subscribe","sessionId":99})", R"({"type":"error","message":"Session not found"})"},
      {R"({"type":"unsubscribe","sessionId":1})", R"({"type":"error","message":"Not subscribed"})"},
      {R"({"type":"subscribe","sessionId":2,"ack":"s"})",
       R"({"type":"subscribed","sessionId":2,"message":"Subscribed to session 2","channel":"session.2","offset":41,"ack":"s"})"},
      {R"({"type":"unsubscribe","sessionId":2,"ack":"u"})",
       R"({"type":"unsubscribed","sessionId":2,"message":"Unsubscribed from session 2","ack":"u"})"},
      {good, R"({"type":"auth_success","message":"Authenticated successfully"})"},
  };
  const auto client = connect();
  for (const auto& step : steps) {
    client->send_text(step.sent);
    BOOST_TEST(client->next_text() == step.answer);
  }
  BOOST_TEST(tracker.waits_until_tracked("session.2", false));
}

BOOST_AUTO_TEST_CASE(three_failed_authentications_close_4401) {
  start();
  const auto client = connect();
  for (int i = 0; i < 3; ++i) {
    client->send_text(R"({"type":"auth","token":"no"})");
    BOOST_TEST(client->next_text() == kInvalidToken);
  }
  BOOST_TEST(client->next_close() == "4401 authentication failed");
}

BOOST_AUTO_TEST_CASE(a_bearer_token_on_the_upgrade_authenticates) {
  start();
  const auto client = connect("Authorization: Bearer " + token() + "\r\n");
  BOOST_TEST(client->next_text() == R"({"type":"auth_success","message":"Authenticated successfully"})");
  const auto mistaken = connect("Authorization: Bearer no\r\n");
  BOOST_TEST(mistaken->next_text() == kInvalidToken);
}

BOOST_AUTO_TEST_CASE(who_does_not_authenticate_in_time_is_closed_4401) {
  config.relay_auth_timeout = 200ms;
  start();
  const auto client = connect();
  const auto authenticated = connect_authenticated();
  BOOST_TEST(client->next_close() == "4401 authentication timeout");
  check_alive(*authenticated);
}

BOOST_AUTO_TEST_CASE(an_expired_token_is_announced_and_closed_4401_unless_renewed) {
  start();
  const auto client = connect();
  const auto renewing = connect();
  const std::string short_lived = R"({"type":"auth","token":")" + token(2s) + R"("})";
  for (RawClient* one : {client.get(), renewing.get()}) {
    one->send_text(short_lived);
    one->next_text();
  }
  renewing->send_text(R"({"type":"auth","token":")" + token() + R"("})");
  renewing->next_text();
  BOOST_TEST(client->next_text() == kInvalidToken);
  BOOST_TEST(client->next_close() == "4401 token expired");
  check_alive(*renewing);
}

BOOST_AUTO_TEST_CASE(subscribers_get_each_event_once_in_order_and_nobody_else_does) {
  start();
  const auto a = connect_subscribed(1);
  const auto b = connect_subscribed(1);
  const auto other = connect_subscribed(2);
  for (std::uint64_t i = 1; i <= 200; ++i) publish("session.1", i, "e" + std::to_string(i));
  publish("session.1", 200, "a repeated one");
  publish("session.2", 42, "other");
  for (int i = 1; i <= 200; ++i) {
    BOOST_TEST(a->next_text() == "e" + std::to_string(i));
    BOOST_TEST(b->next_text() == "e" + std::to_string(i));
  }
  BOOST_TEST(other->next_text() == "other");
  check_alive(*a);
  const auto late = connect_authenticated();
  late->send_text(R"({"type":"subscribe","sessionId":1})");
  BOOST_TEST(late->next_text().ends_with(R"("offset":200})"));
}

BOOST_AUTO_TEST_CASE(every_authenticated_client_hears_the_channel_of_all_and_others_do_not) {
  start();
  const auto authenticated = connect_authenticated();
  const auto stranger = connect();
  publish("sessions", 1, "started");
  BOOST_TEST(authenticated->next_text() == "started");
  check_alive(*stranger);
}

BOOST_AUTO_TEST_CASE(an_answer_that_takes_time_joins_seamlessly) {
  start();
  const auto client = connect_authenticated();
  tracker.hold_answers();
  client->send_text(R"({"type":"subscribe","sessionId":1,"ack":"a"})");
  client->send_text(R"({"type":"subscribe","sessionId":1,"ack":"b"})");
  check_alive(*client);
  publish("session.1", 6, "covered by the answer");
  tracker.set_head("session.1", 6);
  tracker.release_answers();
  publish("session.1", 7, "live");
  BOOST_TEST(client->next_text().ends_with(R"("offset":6,"ack":"a"})"));
  BOOST_TEST(client->next_text().ends_with(R"("offset":6,"ack":"b"})"));
  BOOST_TEST(client->next_text() == "live");
}

BOOST_AUTO_TEST_CASE(a_channel_is_let_go_when_its_last_subscriber_leaves_even_before_the_answer) {
  start();
  auto first = connect_subscribed(1);
  auto second = connect_subscribed(1);
  first.reset();
  check_alive(*second);
  BOOST_TEST(tracker.waits_until_tracked("session.1", true));
  second.reset();
  BOOST_TEST(tracker.waits_until_tracked("session.1", false));

  auto hasty = connect_authenticated();
  tracker.hold_answers();
  hasty->send_text(R"({"type":"subscribe","sessionId":2})");
  check_alive(*hasty);
  hasty.reset();
  check_alive(*connect_authenticated());
  tracker.release_answers();
  BOOST_TEST(tracker.waits_until_tracked("session.2", false));
}

BOOST_AUTO_TEST_CASE(a_large_broadcast_reaches_everybody_while_subscribers_leave) {
  config.relay_max_connections = 5000;
  start();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 1300; ++i) clients.push_back(connect_subscribed(1));
  for (std::uint64_t offset = 1; offset <= 30; ++offset) {
    publish("session.1", offset, "e" + std::to_string(offset));
    if (offset % 3 == 0) {
      for (std::size_t i = offset; i < clients.size(); i += 97) clients[i].reset();
    }
  }
  std::size_t complete = 0;
  for (const auto& client : clients) {
    if (!client) continue;
    for (int offset = 1; offset <= 30; ++offset) {
      BOOST_TEST_REQUIRE(client->next_text() == "e" + std::to_string(offset));
    }
    ++complete;
  }
  BOOST_TEST(complete > 1000u);
}

BOOST_AUTO_TEST_CASE(silence_is_pinged_and_then_closed_4408) {
  config.relay_ping_after = 200ms;
  config.relay_idle_timeout = 700ms;
  start();
  const auto silent = connect_authenticated();
  const auto begin = Clock::now();
  BOOST_TEST(silent->next_frame().opcode == 9);
  BOOST_TEST((Clock::now() - begin > 150ms));
  BOOST_TEST(silent->next_close() == "4408 no activity");
  BOOST_TEST((Clock::now() - begin > 650ms));

  const auto answering = connect_authenticated();
  for (int i = 0; i < 6; ++i) {
    const auto ping = answering->next_frame();
    BOOST_TEST(ping.opcode == 9);
    answering->send_frame(10, ping.payload);
  }
  check_alive(*answering);
}

BOOST_AUTO_TEST_CASE(pings_are_answered_and_a_close_is_returned) {
  start();
  const auto client = connect();
  client->send_frame(9, "are you there");
  const auto pong = client->next_frame();
  BOOST_TEST(pong.opcode == 10);
  BOOST_TEST(pong.payload == "are you there");
  client->send_frame(8, std::string("\x03\xE8", 2) + "bye");
  BOOST_TEST(client->next_close() == "1000 ");
  BOOST_TEST(client->read_to_end() == "");
}

BOOST_AUTO_TEST_CASE(what_breaks_the_protocol_is_closed_with_its_code) {
  start();
  const struct {
    const char* name;
    std::string bytes;
    std::string code;
  } cases[] = {
      {"binary", std::string("\x82\x81\0\0\0\0a", 7), "1003"},
      {"not masked",
       "\x81\x01"
       "a",
       "1002"},
      {"invalid UTF-8", std::string("\x81\x81\0\0\0\0\xFF", 7), "1007"},
      {"too big, by its header alone", std::string("\x81\xFF\0\0\0\0\0\x01\0\x01\0\0\0\0", 14), "1009"},
  };
  for (const auto& one : cases) {
    BOOST_TEST_CONTEXT(one.name) {
      const auto client = connect();
      client->send_bytes(one.bytes);
      BOOST_TEST(client->next_close().substr(0, 4) == one.code);
    }
  }
}

BOOST_AUTO_TEST_CASE(who_has_come_when_the_relay_stops_still_gets_in_and_is_told_to_come_back) {
  start();
  RawClient at_the_door(config.relay_socket);
  RawClient silent(config.relay_socket);
  RawClient first(config.relay_socket);
  first.upgrade();  // the others are accepted too by then, or wait in the kernel's queue
  begin_stop();
  BOOST_TEST(at_the_door.upgrade().starts_with("HTTP/1.1 101 "));
  BOOST_TEST(at_the_door.next_close() == "1012 service restart");
  BOOST_TEST(first.next_close() == "1012 service restart");
  BOOST_TEST(silent.read_to_end().starts_with("HTTP/1.1 408 "));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker
