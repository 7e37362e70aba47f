// Who is in a channel: over tabs, over relays, over the death of a relay.

#include <boost/test/unit_test.hpp>

#include "tests/relay/relay_fixture.hpp"

using namespace gamepicker;
using namespace gamepicker::testing;

namespace {

constexpr char kLobby[] = "presence-lobby";

struct PresenceFixture : RelayFixture {
  ~PresenceFixture() {
    other.reset();
    std::filesystem::remove_all(other_folder);
  }

  Relay& start_other() {
    other_folder = make_folder();
    other = std::make_unique<Relay>(config, other_folder);
    return *other;
  }

  /// Named, connected to this relay, and in the lobby; `list` is the "presence" of the reply.
  std::unique_ptr<RawClient> enter(const Relay& where, const std::string& name, const std::string& more = "") {
    auto client = connect_to(where, Role::bot, name);
    client->send_text(subscribe(kLobby, more));
    const std::string reply = client->next_text();
    BOOST_TEST_REQUIRE(reply.starts_with(R"({"type":"subscribed","channel":"presence-lobby","offset":)"), reply);
    list = reply.substr(reply.find(R"("presence":)") + 11);
    list.pop_back();
    return client;
  }

  /// The next event is that this user came or went.
  void expect(RawClient& client, const std::string& type, const std::string& name, const std::string& info = "{}") {
    const std::string text = client.next_text();
    BOOST_TEST(text.starts_with("{\"type\":\"presence." + type + "\",\"timestamp\":\""), text);
    BOOST_TEST((text.find("\"data\":{\"id\":\"" + name + "\",\"info\":" + info + "}") != std::string::npos), text);
  }

  /// Nothing came before the answer to this.
  void expect_nothing(RawClient& client) {
    client.send_text(R"({"type":"ping"})");
    BOOST_TEST(client.next_text() == R"({"type":"pong"})");
  }

  std::string other_folder = "/nonexistent";
  std::unique_ptr<Relay> other;
  std::string list;
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(presence, PresenceFixture)

BOOST_AUTO_TEST_CASE(a_member_is_told_who_is_there_and_the_others_of_it) {
  auto alice = enter(*relay, "alice", R"(,"data":{"colour":"red","n":1})");
  BOOST_TEST(list == R"({"count":1,"ids":["alice"],"hash":{"alice":{"colour":"red","n":1}}})");
  auto bob = enter(*relay, "bob \\\"x\\\"");
  BOOST_TEST(
      list ==
      R"({"count":2,"ids":["alice","bob \\\"x\\\""],"hash":{"alice":{"colour":"red","n":1},"bob \\\"x\\\"":{}}})");
  expect(*alice, "joined", "bob \\\\\\\"x\\\\\\\"");
  expect_nothing(*bob);
  bob.reset();
  expect(*alice, "left", "bob \\\\\\\"x\\\\\\\"");
}

BOOST_AUTO_TEST_CASE(a_user_in_three_tabs_is_one_member_and_leaves_with_the_last) {
  auto alice = enter(*relay, "alice");
  auto first = enter(*relay, "bob", R"(,"data":"first")");
  auto second = enter(*relay, "bob", R"(,"data":"second")");
  auto third = enter(*relay, "bob");
  BOOST_TEST(list == R"({"count":2,"ids":["alice","bob"],"hash":{"alice":{},"bob":"first"}})");
  expect(*alice, "joined", "bob", "\"first\"");
  first.reset();
  third->send_text(R"({"type":"unsubscribe","channel":"presence-lobby"})");
  BOOST_TEST(third->next_text() == R"({"type":"unsubscribed","channel":"presence-lobby"})");
  second.reset();
  expect(*alice, "left", "bob", "\"first\"");
  BOOST_TEST(database.value("SELECT COUNT(*) FROM events") == "3");
  BOOST_TEST(database.value("SELECT GROUP_CONCAT(user_id) FROM presence_members") == "alice");
}

BOOST_AUTO_TEST_CASE(a_page_that_is_loaded_anew_has_not_left) {
  auto alice = enter(*relay, "alice");
  auto bob = enter(*relay, "bob");
  expect(*alice, "joined", "bob");
  for (int i = 0; i < 5; ++i) {
    bob.reset();
    bob = enter(*relay, "bob");
  }
  auto carol = enter(*relay, "carol");
  expect(*alice, "joined", "carol");
}

BOOST_AUTO_TEST_CASE(subscribing_again_tells_who_is_there_now_and_changes_nothing) {
  auto alice = enter(*relay, "alice", R"(,"data":1)");
  auto bob = enter(*relay, "bob");
  expect(*alice, "joined", "bob");
  alice->send_text(subscribe(kLobby, R"(,"data":2,"ack":"a")"));
  BOOST_TEST(alice->next_text() ==
             R"({"type":"subscribed","channel":"presence-lobby","offset":2,)"
             R"("presence":{"count":2,"ids":["alice","bob"],"hash":{"alice":1,"bob":{}}},"ack":"a"})");
  alice.reset();
  expect(*bob, "left", "alice", "1");
}

BOOST_AUTO_TEST_CASE(members_on_another_relay_are_included) {
  start_other();
  auto alice = enter(*relay, "alice");
  auto bob = enter(*other, "bob", R"(,"data":"there")");
  BOOST_TEST(list == R"({"count":2,"ids":["alice","bob"],"hash":{"alice":{},"bob":"there"}})");
  expect(*alice, "joined", "bob", "\"there\"");
  auto bob_here = enter(*relay, "bob", R"(,"data":"here")");
  BOOST_TEST(list == R"({"count":2,"ids":["alice","bob"],"hash":{"alice":{},"bob":"there"}})");
  bob.reset();
  auto carol = enter(*other, "carol");
  expect(*alice, "joined", "carol");
  bob_here.reset();
  expect(*alice, "left", "bob", "\"there\"");
  expect(*carol, "left", "bob", "\"there\"");
}

BOOST_AUTO_TEST_CASE(the_members_of_a_dead_relay_leave_when_its_lease_ends_but_those_who_came_back_stay) {
  start_other();
  auto alice = enter(*other, "alice");
  auto bob = enter(*relay, "bob");
  auto carol = enter(*relay, "carol");
  expect(*alice, "joined", "bob");
  expect(*alice, "joined", "carol");
  relay.reset();  // which says nothing to the database, as one that was killed
  auto bob_again = enter(*other, "bob");
  BOOST_TEST(list == R"({"count":3,"ids":["alice","bob","carol"],"hash":{"alice":{},"bob":{},"carol":{}}})");
  expect(*alice, "left", "carol");
  auto dave = enter(*other, "dave");
  expect(*alice, "joined", "dave");
  BOOST_TEST(database.value("SELECT GROUP_CONCAT(user_id ORDER BY user_id) FROM presence_members") == "alice,bob,dave");
}

BOOST_AUTO_TEST_CASE(a_relay_whose_rows_were_removed_while_it_was_cut_off_puts_them_back) {
  auto alice = enter(*relay, "alice");
  database.execute("DELETE FROM presence_members; UPDATE relays SET lease_until = '2000-01-01'");
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (database.value("SELECT user_id FROM presence_members") != "alice") {
    BOOST_TEST_REQUIRE((std::chrono::steady_clock::now() < limit));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

BOOST_AUTO_TEST_CASE(a_subscriber_that_names_its_offset_gets_the_changes_it_missed_and_the_list) {
  auto alice = enter(*relay, "alice");
  auto bob = enter(*relay, "bob");
  expect(*alice, "joined", "bob");
  alice.reset();
  expect(*bob, "left", "alice");
  auto carol = connect(Role::bot, "carol");
  carol->send_text(subscribe(kLobby, R"(,"offset":1)"));
  BOOST_TEST(carol->next_text() == R"({"type":"subscribed","channel":"presence-lobby","offset":1,"recovered":true,)"
                                   R"("presence":{"count":2,"ids":["bob","carol"],"hash":{"bob":{},"carol":{}}}})");
  expect(*carol, "joined", "bob");
  expect(*carol, "left", "alice");
  expect(*carol, "joined", "carol");  // the last word on who is there, whatever it missed of itself
  expect_nothing(*carol);
  expect(*bob, "joined", "carol");
}

BOOST_AUTO_TEST_CASE(a_thousand_channels_of_a_dead_relay_do_not_hold_up_newcomers) {
  database.execute(
      "INSERT INTO presence_members (channel, user_id, relay_id, info) SELECT CONCAT('presence-', n.value), 'u', 'dead', "
      "'{}' FROM JSON_TABLE(CONCAT('[0', REPEAT(',0', 1199), ']'), '$[*]' COLUMNS (value FOR ORDINALITY)) n");
  // Some, not all, are gone when the burial has begun and a newcomer has been answered.
  BOOST_TEST_REQUIRE(
      waits_until([&] { return database.value("SELECT COUNT(*) < 1190 FROM presence_members") == "1"; }));
  auto alice = enter(*relay, "alice");
  BOOST_TEST(database.value("SELECT COUNT(*) > 100 FROM presence_members") == "1");
  BOOST_TEST(waits_until([&] { return database.value("SELECT COUNT(*) FROM presence_members") == "1"; }));
}

BOOST_AUTO_TEST_CASE(the_presence_channel_of_a_session_is_open_to_every_viewer_others_need_the_claim) {
  auto viewer = connect(Role::viewer, "eve", {"presence-team-*"});
  viewer->send_text(subscribe("presence-session.1"));
  BOOST_TEST(viewer->next_text() == R"({"type":"subscribed","channel":"presence-session.1","offset":1,)"
                                    R"("presence":{"count":1,"ids":["eve"],"hash":{"eve":{}}}})");
  viewer->send_text(subscribe("presence-session.2"));
  BOOST_TEST(viewer->next_text() == error("Session not found"));
  viewer->send_text(subscribe(kLobby));
  BOOST_TEST(viewer->next_text() == error("Insufficient permissions"));
  viewer->send_text(subscribe("presence-team-a"));
  BOOST_TEST(viewer->next_text().starts_with(R"({"type":"subscribed","channel":"presence-team-a")"));
}

BOOST_AUTO_TEST_CASE(what_a_member_tells_of_itself_is_limited_to_4_kib) {
  auto client = connect(Role::bot);
  client->send_text(subscribe(kLobby, R"(,"data":")" + std::string(4095, 'x') + "\""));
  BOOST_TEST(client->next_text() == error("Invalid message format"));
  client->send_text(subscribe(kLobby, R"(,"data":")" + std::string(4094, 'x') + "\""));
  BOOST_TEST(client->next_text().starts_with(R"({"type":"subscribed","channel":"presence-lobby","offset":1,)"));
}

BOOST_AUTO_TEST_CASE(a_full_channel_refuses_newcomers_and_takes_them_when_there_is_room) {
  auto alice = enter(*relay, "alice");
  database.execute(
      "INSERT INTO relays (id, lease_until) VALUES ('elsewhere', UTC_TIMESTAMP(3) + INTERVAL 1 HOUR); "
      "INSERT INTO presence_members (channel, user_id, relay_id, info) SELECT 'presence-lobby', n.value, 'elsewhere', '{}' "
      "FROM JSON_TABLE(CONCAT('[0', REPEAT(',0', 998), ']'), '$[*]' COLUMNS (value FOR ORDINALITY)) n");
  auto bob = connect(Role::bot, "bob");
  bob->send_text(subscribe(kLobby));
  BOOST_TEST(bob->next_text() == error("Presence channel is full"));
  bob->send_text(R"({"type":"unsubscribe","channel":"presence-lobby"})");
  BOOST_TEST(bob->next_text() == error("Not subscribed"));
  auto alice_again = enter(*relay, "alice");
  database.execute("DELETE FROM presence_members WHERE user_id = '7'");
  bob->send_text(subscribe(kLobby));
  BOOST_TEST(bob->next_text().starts_with(R"({"type":"subscribed")"));
}

BOOST_AUTO_TEST_CASE(members_may_send_client_events_and_leave_before_they_are_in) {
  auto alice = enter(*relay, "alice");
  auto bob = connect(Role::bot, "bob");
  bob->send_text(subscribe(kLobby));
  bob->send_text(R"({"type":"unsubscribe","channel":"presence-lobby"})");
  bob->send_text(subscribe(kLobby));
  std::string text = bob->next_text();
  if (text.starts_with(R"({"type":"subscribed")")) text = bob->next_text();  // it was faster than the message behind it
  BOOST_TEST(text == R"({"type":"unsubscribed","channel":"presence-lobby"})");
  BOOST_TEST(bob->next_text().starts_with(R"({"type":"subscribed")"));
  expect(*alice, "joined", "bob");
  bob->send_text(R"({"type":"client_event","channel":"presence-lobby","event":"client-wave","data":1})");
  BOOST_TEST(alice->next_text().starts_with(R"({"type":"client-wave")"));
}

BOOST_AUTO_TEST_CASE(a_batch_may_hold_presence_channels) {
  auto alice = enter(*relay, "alice");
  auto bob = connect(Role::bot, "bob");
  bob->send_text(R"({"type":"subscribe_batch","channels":["presence-lobby","presence-session.9"]})");
  BOOST_TEST(bob->next_text() == R"({"type":"subscribed_batch","succeeded":["presence-lobby"],)"
                                 R"("failed":{"presence-session.9":"Session not found"}})");
  expect(*alice, "joined", "bob");
}

BOOST_AUTO_TEST_SUITE_END()
