// Event streams (SSE), on a real event log.

#include <boost/test/unit_test.hpp>

#include "tests/relay/relay_fixture.hpp"

using namespace gamepicker;
using namespace gamepicker::testing;

namespace {

struct StreamFixture : RelayFixture {
  std::string token(Role role = Role::viewer, std::chrono::seconds lifetime = std::chrono::hours(1)) {
    return TokenAuthority(config.jwt_secret).issue(role, "overlay", lifetime);
  }

  /// Sends the request; `more` are header lines.
  std::unique_ptr<RawClient> ask(const std::string& query, const std::string& bearer, const std::string& more = "") {
    auto client = std::make_unique<RawClient>(relay->socket());
    client->send_bytes("GET /api/sessions/live" + query + " HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n" +
                       (bearer.empty() ? "" : "Authorization: Bearer " + bearer + "\r\n") + more + "\r\n");
    return client;
  }

  /// The same, up to the first message, which is kept in `first`.
  std::unique_ptr<RawClient> open(const std::string& query, const std::string& more = "") {
    auto client = ask(query, token(), more);
    const std::string head = client->read_head();
    BOOST_TEST_REQUIRE(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"), head);
    first = client->read_event();
    return client;
  }

  void expect_refusal(const std::string& query, const std::string& bearer, const std::string& status,
                      const std::string& message) {
    const auto client = ask(query, bearer);
    const std::string answer = client->read_to_end();
    BOOST_TEST(answer.starts_with("HTTP/1.1 " + status + " "), answer);
    BOOST_TEST(answer.ends_with("{\"error\":\"" + message + "\"}"), answer);
    BOOST_TEST((answer.find("WWW-Authenticate: Bearer\r\n") != std::string::npos) == (status == "401"));
  }

  std::string first;
};

std::string made(int n, const std::string& channel, int offset, int id) {
  const std::string number = std::to_string(offset);
  return "id: " + channel + ":" + number +
         "\ndata: {\"type\":\"made\",\"timestamp\":\"2026-03-15T20:30:00.000Z\",\"data\":{\"n\":" + std::to_string(n) +
         "},\"id\":" + std::to_string(id) + ",\"channel\":\"" + channel + "\",\"offset\":" + number + "}\n\n";
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(event_stream, StreamFixture)

BOOST_AUTO_TEST_CASE(a_stream_carries_the_same_messages_with_their_offsets_as_ids) {
  const auto client = open("?sessionId=1");
  BOOST_TEST(
      first ==
      "event: subscribed\nid: session.1:0\ndata: {\"type\":\"subscribed\",\"channel\":\"session.1\",\"offset\":0}\n\n");
  commit("session.1", 2);
  commit("orders", 1);
  commit("session.1", 1, 3);
  for (const auto& [n, id] : {std::pair(1, 1), {2, 2}, {3, 4}}) {
    BOOST_TEST(client->read_event() == made(n, "session.1", n, id));
  }
}

BOOST_AUTO_TEST_CASE(a_stream_and_a_socket_follow_one_channel_side_by_side) {
  const auto stream = open("?channel=ord%65rs");
  const auto socket = connect();
  socket->send_text(subscribe("orders"));
  socket->next_text();
  commit("orders", 40);
  for (int n = 1; n <= 40; ++n) {
    BOOST_TEST_REQUIRE(stream->read_event() == made(n, "orders", n, n));
    BOOST_TEST_REQUIRE(offset_in(socket->next_text()) == static_cast<std::uint64_t>(n));
  }
}

BOOST_AUTO_TEST_CASE(the_last_event_id_resumes) {
  commit("orders", 5);
  auto client = open("?channel=orders", "Last-Event-ID: orders:3\r\n");
  BOOST_TEST(first ==
             "event: subscribed\nid: orders:3\ndata: "
             "{\"type\":\"subscribed\",\"channel\":\"orders\",\"offset\":3,\"recovered\":true}\n\n");
  BOOST_TEST(client->read_event() == made(4, "orders", 4, 4));
  BOOST_TEST(client->read_event() == made(5, "orders", 5, 5));
  for (const char* ahead_or_gone : {"orders:6", "orders:18446744073709551615"}) {
    client = open("?channel=orders", std::string("Last-Event-ID: ") + ahead_or_gone + "\r\n");
    BOOST_TEST((first.find("\"offset\":5,\"recovered\":false}") != std::string::npos), first);
  }
  for (const char* of_no_use : {"sessions:3", "orders:", "orders:x", "3", "orders:-1"}) {
    client = open("?channel=orders", std::string("Last-Event-ID: ") + of_no_use + "\r\n");
    BOOST_TEST((first.find("\"offset\":5}") != std::string::npos), first);
  }
}

BOOST_AUTO_TEST_CASE(what_is_no_request_for_a_stream_is_refused_by_http) {
  expect_refusal("?sessionId=1", "", "401", "Access token required");
  expect_refusal("?sessionId=1", "x.y.z", "403", "Invalid or expired token");
  expect_refusal("?sessionId=1", token(Role::viewer, std::chrono::seconds(-1)), "403", "Invalid or expired token");
  for (const char* query : {"", "?", "?sessionId=", "?sessionId=0", "?sessionId=x", "?sessionId=1x", "?%zz=1"}) {
    BOOST_TEST_CONTEXT(query) {
      expect_refusal(query, token(), "400", "Session ID required");
    }
  }
  expect_refusal("?channel=", token(), "400", "Invalid channel name");
  expect_refusal("?channel=a%20b", token(), "400", "Invalid channel name");
  expect_refusal("?sessionId=2", token(), "404", "Session not found");
  expect_refusal("?channel=private-a", token(), "403", "Insufficient permissions");
  // Of the token in the URL nobody takes notice.
  expect_refusal("?sessionId=1&token=" + token(), "", "401", "Access token required");
}

BOOST_AUTO_TEST_CASE(a_member_of_a_presence_channel_may_follow_it_by_a_stream) {
  const auto client = open("?channel=presence-session.1");
  BOOST_TEST((first.find(R"("presence":{"count":1,"ids":["overlay"],"hash":{"overlay":{}}}})") != std::string::npos),
             first);
}

BOOST_AUTO_TEST_CASE(the_end_of_the_token_ends_the_stream) {
  const auto client = ask("?sessionId=1", token(Role::viewer, std::chrono::seconds(1)));
  const std::string all = client->read_to_end();
  BOOST_TEST(all.ends_with("\n\nevent: close\ndata: {\"code\":4401,\"reason\":\"token expired\"}\n\n"), all);
}

BOOST_AUTO_TEST_CASE(a_restart_is_told_to_streams_too) {
  const auto client = open("?sessionId=1");
  restart_relay();
  BOOST_TEST(client->read_to_end() == "event: close\ndata: {\"code\":1012,\"reason\":\"service restart\"}\n\n");
}

BOOST_AUTO_TEST_CASE(what_a_client_sends_on_a_stream_is_not_read_as_frames) {
  const auto client = open("?channel=orders");
  client->send_bytes("\xFF\xFFnonsense");
  commit("orders", 1);
  BOOST_TEST(client->read_event() == made(1, "orders", 1, 1));
}

BOOST_AUTO_TEST_SUITE_END()
