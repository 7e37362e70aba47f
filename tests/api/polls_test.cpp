#include "tests/api/fixture.hpp"

using namespace gamepicker;
using namespace gamepicker::test;

namespace {

struct PollFixture : ApiFixture {
  PollFixture() { open_session(); }
  Response voting(const std::string& what, const std::string& body = {}) {
    return admin("POST", "/api/sessions/1/voting/" + what, body);
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(polls, PollFixture)

BOOST_AUTO_TEST_CASE(a_pick_is_kept_told_and_dismissed) {
  const std::string path = "/api/sessions/1/game-selection";
  BOOST_TEST(admin("POST", path, R"({"game_id":2,"source":"poll"})").body == R"({"success":true})");
  BOOST_TEST(event_data_of("game.picked") ==
             R"({"sessionId":1,"game":{"id":2,"title":"Drawful","pack_name":"Pack 1","min_players":3,)"
             R"("max_players":8},"source":"poll"})");
  const Response row = call("GET", "/api/sessions/1");
  BOOST_TEST(at(row, "pending_game_id") == "2");
  BOOST_TEST(at(row, "pending_game_source") == "poll");
  for (int i = 0; i < 2; ++i) BOOST_TEST(admin("DELETE", path).body == R"({"success":true})");
  BOOST_TEST(event_data_of("game.dismissed") == R"({"sessionId":1})");
  BOOST_TEST(one("SELECT COUNT(*) FROM events WHERE type = 'game.dismissed'") == "1");
  BOOST_TEST(at(call("GET", "/api/sessions/1"), "pending_game_id") == "(missing)");
}

BOOST_AUTO_TEST_CASE(adding_a_game_clears_the_pick) {
  admin("POST", "/api/sessions/1/game-selection", R"({"game_id":2})");
  play("1", 2);
  BOOST_TEST(at(call("GET", "/api/sessions/active"), "pending_game_id") == "(missing)");
}

BOOST_AUTO_TEST_CASE(game_selection_errors) {
  const std::string path = "/api/sessions/1/game-selection";
  check_errors(*this, {
                          {"POST", path, "", 400, "game_id is required"},
                          {"POST", path, R"({"game_id":"2"})", 400, "game_id must be an integer"},
                          {"POST", path, R"({"game_id":2,"source":"x"})", 400, "source must be dice, manual or poll"},
                          {"POST", path, R"({"game_id":99})", 404, "Game not found"},
                          {"POST", "/api/sessions/9/game-selection", R"({"game_id":2})", 404, "Session not found"},
                          {"DELETE", "/api/sessions/9/game-selection", "", 404, "Session not found"},
                      });
  admin("POST", "/api/sessions/1/close");
  check_errors(*this, {{"POST", path, R"({"game_id":2})", 400, "Cannot select a game in a closed session"}});
}

BOOST_AUTO_TEST_CASE(a_poll_starts_once_and_ends_with_its_leader) {
  const Response start = voting("start");
  BOOST_TEST(at(start, "success") == "true");
  BOOST_TEST(event_data_of("poll.start") == R"({"sessionId":1,"pollStartedAt":")" + at(start, "pollStartedAt") + "\"}");
  BOOST_TEST(at(call("GET", "/api/sessions/1"), "poll_started_at") == at(start, "pollStartedAt"));
  check_errors(*this, {{"POST", "/api/sessions/1/voting/start", "", 409, "A poll is already running"}});
  database.execute("UPDATE sessions SET poll_leading_game_id = 2, poll_leading_label = 'Draw', poll_leading_votes = 7");
  BOOST_TEST(voting("end").body == R"({"success":true})");
  BOOST_TEST(event_data_of("voting.ended") ==
             R"({"sessionId":1,"winnerGameId":2,"winnerLabel":"Draw","winnerVotes":7})");
  check_errors(*this, {{"POST", "/api/sessions/1/voting/end", "", 409, "No poll is running"}});
  BOOST_TEST(voting("start").status == 200);
  BOOST_TEST(voting("end", R"({"delay":0})").status == 200);
  BOOST_TEST(event_data_of("voting.ended") ==
             R"({"sessionId":1,"winnerGameId":null,"winnerLabel":null,"winnerVotes":null})");
}

BOOST_AUTO_TEST_CASE(a_delayed_end_is_told_kept_and_cancelled) {
  voting("start");
  const Response end = voting("end", R"({"delay":300})");
  BOOST_TEST(event_data_of("poll.ending") == R"({"sessionId":1,"endsAt":")" + at(end, "endsAt") + "\"}");
  BOOST_TEST(one("SELECT TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(3), poll_ends_at) BETWEEN 290 AND 300 FROM sessions") ==
             "1");
  BOOST_TEST(at(call("GET", "/api/sessions/1"), "poll_ends_at") == at(end, "endsAt"));
  BOOST_TEST(voting("cancel-end").body == R"({"success":true})");
  BOOST_TEST(event_data_of("poll.ending.cancelled") == R"({"sessionId":1})");
  BOOST_TEST(at(call("GET", "/api/sessions/1"), "poll_ends_at") == "(missing)");
  check_errors(*this, {
                          {"POST", "/api/sessions/1/voting/cancel-end", "", 409, "No poll ending is scheduled"},
                          {"POST", "/api/sessions/1/voting/end", R"({"delay":301})", 400, "delay must be at most 300"},
                          {"POST", "/api/sessions/1/voting/end", R"({"delay":-1})", 400, "delay must be at least 0"},
                          {"POST", "/api/sessions/1/voting/end", R"({"delay":1.5})", 400, "delay must be an integer"},
                          {"POST", "/api/sessions/9/voting/start", "", 404, "Session not found"},
                          {"POST", "/api/sessions/9/voting/end", "", 404, "Session not found"},
                          {"POST", "/api/sessions/9/voting/cancel-end", "", 404, "Session not found"},
                      });
}

BOOST_AUTO_TEST_CASE(closing_a_session_ends_its_poll_first) {
  voting("start");
  admin("POST", "/api/sessions/1/close");
  const std::vector<std::string> told = events();
  BOOST_TEST(told.at(told.size() - 2) == "session.1 2 voting.ended");
  BOOST_TEST(told.back() == "session.1 3 session.ended");
  check_errors(*this, {{"POST", "/api/sessions/1/voting/start", "", 400, "Cannot start a poll in a closed session"}});
}

BOOST_AUTO_TEST_CASE(events_for_subscribers_alone_never_reach_a_webhook) {
  admin("POST", "/api/webhooks", R"({"name":"w","url":"https://x.example/","secret":"s","events":["*"]})");
  admin("POST", "/api/sessions/1/game-selection", R"({"game_id":2})");
  voting("start");
  BOOST_TEST(one("SELECT COUNT(*) FROM webhook_deliveries") == "0");
  voting("end");
  BOOST_TEST(one("SELECT COUNT(*) FROM webhook_queue") == "1");
}

BOOST_AUTO_TEST_SUITE_END()
