// Resume, channels and client events, on a real event log.

#include <boost/test/unit_test.hpp>

#include "tests/relay/relay_fixture.hpp"

using namespace gamepicker;
using namespace gamepicker::testing;

namespace {

/// Reads events up to this offset; they follow each other without a gap from `from`.
void expect_contiguous(RawClient& client, std::uint64_t from, std::uint64_t to) {
  for (std::uint64_t offset = from; offset <= to; ++offset) BOOST_TEST_REQUIRE(offset_in(client.next_text()) == offset);
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(resume, RelayFixture)

BOOST_AUTO_TEST_CASE(what_came_after_the_offset_is_sent_first_and_then_live_events) {
  commit("orders", 10);
  auto client = connect();
  client->send_text(subscribe("orders", R"(,"offset":4)"));
  BOOST_TEST(client->next_text() == subscribed("orders", 4, R"(,"recovered":true)"));
  commit("orders", 2, 11);
  expect_contiguous(*client, 5, 12);
}

BOOST_AUTO_TEST_CASE(recent_events_are_served_without_the_database) {
  auto first = connect();
  first->send_text(subscribe("orders"));
  BOOST_TEST(first->next_text() == subscribed("orders", 0));
  commit("orders", 5);
  expect_contiguous(*first, 1, 5);
  database.execute("DELETE FROM events");
  auto second = connect();
  second->send_text(subscribe("orders", R"(,"offset":3)"));
  BOOST_TEST(second->next_text() == subscribed("orders", 3, R"(,"recovered":true)"));
  expect_contiguous(*second, 4, 5);
}

BOOST_AUTO_TEST_CASE(an_offset_that_is_up_to_date_gets_nothing_and_goes_live) {
  commit("orders", 3);
  auto client = connect();
  client->send_text(subscribe("orders", R"(,"offset":3)"));
  BOOST_TEST(client->next_text() == subscribed("orders", 3, R"(,"recovered":true)"));
  commit("orders", 1, 4);
  expect_contiguous(*client, 4, 4);
}

BOOST_AUTO_TEST_CASE(an_offset_older_than_what_is_kept_or_ahead_starts_anew_and_never_in_part) {
  commit("orders", 6);
  database.execute("DELETE FROM events WHERE seq <= 3");
  // Before anybody has noted where they end, and then that the first five are gone for subscribers, be they there or
  // not.
  for (const char* offset : {"0", "2", "7", "9007199254740991"}) {
    auto client = connect();
    client->send_text(subscribe("orders", std::string(R"(,"offset":)") + offset));
    BOOST_TEST(client->next_text() == subscribed("orders", 6, R"(,"recovered":false)"));
    client->send_text(R"({"type":"ping"})");
    BOOST_TEST(client->next_text() == R"({"type":"pong"})");
  }
  auto client = connect();
  client->send_text(subscribe("orders", R"(,"offset":3)"));
  BOOST_TEST(client->next_text() == subscribed("orders", 3, R"(,"recovered":true)"));
  expect_contiguous(*client, 4, 6);
}

BOOST_AUTO_TEST_CASE(events_that_are_only_there_for_webhooks_are_no_history) {
  commit("orders", 6);
  database.execute("DELETE FROM events WHERE seq IN (2, 4); UPDATE channels SET tail = 4");
  restart_relay();
  for (const int offset : {0, 1, 3, 4, 5}) {
    auto client = connect();
    client->send_text(subscribe("orders", R"(,"offset":)" + std::to_string(offset)));
    const bool kept = offset >= 4;
    BOOST_TEST(client->next_text() ==
               subscribed("orders", kept ? offset : 6, kept ? R"(,"recovered":true)" : R"(,"recovered":false)"));
    if (kept) expect_contiguous(*client, static_cast<std::uint64_t>(offset + 1), 6);
  }
}

BOOST_AUTO_TEST_CASE(who_is_further_behind_than_a_channel_keeps_starts_anew) {
  config.retention_events_per_channel = 10;
  restart_relay();
  commit("orders", 12);
  for (const int offset : {1, 2}) {
    auto client = connect();
    client->send_text(subscribe("orders", R"(,"offset":)" + std::to_string(offset)));
    const std::string reply = client->next_text();
    BOOST_TEST((reply == subscribed("orders", 12, R"(,"recovered":false)")) == (offset == 1));
  }
}

BOOST_AUTO_TEST_CASE(more_than_a_page_and_more_than_the_queue_holds_is_resumed_too) {
  database.execute(
      "INSERT INTO events (channel, seq, type, body) SELECT 'orders', n.value, 'made', CONCAT('{\"event\":\"made\","
      "\"timestamp\":\"2026-03-15T20:30:00.000Z\",\"data\":\"', REPEAT('x', 500), '\"}') "
      "FROM JSON_TABLE(CONCAT('[0', REPEAT(',0', 4999), ']'), '$[*]' COLUMNS (value FOR ORDINALITY)) n");
  database.execute("INSERT INTO channels (name, head) VALUES ('orders', 5000)");
  auto client = connect();
  client->send_text(subscribe("orders", R"(,"offset":10)"));
  BOOST_TEST(client->next_text() == subscribed("orders", 10, R"(,"recovered":true)"));
  commit("orders", 20, 5001);
  expect_contiguous(*client, 11, 5020);
}

BOOST_AUTO_TEST_CASE(many_come_back_after_a_restart_while_events_go_on) {
  constexpr int kClients = 50;
  commit("orders", 300);
  restart_relay();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(connect());
    clients.back()->send_text(subscribe("orders", R"(,"offset":)" + std::to_string(i * 5)));
    if (i % 10 == 0) commit("orders", 1, 301 + i / 10);
  }
  for (int i = 0; i < kClients; ++i) {
    BOOST_TEST_CONTEXT("client " << i) {
      RawClient& client = *clients[static_cast<std::size_t>(i)];
      BOOST_TEST(client.next_text() == subscribed("orders", i * 5, R"(,"recovered":true)"));
      expect_contiguous(client, static_cast<std::uint64_t>(i * 5 + 1), 305);
    }
  }
}

BOOST_AUTO_TEST_CASE(on_the_channel_of_all_clients_everything_behind_the_offset_comes_in_order_what_came_live_too) {
  commit("sessions", 4);
  restart_relay();
  auto client = connect();
  client->send_text(subscribe("sessions"));
  BOOST_TEST(client->next_text() == subscribed("sessions", 4));
  commit("sessions", 1, 5);
  expect_contiguous(*client, 5, 5);
  client->send_text(subscribe("sessions", R"(,"offset":1)"));
  BOOST_TEST(client->next_text() == subscribed("sessions", 1, R"(,"recovered":true)"));
  expect_contiguous(*client, 2, 5);
  commit("sessions", 1, 6);
  expect_contiguous(*client, 6, 6);
}

BOOST_AUTO_TEST_CASE(a_subscribe_while_history_is_being_read_is_answered_behind_it) {
  commit("orders", 300);
  restart_relay();
  auto client = connect();
  client->send_text(subscribe("orders", R"(,"offset":0,"ack":"a")"));
  client->send_text(subscribe("orders", R"(,"ack":"b")"));
  client->send_text(subscribe("orders", R"(,"offset":298,"ack":"c")"));
  client->send_text(subscribe("orders", R"(,"offset":301,"ack":"d")"));
  BOOST_TEST(client->next_text() == subscribed("orders", 0, R"(,"recovered":true,"ack":"a")"));
  expect_contiguous(*client, 1, 300);
  BOOST_TEST(client->next_text() == subscribed("orders", 300, R"(,"ack":"b")"));
  BOOST_TEST(client->next_text() == subscribed("orders", 298, R"(,"recovered":true,"ack":"c")"));
  expect_contiguous(*client, 299, 300);
  BOOST_TEST(client->next_text() == subscribed("orders", 300, R"(,"recovered":false,"ack":"d")"));
  commit("orders", 1, 301);
  expect_contiguous(*client, 301, 301);
}

BOOST_AUTO_TEST_CASE(a_fresh_token_that_opens_fewer_channels_ends_the_others) {
  auto client = connect(Role::viewer, "eve", {"private-a", "private-b"});
  for (const char* channel : {"private-a", "private-b", "orders"}) {
    client->send_text(subscribe(channel));
    BOOST_TEST(client->next_text() == subscribed(channel, 0));
  }
  const std::string token =
      TokenAuthority(config.jwt_secret).issue(Role::viewer, "eve", std::chrono::hours(1), {"private-b"});
  client->send_text(R"({"type":"auth","token":")" + token + "\"}");
  BOOST_TEST(client->next_text() == R"({"type":"auth_success","message":"Authenticated successfully"})");
  BOOST_TEST(client->next_text() == R"({"type":"unsubscribed","channel":"private-a"})");
  for (const char* channel : {"private-a", "private-b", "orders"}) commit(channel, 1);
  BOOST_TEST((client->next_text().find(R"("channel":"private-b")") != std::string::npos));
  BOOST_TEST((client->next_text().find(R"("channel":"orders")") != std::string::npos));
}

BOOST_AUTO_TEST_CASE(a_session_is_resumed_by_its_id) {
  commit("session.1", 3);
  auto client = connect();
  client->send_text(R"({"type":"subscribe","sessionId":1,"offset":1,"ack":"a"})");
  BOOST_TEST(client->next_text() ==
             R"({"type":"subscribed","sessionId":1,"message":"Subscribed to session 1","channel":"session.1",)"
             R"("offset":1,"recovered":true,"ack":"a"})");
  expect_contiguous(*client, 2, 3);
}

BOOST_AUTO_TEST_CASE(bad_offsets_are_invalid_messages) {
  auto client = connect();
  for (const char* offset : {"-1", "1.5", "\"1\"", "true"}) {
    client->send_text(subscribe("orders", std::string(R"(,"offset":)") + offset));
    BOOST_TEST(client->next_text() == error("Invalid message format"));
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(channels, RelayFixture)

BOOST_AUTO_TEST_CASE(public_channels_are_open_and_private_ones_need_a_role_or_a_claim) {
  auto viewer = connect(Role::viewer, "v", {"private-mine", "private-team-*"});
  for (const char* channel : {"orders", "private-mine", "private-team-7"}) {
    viewer->send_text(subscribe(channel));
    BOOST_TEST(viewer->next_text() == subscribed(channel, 0));
  }
  viewer->send_text(subscribe("private-other"));
  BOOST_TEST(viewer->next_text() == error("Insufficient permissions"));
  auto bot = connect(Role::bot, "b");
  bot->send_text(subscribe("private-other"));
  BOOST_TEST(bot->next_text() == subscribed("private-other", 0));
  for (const char* channel : {"", "a b", "a/b", "\u00e4"}) {
    bot->send_text(subscribe(channel));
    BOOST_TEST(bot->next_text() == error("Invalid channel name"));
  }
  bot->send_text(subscribe("session.99"));
  BOOST_TEST(bot->next_text() == error("Session not found"));
}

BOOST_AUTO_TEST_CASE(a_batch_is_answered_once_with_what_succeeded_and_what_failed) {
  auto client = connect(Role::viewer, "v");
  client->send_text(
      R"({"type":"subscribe_batch","channels":["orders","private-x","session.1","session.99","a b"],"ack":"7"})");
  const std::string answer = client->next_text();
  BOOST_TEST(answer.starts_with(R"({"type":"subscribed_batch","succeeded":["orders","session.1"],"failed":{)"));
  for (const char* part : {R"("private-x":"Insufficient permissions")", R"("a b":"Invalid channel name")",
                           R"("session.99":"Session not found")", R"("ack":"7")"}) {
    BOOST_TEST(answer.find(part) != std::string::npos, answer);
  }
  commit("orders", 1);
  expect_contiguous(*client, 1, 1);
  client->send_text(R"({"type":"subscribe_batch","channels":[]})");
  BOOST_TEST(client->next_text() == error("Invalid message format"));
  client->send_text(R"({"type":"unsubscribe","channel":"orders"})");
  BOOST_TEST(client->next_text() == R"({"type":"unsubscribed","channel":"orders"})");
  client->send_text(R"({"type":"unsubscribe","channel":"orders"})");
  BOOST_TEST(client->next_text() == error("Not subscribed"));
}

BOOST_AUTO_TEST_CASE(client_events_reach_the_other_members_with_their_sender) {
  auto listener = connect(Role::bot, "listener");
  listener->send_text(subscribe("private-x"));
  listener->next_text();
  auto sender = connect(Role::bot, "sender");
  const std::string sender_id = last_socket_id;
  sender->send_text(R"({"type":"client_event","channel":"private-x","event":"client-typing","data":{"a":1}})");
  BOOST_TEST(sender->next_text() == error("Not subscribed"));
  sender->send_text(subscribe("private-x"));
  sender->next_text();
  sender->send_text(
      R"({"type":"client_event","channel":"private-x","event":"client-typing","data":{"a":1},"ack":"1"})");
  BOOST_TEST(sender->next_text() == R"({"type":"ack","ack":"1"})");
  const std::string heard = listener->next_text();
  BOOST_TEST(heard.starts_with(R"({"type":"client-typing","timestamp":")"));
  const std::string from = R"("data":{"a":1},"from":{"socketId":")" + sender_id + R"(","userId":"sender"},"id":)";
  BOOST_TEST(heard.find(from) != std::string::npos, heard);
  BOOST_TEST(heard.ends_with(R"("channel":"private-x","offset":1})"));
  sender->send_text(R"({"type":"ping"})");
  BOOST_TEST(sender->next_text() == R"({"type":"pong"})");  // and not its own event

  sender->send_text(R"({"type":"client_event","channel":"orders","event":"client-typing","data":1})");
  BOOST_TEST(sender->next_text() == error("Insufficient permissions"));
  sender->send_text(R"({"type":"client_event","channel":"private-x","event":"game.added","data":1})");
  BOOST_TEST(sender->next_text() == error("Invalid message format"));
}

BOOST_AUTO_TEST_CASE(a_broadcast_leaves_out_the_socket_it_names) {
  auto first = connect();
  const std::string first_id = last_socket_id;
  auto second = connect();
  for (RawClient* client : {first.get(), second.get()}) {
    client->send_text(subscribe("orders"));
    client->next_text();
  }
  const std::string body = event_body("made", "2026-03-15T20:30:00.000Z", "1");
  database.execute("BEGIN; CALL enqueue_event('orders', 'made', '', '" + body + "', '" + first_id + "', 0); COMMIT");
  commit("orders", 1, 2);
  expect_contiguous(*second, 1, 2);
  expect_contiguous(*first, 2, 2);
}

BOOST_AUTO_TEST_CASE(poll_leading_is_rebroadcast_and_the_last_value_is_kept) {
  database.execute("UPDATE sessions SET poll_started_at = UTC_TIMESTAMP(3)");
  auto overlay = connect(Role::viewer, "overlay");
  overlay->send_text(R"({"type":"subscribe","sessionId":1})");
  overlay->next_text();
  overlay->send_text(R"({"type":"poll.leading","sessionId":1,"gameId":17,"label":"Quiplash 3","votes":12})");
  BOOST_TEST(overlay->next_text() == error("Insufficient permissions"));
  auto bot = connect(Role::bot, "bot");
  for (const std::string label : {"Drawful", "Quiplash 3"}) {
    bot->send_text(R"({"type":"poll.leading","sessionId":1,"gameId":17,"label":")" + label +
                   R"(","votes":12,"ack":"x"})");
    BOOST_TEST(bot->next_text() == R"({"type":"ack","ack":"x"})");
    const std::string heard = overlay->next_text();
    const std::string data = R"("data":{"sessionId":1,"gameId":17,"label":")" + label + R"(","votes":12},"id":)";
    BOOST_TEST(heard.find(data) != std::string::npos, heard);
  }
  BOOST_TEST(database.value("SELECT CONCAT_WS(' ', poll_leading_game_id, poll_leading_label, poll_leading_votes) "
                            "FROM sessions") == "17 Quiplash 3 12");
  bot->send_text(R"({"type":"poll.leading","sessionId":99,"gameId":17,"label":"x","votes":12})");
  BOOST_TEST(bot->next_text() == error("Session not found"));
  bot->send_text(R"({"type":"poll.leading","sessionId":1,"gameId":"x","label":"x","votes":12})");
  BOOST_TEST(bot->next_text() == error("Invalid message format"));
}

BOOST_AUTO_TEST_SUITE_END()
