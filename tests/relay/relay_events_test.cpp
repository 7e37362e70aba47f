// What webhooks hear of the relay itself: which events, of what, in which order.

#include <boost/test/unit_test.hpp>

#include "tests/relay/relay_events_fixture.hpp"

using namespace gamepicker;
using namespace gamepicker::testing;

namespace {

std::string unsubscribe(const std::string& channel) {
  return R"({"type":"unsubscribe","channel":")" + channel + "\"}";
}

}  // namespace

namespace std {
std::ostream& operator<<(std::ostream& out, const std::vector<std::string>& lines) {
  for (const std::string& line : lines) out << line << '\n';
  return out;
}
}  // namespace std

BOOST_FIXTURE_TEST_SUITE(relay_events, RelayEventsFixture)

BOOST_AUTO_TEST_CASE(each_event_says_exactly_this) {
  add_webhook("*");
  expect_wanted(Type::client_event, true);
  auto client = connect(Role::bot, "ann \\\"a\\\"");
  const std::string id = last_socket_id;
  client->send_text(subscribe("presence-lobby", R"(,"data":{"colour":"red","n":[1,null]})"));
  client->next_text();
  client->send_text(R"({"type":"subscribe","sessionId":1})");
  client->next_text();
  client->send_text(
      R"({"type":"client_event","channel":"presence-lobby","event":"client-typing","data":{"from":{"x":"}"}},"ack":"1"})");
  BOOST_TEST(client->next_text() == R"({"type":"ack","ack":"1"})");
  client->send_text(R"({"type":"client_event","channel":"presence-lobby","event":"client-idle","ack":"2"})");
  BOOST_TEST(client->next_text() == R"({"type":"ack","ack":"2"})");
  client->send_text(unsubscribe("presence-lobby"));
  client->next_text();
  BOOST_TEST_REQUIRE(waits_until_count("presence_leave", "1"));
  client->send_frame(8, "\x0f\xa1so long");
  BOOST_TEST_REQUIRE(waits_until_count("disconnection", "1"));

  const auto of = [](const std::string& type, const std::string& data) {
    return R"({"event":")" + type + R"(","timestamp":T,"data":)" + data + "}";
  };
  using Bodies = std::vector<std::string>;
  const std::string socket = R"("socketId":")" + id + "\"";
  const std::string lobby = R"("channel":"presence-lobby")";
  const std::string ann = R"("ann \\\"a\\\"")";
  BOOST_TEST(bodies("connection") == Bodies{of("connection", "{" + socket + R"(,"connectedAt":T,"user":{"id":)" + ann +
                                                                 R"(,"name":)" + ann + R"(,"role":"bot"}})")});
  BOOST_TEST(bodies("subscribe") ==
             (Bodies{of("subscribe", "{" + socket + "," + lobby + R"(,"channelData":{"colour":"red","n":[1,null]}})"),
                     of("subscribe", "{" + socket + R"(,"channel":"session.1","channelData":null})")}));
  const std::string info = "{" + lobby + R"(,"id":)" + ann + R"(,"info":{"colour":"red","n":[1,null]}})";
  BOOST_TEST(bodies("presence_join") == Bodies{of("presence_join", info)});
  BOOST_TEST(
      bodies("client_event") ==
      (Bodies{of("client_event", "{" + socket + "," + lobby + R"(,"event":"client-typing","data":{"from":{"x":"}"}}})"),
              of("client_event", "{" + socket + "," + lobby + R"(,"event":"client-idle","data":null})")}));
  BOOST_TEST(bodies("unsubscribe") == Bodies{of("unsubscribe", "{" + socket + "," + lobby + "}")});
  BOOST_TEST(bodies("presence_leave") == Bodies{of("presence_leave", info)});
  BOOST_TEST(bodies("disconnection") ==
             Bodies{of("disconnection", "{" + socket + R"(,"code":4001,"reason":"so long"})")});
  // The client's events and those of presence are there for subscribers besides.
  BOOST_TEST(database.value("SELECT COUNT(*) FROM events WHERE channel = 'presence-lobby'") == "4");
  BOOST_TEST(database.value("SELECT COUNT(*) FROM events e LEFT JOIN webhook_deliveries d ON d.event_id = e.id "
                            "WHERE (e.channel = 'webhook/events') <> (d.id IS NOT NULL)") == "0");
  BOOST_TEST(database.value("SELECT COUNT(*) FROM events WHERE body LIKE '%eyJ%'") == "0");  // a token's first bytes
}

BOOST_AUTO_TEST_CASE(what_nobody_wants_is_not_written) {
  add_webhook("game.added");
  add_webhook("connection");
  database.execute("UPDATE webhooks SET enabled = 0 WHERE id = LAST_INSERT_ID()");
  database.execute("UPDATE webhooks SET enabled = 0 WHERE name = 'w'");
  restart_relay();  // which has to find out
  auto early = connect();
  for (int type = 0; type < static_cast<int>(kRelayEventNames.size()); ++type) {
    expect_wanted(static_cast<Type>(type), false);
  }
  auto client = connect();
  client->send_text(subscribe("presence-lobby"));
  client->next_text();
  client->send_text(R"({"type":"client_event","channel":"presence-lobby","event":"client-x","ack":"1"})");
  BOOST_TEST(client->next_text() == R"({"type":"ack","ack":"1"})");
  client->send_text(unsubscribe("presence-lobby"));
  client->next_text();
  client.reset();
  BOOST_TEST_REQUIRE(
      waits_until([&] { return database.value("SELECT COUNT(*) FROM events WHERE type = 'presence.left'") == "1"; }));
  restart_relay();  // all that waited is written
  BOOST_TEST(database.value("SELECT COUNT(*) FROM events WHERE channel = 'webhook/events'") == "0");
  BOOST_TEST(database.value("SELECT COUNT(*) FROM channels WHERE name = 'webhook/events'") == "0");
}

BOOST_AUTO_TEST_CASE(a_webhook_created_just_now_hears_the_next_connection) {
  for (int i = 0; i < 3; ++i) {  // the nudge, not the look that comes every second
    database.execute("DELETE FROM webhook_patterns");
    Nudge(folder + "/nudge.sock").send();
    expect_wanted(Type::connection, false);
    const auto since = Clock::now();
    add_webhook("connection");
    Nudge(folder + "/nudge.sock").send();
    expect_wanted(Type::connection, true);
    BOOST_TEST((Clock::now() - since < 500ms));
  }
  add_webhook("subscribe");
  expect_wanted(Type::subscribe, true);  // without any nudge
  BOOST_TEST(!relay->wanted().contains(Type::disconnection));
}

BOOST_AUTO_TEST_CASE(a_webhook_with_channels_hears_of_these_only) {
  add_webhook("*", "private-%");
  expect_wanted(Type::connection, true);
  auto client = connect();
  client->send_text(subscribe("orders"));
  client->next_text();
  client->send_text(subscribe("private-x"));
  client->next_text();
  client->send_text(unsubscribe("orders"));
  client->next_text();
  client->send_text(unsubscribe("private-x"));
  client->next_text();
  BOOST_TEST_REQUIRE(waits_until_count("unsubscribe", "1"));
  client.reset();
  restart_relay();
  BOOST_TEST(story(last_socket_id) == "subscribe:private-x unsubscribe:private-x");
}

BOOST_AUTO_TEST_CASE(what_became_of_a_client_is_told_once_and_in_order) {
  add_webhook("*");
  expect_wanted(Type::subscribe, true);
  std::vector<std::string> ids;
  for (int i = 0; i < 50; ++i) {
    auto client = connect();
    ids.push_back(last_socket_id);
    for (int twice = 0; twice < 2; ++twice) {
      client->send_text(subscribe("orders"));
      client->next_text();
    }
    client->send_text(R"({"type":"auth","token":")" +
                      TokenAuthority(config.jwt_secret).issue(Role::admin, "tester", 1h) + "\"}");
    client->send_text(unsubscribe("orders"));
    client->send_text(unsubscribe("orders"));
    client->send_text(subscribe("private-y"));
    client->send_text(unsubscribe("private-y"));  // before it is in
    client->send_text(subscribe("orders", R"(,"offset":0)"));
    client->send_text(subscribe("private-x"));
    std::string last;
    while (!last.starts_with(R"({"type":"subscribed","channel":"private-x")")) last = client->next_text();
  }
  BOOST_TEST_REQUIRE(waits_until_count("disconnection", "50"));
  for (const std::string& id : ids) {
    BOOST_TEST(story(id) ==
               "connection subscribe:orders unsubscribe:orders subscribe:orders subscribe:private-x disconnection");
  }
}

BOOST_AUTO_TEST_CASE(a_fresh_token_that_opens_less_unsubscribes) {
  add_webhook("*");
  expect_wanted(Type::unsubscribe, true);
  auto client = connect(Role::viewer, "ann", {"private-x"});
  const std::string id = last_socket_id;
  client->send_text(subscribe("private-x"));
  client->next_text();
  client->send_text(R"({"type":"auth","token":")" + TokenAuthority(config.jwt_secret).issue(Role::viewer, "ann", 1h) +
                    "\"}");
  client->next_text();
  BOOST_TEST_REQUIRE(waits_until_count("unsubscribe", "1"));
  BOOST_TEST(story(id) == "connection subscribe:private-x unsubscribe:private-x");
}

BOOST_AUTO_TEST_CASE(who_is_refused_or_never_authenticates_is_not_told_of) {
  add_webhook("*");
  expect_wanted(Type::connection, true);
  auto stranger = std::make_unique<RawClient>(relay->socket());
  stranger->upgrade();
  stranger->send_text(R"({"type":"auth","token":"wrong"})");
  stranger->next_text();
  stranger->next_text();
  stranger.reset();
  auto viewer = connect(Role::viewer, "ann");
  viewer->send_text(subscribe("private-x"));
  BOOST_TEST(viewer->next_text() == error("Insufficient permissions"));
  viewer->send_text(R"({"type":"subscribe","sessionId":99})");
  BOOST_TEST(viewer->next_text() == error("Session not found"));
  viewer.reset();
  BOOST_TEST_REQUIRE(waits_until_count("disconnection", "1"));
  restart_relay();
  BOOST_TEST(story(last_socket_id) == "connection disconnection");
  BOOST_TEST(database.value("SELECT COUNT(*) FROM events") == "2");
}

BOOST_AUTO_TEST_CASE(an_event_stream_is_a_connection_with_one_subscription) {
  add_webhook("*");
  expect_wanted(Type::connection, true);
  const auto ask = [&](const std::string& query) {
    auto client = std::make_unique<RawClient>(relay->socket());
    client->send_bytes("GET /api/sessions/live?" + query +
                       " HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\nAuthorization: Bearer " +
                       TokenAuthority(config.jwt_secret).issue(Role::viewer, "ann", 1h) + "\r\n\r\n");
    client->read_head();
    return client;
  };
  ask("sessionId=99");  // there is no such session
  auto stream = ask("sessionId=1");
  stream->read_event();
  stream.reset();
  BOOST_TEST_REQUIRE(waits_until_count("disconnection", "1"));
  BOOST_TEST(bodies("subscribe").at(0).ends_with(R"("channel":"session.1","channelData":null}})"));
  BOOST_TEST(bodies("disconnection").at(0).ends_with(R"("code":1006,"reason":""}})"));
  BOOST_TEST(database.value("SELECT GROUP_CONCAT(type ORDER BY seq) FROM events") ==
             "connection,subscribe,disconnection");
}

BOOST_AUTO_TEST_CASE(a_relay_that_stops_tells_of_the_goodbyes) {
  want(Type::disconnection);
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 100; ++i) clients.push_back(connect());
  relay.reset();
  BOOST_TEST(database.value("SELECT COUNT(*) FROM events WHERE body LIKE "
                            "'%\"code\":1012,\"reason\":\"service restart\"}}'") == "100");
}

BOOST_AUTO_TEST_SUITE_END()
