#include <thread>

#include "tests/api/fixture.hpp"

using namespace gamepicker;
using namespace gamepicker::test;

namespace {

/// Session 1 is closed and had a game, session 2 is active.
struct TwoSessions : ApiFixture {
  TwoSessions() {
    play(open_session(), 1);
    admin("POST", "/api/sessions/1/close");
    open_session();
  }

  /// The active one is always the second.
  static std::string many(const std::string& action, const std::string& ids) {
    return R"({"action":")" + action + R"(","ids":)" + ids + "}";
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(session_admin, TwoSessions)

BOOST_AUTO_TEST_CASE(notes_are_set_and_removed) {
  const Response put = admin("PUT", "/api/sessions/1/notes", R"({"notes":"# Friday \u0645\u0631\u062d\u0628\u0627"})");
  BOOST_TEST(put.status == 200);
  BOOST_TEST(at(put, "notes") == "# Friday مرحبا");
  BOOST_TEST(admin("DELETE", "/api/sessions/1/notes").body == R"({"success":true})");
  BOOST_TEST(at(call("GET", "/api/sessions/1"), "notes") == "null");
  check_errors(*this, {
                          {"PUT", "/api/sessions/1/notes", "{}", 400, "notes is required"},
                          {"PUT", "/api/sessions/1/notes", R"({"notes":5})", 400, "notes must be a string"},
                          {"PUT", "/api/sessions/1/notes", "{\"notes\":\"" + std::string(16001, 'x') + "\"}", 400,
                           "notes must be at most 16000 characters"},
                          {"PUT", "/api/sessions/9/notes", R"({"notes":"x"})", 404, "Session not found"},
                          {"DELETE", "/api/sessions/9/notes", "", 404, "Session not found"},
                      });
}

BOOST_AUTO_TEST_CASE(a_closed_session_is_archived_and_brought_back) {
  BOOST_TEST(admin("POST", "/api/sessions/1/archive").body == R"({"success":true})");
  BOOST_TEST(at(call("GET", "/api/sessions/1"), "archived") == "1");
  BOOST_TEST(at(call("GET", "/api/sessions?filter=archived"), "[0].id") == "1");
  BOOST_TEST(at(call("GET", "/api/sessions?filter=default"), "[0].id") == "2");
  BOOST_TEST(admin("POST", "/api/sessions/1/unarchive").body == R"({"success":true})");
  BOOST_TEST(at(call("GET", "/api/sessions/1"), "archived") == "0");
  check_errors(*this, {
                          {"POST", "/api/sessions/2/archive", "", 400,
                           "Cannot archive an active session. Please close it first."},
                          {"POST", "/api/sessions/9/archive", "", 404, "Session not found"},
                          {"POST", "/api/sessions/9/unarchive", "", 404, "Session not found"},
                      });
}

BOOST_AUTO_TEST_CASE(a_deleted_session_takes_everything_along_but_the_totals) {
  database.execute("UPDATE games SET upvotes = 3 WHERE id = 1");
  database.execute("INSERT INTO voters (session_id, username) VALUES (1, 'bob')");
  database.execute(
      "INSERT INTO live_votes (session_id, game_id, session_game_id, username, vote_type, voted_at) VALUES "
      "(1, 1, 1, 'bob', 'up', '2026-03-15 20:00:00')");
  admin("POST", "/api/sessions/1/chat-import",
        R"({"chatData":[{"username":"a","message":"hi","timestamp":"2026-03-15T20:00:00Z"}]})");
  BOOST_TEST(admin("DELETE", "/api/sessions/1").body == R"({"message":"Session deleted successfully","sessionId":1})");
  BOOST_TEST(one("SELECT (SELECT COUNT(*) FROM live_votes) + (SELECT COUNT(*) FROM voters) + "
                 "(SELECT COUNT(*) FROM chat_messages) + (SELECT COUNT(*) FROM session_games)") == "0");
  BOOST_TEST(one("SELECT CONCAT(play_count, ' ', upvotes) FROM games WHERE id = 1") == "1 3");
  check_errors(
      *this, {
                 {"DELETE", "/api/sessions/1", "", 404, "Session not found"},
                 {"DELETE", "/api/sessions/2", "", 400, "Cannot delete an active session. Please close it first."},
                 // History still knows it.
                 {"DELETE", "/api/games/1", "", 409, "Game has been played and cannot be deleted; disable it instead"},
             });
}

BOOST_AUTO_TEST_CASE(many_sessions_change_all_or_none) {
  admin("POST", "/api/sessions/2/close");
  open_session();  // 3
  BOOST_TEST(admin("POST", "/api/sessions/bulk", many("archive", "[1,2,2]")).body ==
             R"({"success":true,"affected":2})");
  BOOST_TEST(admin("POST", "/api/sessions/bulk", many("unarchive", "[1,2,3]")).body ==
             R"({"success":true,"affected":3})");
  BOOST_TEST(admin("POST", "/api/sessions/bulk", many("delete", "[1,2,3]")).body ==
             R"({"error":"Cannot delete an active session. Please close it first.","activeIds":[3]})");
  BOOST_TEST(admin("POST", "/api/sessions/bulk", many("archive", "[1,3,9,8]")).body ==
             R"({"error":"Session not found","missingIds":[8,9]})");
  BOOST_TEST(one("SELECT COUNT(*) FROM sessions WHERE archived = 0") == "3");
  BOOST_TEST(admin("POST", "/api/sessions/bulk", many("delete", "[2,1]")).status == 200);
  BOOST_TEST(one("SELECT GROUP_CONCAT(id) FROM sessions") == "3");
}

BOOST_AUTO_TEST_CASE(bulk_refuses_bad_lists_and_actions) {
  const std::string bad_ids = "ids must be a non-empty array of session ids";
  std::string thousand_and_one = "[1";
  for (int i = 0; i < 1000; ++i) thousand_and_one += ",1";
  std::vector<ErrorCase> cases;
  for (const std::string& ids : {std::string("[]"), std::string("null"), std::string("7"), std::string("[\"1\"]"),
                                 std::string("[1.5]"), std::string("[0]"), std::string("[-1]"), std::string("[null]"),
                                 std::string("[true]"), std::string("[99999999999]"), thousand_and_one + "]"}) {
    cases.push_back({"POST", "/api/sessions/bulk", many("archive", ids), 400, bad_ids});
  }
  cases.push_back({"POST", "/api/sessions/bulk", R"({"ids":[1]})", 400, "action must be archive, unarchive or delete"});
  cases.push_back(
      {"POST", "/api/sessions/bulk", many("burn", "[1]"), 400, "action must be archive, unarchive or delete"});
  check_errors(*this, cases);
}

BOOST_AUTO_TEST_CASE(bulk_delete_beside_adding_games_never_leaves_half_a_session) {
  for (int round = 0; round < 10; ++round) {
    const std::string id = one("SELECT id FROM sessions WHERE is_active = 1");
    Api other(api.config);
    Dispatcher dispatcher_of_other(other, "sessions");
    Request add;
    add.method = "POST";
    add.path = "/api/sessions/" + id + "/games";
    add.body = R"({"game_id":1})";
    add.authorization = "Bearer " + admin_token;
    int added = 0;
    std::thread thread([&] { added = send(dispatcher_of_other, add).status; });
    admin("POST", "/api/sessions/" + id + "/close");
    const int deleted = admin("POST", "/api/sessions/bulk", many("delete", "[" + id + "]")).status;
    thread.join();
    BOOST_TEST(deleted == 200);
    BOOST_TEST((added == 201 || added == 400 || added == 404), "add answered " << added);
    BOOST_TEST(one("SELECT COUNT(*) FROM session_games WHERE session_id = " + id) == "0");
    open_session();
  }
}

BOOST_AUTO_TEST_CASE(a_room_code_is_four_letters_or_digits_in_upper_case) {
  const std::string path = "/api/sessions/2/games/" + play("2", 2) + "/room-code";
  const Response set = admin("PATCH", path, R"({"room_code":"ls8n"})");
  BOOST_TEST(set.status == 200);
  BOOST_TEST(at(set, "room_code") == "LS8N");
  BOOST_TEST(at(set, "title") == "Drawful");
  const std::string bad = "Invalid room code format. Must be 4 letters or digits";
  check_errors(*this, {
                          {"PATCH", path, R"({"room_code":"ABC"})", 400, bad},
                          {"PATCH", path, R"({"room_code":"ABCDE"})", 400, bad},
                          {"PATCH", path, R"({"room_code":"AB-D"})", 400, bad},
                          {"PATCH", path, R"({"room_code":"ÄBC"})", 400, bad},
                          {"PATCH", path, R"({"room_code":1234})", 400, bad},
                          {"PATCH", path, "{}", 400, bad},
                          {"PATCH", "/api/sessions/1/games/2/room-code", R"({"room_code":"ABCD"})", 404,
                           "Session game not found"},
                      });
}

BOOST_AUTO_TEST_CASE(a_removed_game_is_uncounted_and_told) {
  const std::string id = play("2", 2);
  const std::string path = "/api/sessions/2/games/" + id;
  BOOST_TEST(admin("DELETE", path).body == R"({"message":"Game removed from session successfully"})");
  BOOST_TEST(one("SELECT play_count FROM games WHERE id = 2") == "0");
  BOOST_TEST(event_data_of("game.removed") == R"({"sessionId":2,"gameId":)" + id + "}");
  check_errors(*this, {{"DELETE", path, "", 404, "Session game not found"}});
}

BOOST_AUTO_TEST_CASE(the_room_monitor_is_told_and_its_state_is_read) {
  const std::string id = play("2", 2);
  const std::string path = "/api/sessions/2/games/" + id;
  check_errors(*this, {{"POST", path + "/start-player-check", "", 400, "Game does not have a room code"},
                       {"POST", "/api/sessions/2/games/99/start-player-check", "", 404, "Session game not found"},
                       {"POST", "/api/sessions/2/games/99/stop-player-check", "", 404, "Session game not found"},
                       {"GET", "/api/sessions/2/games/99/status-live", "", 404, "Session game not found"}});
  admin("PATCH", path + "/room-code", R"({"room_code":"LSBN"})");
  BOOST_TEST(call("GET", path + "/status-live").body ==
             R"({"sessionId":2,"gameId":)" + id +
                 R"(,"roomCode":"LSBN","appTag":null,"maxPlayers":8,"playerCount":null,"players":[],)"
                 R"("lobbyState":null,"gameState":null,"gameStarted":false,"gameFinished":false,"monitoring":false})");
  BOOST_TEST(admin("POST", path + "/start-player-check").body ==
             R"({"message":"Room monitor started","status":"monitoring"})");
  BOOST_TEST(at(call("GET", path + "/status-live"), "monitoring") == "true");
  const std::string seen = R"({"sessionId":2,"gameId":)" + id +
                           R"(,"roomCode":"LSBN","appTag":"quiplash3","maxPlayers":8,"playerCount":2,)"
                           R"("players":["Ann","Bob"],"lobbyState":"CanStart","gameState":"Lobby",)"
                           R"("gameStarted":false,"gameFinished":false,"monitoring":true})";
  database.execute("UPDATE room_monitors SET status = '" + seen + "'");
  BOOST_TEST(call("GET", path + "/status-live").body == seen);
  for (int i = 0; i < 2; ++i) {
    BOOST_TEST(admin("POST", path + "/stop-player-check").body ==
               R"({"message":"Room monitor stopped","status":"stopped"})");
  }
  BOOST_TEST(one("SELECT player_count_check_status FROM session_games WHERE id = " + id) == "stopped");
}

BOOST_AUTO_TEST_SUITE_END()
