#include "tests/api/fixture.hpp"

using namespace gamepicker;
using namespace gamepicker::test;

BOOST_FIXTURE_TEST_SUITE(sessions, ApiFixture)

BOOST_AUTO_TEST_CASE(a_session_lives_from_create_to_close_and_tells_of_both) {
  BOOST_TEST(call("GET", "/api/sessions/active").body == "null");
  const Response created = admin("POST", "/api/sessions", R"({"notes":"ab"})");
  BOOST_TEST(created.status == 201);
  BOOST_TEST(at(created, "notes") == "ab");
  BOOST_TEST(at(created, "is_active") == "1");
  BOOST_TEST(at(created, "closed_at") == "null");
  BOOST_TEST(call("GET", "/api/sessions/active").body == created.body);
  BOOST_TEST(call("GET", "/api/sessions/" + at(created, "id")).body == created.body);
  BOOST_TEST(event_data_of("session.started") == "{\"session\":{\"id\":1,\"is_active\":1,\"created_at\":\"" +
                                                     at(created, "created_at") + "\",\"notes\":\"ab\"}}");
  play("1", 1);
  const Response closed = admin("POST", "/api/sessions/1/close", R"({"notes":"new"})");
  BOOST_TEST(closed.status == 200);
  BOOST_TEST(at(closed, "is_active") == "0");
  BOOST_TEST(at(closed, "notes") == "new");
  BOOST_TEST(at(closed, "closed_at") != "null");
  BOOST_TEST(at(closed, "games_played") == "1");
  BOOST_TEST(one("SELECT status FROM session_games") == "played");
  BOOST_TEST(event_data_of("session.ended") == R"({"session":{"id":1,"is_active":0,"games_played":1}})");
  BOOST_TEST(events() == (std::vector<std::string>{"sessions 1 session.started", "session.1 1 game.added",
                                                   "session.1 2 session.ended"}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_second_active_session_is_refused_and_leaves_nothing) {
  const std::string id = open_session();
  const Response second = admin("POST", "/api/sessions");
  BOOST_TEST(second.status == 400);
  BOOST_TEST(second.body ==
             R"({"error":"An active session already exists. Please close it before creating a new one.",)"
             R"("activeSessionId":)" +
                 id + "}");
  BOOST_TEST(events().size() == 1U);
}

BOOST_AUTO_TEST_CASE(session_errors_are_the_contracts) {
  const std::string id = open_session();
  check_errors(*this, {
                          {"GET", "/api/sessions/99", "", 404, "Session not found"},
                          {"GET", "/api/sessions/abc", "", 404, "Session not found"},
                          {"POST", "/api/sessions/99/close", "", 404, "Session not found"},
                          {"POST", "/api/sessions/" + id + "/close", R"({"notes":7})", 400, "notes must be a string"},
                          {"POST", "/api/sessions/" + id + "/close", "{\"notes\":\"" + std::string(16001, 'n') + "\"}",
                           400, "notes must be at most 16000 characters"},
                      });
  BOOST_TEST(admin("POST", "/api/sessions/" + id + "/close").status == 200);
  check_errors(*this, {{"POST", "/api/sessions/" + id + "/close", "", 400, "Session is already closed"}});
}

BOOST_AUTO_TEST_CASE(the_longest_notes_and_any_script_come_back_unchanged) {
  std::string notes;
  for (int i = 0; i < 4000; ++i) notes += "\xF0\x9F\x98\x80";  // four bytes each
  for (int i = 0; i < 3000; ++i) notes += "\xD7\xA9";          // right-to-left
  const Response created = admin("POST", "/api/sessions", "{\"notes\":\"" + notes + "\\n\\t\\\"\"}");
  BOOST_REQUIRE_EQUAL(created.status, 201);
  BOOST_TEST((at(call("GET", "/api/sessions/1"), "notes") == notes + "\n\t\""));
}

BOOST_AUTO_TEST_CASE(the_list_pages_filters_and_previews) {
  for (int i = 1; i <= 3; ++i) {
    admin("POST", "/api/sessions", "{\"notes\":\"first " + std::to_string(i) + "\\n\\nsecond\"}");
    admin("POST", "/api/sessions/" + std::to_string(i) + "/close");
  }
  database.execute("UPDATE sessions SET archived = 1 WHERE id = 2");
  database.execute("UPDATE sessions SET notes = NULL WHERE id = 1");

  const Response all = call("GET", "/api/sessions");
  BOOST_TEST(at(all, "[0].id") == "3");
  BOOST_TEST(at(all, "[1].id") == "2");
  BOOST_TEST(at(all, "[0].notes_preview") == "first 3");
  BOOST_TEST(at(all, "[0].has_notes") == "true");
  BOOST_TEST(at(all, "[2].has_notes") == "false");
  BOOST_TEST(at(all, "[2].notes_preview") == "null");
  BOOST_TEST(header(all, "X-Total-Count") == "3");
  BOOST_TEST(header(all, "X-Prev-Last-Date") == "(missing)");

  const Response page = call("GET", "/api/sessions?limit=1&offset=1");
  BOOST_TEST(at(page, "[0].id") == "1");
  BOOST_TEST(header(page, "X-Total-Count") == "2");
  BOOST_TEST(header(page, "X-Absolute-Total") == "3");
  BOOST_TEST(header(page, "X-Prev-Last-Date") == at(all, "[0].created_at"));

  BOOST_TEST(header(call("GET", "/api/sessions?filter=archived"), "X-Total-Count") == "1");
  BOOST_TEST(header(call("GET", "/api/sessions?filter=all&limit=all"), "X-Total-Count") == "3");
  check_errors(*this,
               {{"GET", "/api/sessions?filter=x", "", 400, "filter must be default, archived or all"},
                {"GET", "/api/sessions?limit=0", "", 400, "limit must be a whole number from 1 to 2147483647"},
                {"GET", "/api/sessions?offset=-1", "", 400, "offset must be a whole number from 0 to 2147483647"}});
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(session_games, ApiFixture)

BOOST_AUTO_TEST_CASE(adding_a_game_ends_the_one_before_and_counts_the_play) {
  const std::string session = open_session();
  play(session, 1);
  const Response added =
      admin("POST", "/api/sessions/" + session + "/games", R"({"game_id":2,"manually_added":true,"room_code":"lSb1"})");
  BOOST_TEST(added.status == 201);
  BOOST_TEST(at(added, "room_code") == "LSB1");
  BOOST_TEST(at(added, "source") == "manual");
  BOOST_TEST(at(added, "status") == "playing");
  BOOST_TEST(at(added, "title") == "Drawful");
  BOOST_TEST(at(added, "session.games_played") == "2");
  BOOST_TEST(at(added, "session.is_active") == "true");
  BOOST_TEST(one("SELECT GROUP_CONCAT(status ORDER BY id) FROM session_games") == "played,playing");
  BOOST_TEST(one("SELECT play_count FROM games WHERE id = 2") == "1");
  BOOST_TEST(event_data_of("game.added") ==
             R"({"session":{"id":1,"is_active":true,"games_played":2},"game":{"id":2,"title":"Drawful",)"
             R"("pack_name":"Pack 1","min_players":3,"max_players":8,"manually_added":true,"room_code":"LSB1"}})");
  const Response list = call("GET", "/api/sessions/" + session + "/games");
  BOOST_TEST(at(list, "[0].title") == "Quiplash");
  BOOST_TEST(at(list, "[1].title") == "Drawful");
}

BOOST_AUTO_TEST_CASE(session_game_errors_are_the_contracts) {
  const std::string session = open_session();
  const std::string games = "/api/sessions/" + session + "/games";
  const std::string game = games + "/" + play(session, 1);
  const std::string room = "Invalid room code format. Must be 4 letters or digits";
  check_errors(
      *this, {
                 {"GET", "/api/sessions/99/games", "", 404, "Session not found"},
                 {"POST", games, "", 400, "game_id is required"},
                 {"POST", games, R"({"game_id":null})", 400, "game_id is required"},
                 {"POST", games, R"({"game_id":"7"})", 400, "game_id must be an integer"},
                 {"POST", games, R"({"game_id":7.9})", 400, "game_id must be an integer"},
                 {"POST", games, R"({"game_id":true})", 400, "game_id must be an integer"},
                 {"POST", games, R"({"game_id":99})", 404, "Game not found"},
                 {"POST", games, R"({"game_id":-5})", 404, "Game not found"},
                 {"POST", games, R"({"game_id":1,"room_code":"ABCDE"})", 400, room},
                 {"POST", games, R"({"game_id":1,"room_code":"AB C"})", 400, room},
                 {"POST", games, R"({"game_id":1,"source":"x"})", 400, "source must be dice, manual or poll"},
                 {"POST", games, R"({"game_id":1,"manually_added":2})", 400, "manually_added must be true or false"},
                 {"POST", "/api/sessions/99/games", R"({"game_id":1})", 404, "Session not found"},
                 {"PATCH", game + "/status", "{}", 400, "Invalid status. Must be playing, played, or skipped"},
                 {"PATCH", games + "/99/status", R"({"status":"played"})", 404, "Session game not found"},
                 {"PATCH", "/api/sessions/99/games/1/status", R"({"status":"played"})", 404, "Session game not found"},
                 {"PATCH", game + "/player-count", "{}", 400, "Invalid player count"},
                 {"PATCH", game + "/player-count", R"({"player_count":-1})", 400, "Invalid player count"},
                 {"PATCH", game + "/player-count", R"({"player_count":"5"})", 400, "Invalid player count"},
                 {"PATCH", games + "/99/player-count", R"({"player_count":5})", 404, "Session game not found"},
             });
  BOOST_TEST(events().size() == 2U);
  BOOST_TEST(one("SELECT SUM(play_count) FROM games") == "1");
  admin("POST", "/api/sessions/" + session + "/close");
  check_errors(*this, {{"POST", games, R"({"game_id":1})", 400, "Cannot add games to a closed session"}});
}

BOOST_AUTO_TEST_CASE(status_and_player_count_change_and_tell) {
  const std::string session = open_session();
  const std::string first = play(session, 1);
  play(session, 2);
  const std::string path = "/api/sessions/" + session + "/games/" + first;
  BOOST_TEST(admin("PATCH", path + "/status", R"({"status":"playing"})").body ==
             R"({"message":"Status updated successfully","status":"playing"})");
  BOOST_TEST(one("SELECT GROUP_CONCAT(status ORDER BY id) FROM session_games") == "playing,played");
  BOOST_TEST(event_data_of("game.status-changed") == R"({"sessionId":1,"gameId":1,"status":"playing"})");
  BOOST_TEST(admin("PATCH", path + "/player-count", R"({"player_count":0})").body ==
             R"({"message":"Player count updated successfully","player_count":0})");
  BOOST_TEST(one("SELECT player_count_check_status FROM session_games WHERE id = 1") == "completed");
  BOOST_TEST(event_data_of("player-count.updated") ==
             R"({"sessionId":1,"gameId":1,"playerCount":0,"status":"completed"})");
}

BOOST_AUTO_TEST_CASE(the_preview_is_the_first_paragraph_wherever_it_begins) {
  for (const auto& [notes, preview] : std::vector<std::pair<std::string, std::string>>{
           {"\\n\\nHello **para**\\nand more\\n\\nnext", "Hello **para**\nand more"},
           {"A\\n \\nB", "A"},
           {"A\\r\\n\\r\\nB", "A"},
           {"\\n \\n", ""},
           {std::string(200, 'x'), std::string(150, 'x')}}) {
    const std::string id = open_session();
    admin("POST", "/api/sessions/" + id + "/close", R"({"notes":")" + notes + "\"}");
    BOOST_TEST(at(call("GET", "/api/sessions"), "[0].notes_preview") == preview);
  }
}

BOOST_AUTO_TEST_SUITE_END()
