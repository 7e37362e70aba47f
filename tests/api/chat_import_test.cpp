#include "shared/json_writer.hpp"
#include "tests/api/fixture.hpp"

using namespace gamepicker;
using namespace gamepicker::test;

namespace {

/// A session in which game 1 began at 20:00 and game 2 at 21:00.
struct ChatFixture : ApiFixture {
  ChatFixture() {
    open_session();
    play("1", 1);
    play("1", 2);
    database.execute("UPDATE session_games SET played_at = '2026-03-15 20:00:00.000' WHERE id = 1");
    database.execute("UPDATE session_games SET played_at = '2026-03-15 21:00:00.000' WHERE id = 2");
  }

  static std::string line(const std::string& username, const std::string& text, const std::string& timestamp) {
    JsonWriter json;
    json.begin_object().field("username", username).field("message", text).field("timestamp", timestamp).end_object();
    return json.take();
  }
  Response import(const std::string& lines) {
    return admin("POST", "/api/sessions/1/chat-import", "{\"chatData\":[" + lines + "]}");
  }
  std::string totals() { return one("SELECT GROUP_CONCAT(CONCAT(upvotes, '-', downvotes) ORDER BY id) FROM games"); }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(chat_import, ChatFixture)

BOOST_AUTO_TEST_CASE(votes_in_a_chat_log_count_for_the_game_of_their_time) {
  const Response response = import(line("a", "ThisGame++ yes!", "2026-03-15T20:10:00Z") + "," +
                                   line("b", "x thisgame-- y", "2026-03-15T20:11:00Z") + "," +
                                   line("c", "THISGAME-- thisgame++", "2026-03-15T23:00:00+02:00") + "," +
                                   line("d", "thisgame++", "2026-03-15T19:59:59.999Z") + "," +
                                   line("e", "no vote, thisgame+ +", "2026-03-15T21:00:00Z"));
  BOOST_TEST(response.status == 200);
  BOOST_TEST(response.body ==
             R"({"message":"Chat log imported and processed successfully","messagesImported":5,"duplicatesSkipped":0,)"
             R"("votesProcessed":3,"votesByGame":{"1":{"title":"Quiplash","upvotes":1,"downvotes":1},)"
             R"("2":{"title":"Drawful","upvotes":1,"downvotes":0}},"unmatchedVotes":1})");
  BOOST_TEST(totals() == "1-1,1-0,0-0,0-0");
  BOOST_TEST(one("SELECT COUNT(*) FROM events WHERE type = 'vote.received'") == "0");
}

BOOST_AUTO_TEST_CASE(the_same_line_is_imported_once_however_often_it_is_sent) {
  const std::string lines = line("a", "thisgame++", "2026-03-15T20:10:00Z") + "," +
                            line("a", "thisgame++", "2026-03-15T20:10:00.000Z") + "," +
                            line("a", "hello", "2026-03-15T20:10:00Z");
  BOOST_TEST(at(import(lines), "messagesImported") == "2");
  const Response again = import(lines + "," + line("b", "thisgame--", "2026-03-15T21:10:00Z"));
  BOOST_TEST(at(again, "messagesImported") == "1");
  BOOST_TEST(at(again, "duplicatesSkipped") == "3");
  BOOST_TEST(at(again, "votesProcessed") == "1");
  BOOST_TEST(totals() == "1-0,0-1,0-0,0-0");
}

BOOST_AUTO_TEST_CASE(votes_of_one_user_within_a_second_count_once) {
  const Response response = import(line("a", "thisgame++ 1", "2026-03-15T20:10:00.000Z") + "," +
                                   line("a", "thisgame++ 2", "2026-03-15T20:10:01.000Z") + "," +
                                   line("a", "thisgame++ 3", "2026-03-15T20:10:01.001Z") + "," +
                                   line("A", "thisgame++ 4", "2026-03-15T20:10:00.000Z"));
  BOOST_TEST(at(response, "votesProcessed") == "3");
  // Across imports, and whatever order they come in.
  BOOST_TEST(at(import(line("a", "thisgame++ 5", "2026-03-15T20:09:59.500Z")), "votesProcessed") == "0");
  BOOST_TEST(totals() == "3-0,0-0,0-0,0-0");
}

BOOST_AUTO_TEST_CASE(a_vote_that_was_sent_live_and_stands_in_the_log_counts_once) {
  const auto vote = [&] {
    return admin("POST", "/api/votes/live", R"({"username":"a","vote":"up","timestamp":"2026-03-15T20:10:00Z"})")
        .status;
  };
  BOOST_TEST(vote() == 200);
  BOOST_TEST(at(import(line("a", "thisgame++", "2026-03-15T20:10:00.700Z")), "votesProcessed") == "0");
  BOOST_TEST(at(import(line("b", "thisgame++", "2026-03-15T20:10:00.700Z")), "votesProcessed") == "1");
  BOOST_TEST(
      admin("POST", "/api/votes/live", R"({"username":"b","vote":"up","timestamp":"2026-03-15T20:10:00Z"})").status ==
      409);
}

BOOST_AUTO_TEST_CASE(chat_import_errors) {
  const std::string path = "/api/sessions/1/chat-import";
  const auto chat = [](const std::string& one) { return "{\"chatData\":[" + one + "]}"; };
  const std::string good = line("a", "x", "2026-03-15T20:10:00Z");
  check_errors(*this,
               {
                   {"POST", path, "", 400, "chatData must be an array"},
                   {"POST", path, "{}", 400, "chatData must be an array"},
                   {"POST", path, R"({"chatData":null})", 400, "chatData must be an array"},
                   {"POST", path, R"({"chatData":{"0":1}})", 400, "chatData must be an array"},
                   {"POST", path, chat("1"), 400, "chatData[0] must be an object"},
                   {"POST", path, chat(good + ",{}"), 400, "chatData[1].username is required"},
                   {"POST", path, chat(R"({"username":1})"), 400, "chatData[0].username must be a string"},
                   {"POST", path, chat(R"({"username":"a"})"), 400, "chatData[0].message is required"},
                   {"POST", path, chat(line("a", "x", "noon")), 400, "chatData[0].timestamp is not an ISO 8601 time"},
                   {"POST", path, chat(line(std::string(101, 'u'), "x", "2026-03-15T20:10:00Z")), 400,
                    "chatData[0].username must be at most 100 characters"},
                   {"POST", path, chat(line("a", std::string(4001, 'm'), "2026-03-15T20:10:00Z")), 400,
                    "chatData[0].message must be at most 4000 characters"},
                   {"POST", "/api/sessions/9/chat-import", chat(good), 404, "Session not found"},
               });
  BOOST_TEST(one("SELECT COUNT(*) FROM chat_messages") == "0");
  BOOST_TEST(at(import(""), "messagesImported") == "0");
}

BOOST_AUTO_TEST_CASE(fifty_thousand_messages_in_one_request) {
  std::string lines;
  for (int i = 0; i < 50'000; ++i) {
    char time[40];
    std::snprintf(time, sizeof time, "2026-03-15T20:%02d:%02d.%03dZ", i / 1000 % 50, i / 20 % 60, i % 1000);
    lines +=
        (i == 0 ? "" : ",") + line("user" + std::to_string(i), i % 2 == 0 ? "thisgame++ \xF0\x9F\x8E\x89" : "hi", time);
  }
  const Response response = import(lines);
  BOOST_TEST(at(response, "messagesImported") == "50000");
  BOOST_TEST(at(response, "votesProcessed") == "25000");
  BOOST_TEST(totals() == "25000-0,0-0,0-0,0-0");
  const Response exported = admin("GET", "/api/sessions/1/export?format=json");
  BOOST_TEST(at(exported, "totals.chat_messages") == "50000");
  BOOST_TEST(at(exported, "chat[49999].username") != "(missing)");
  BOOST_TEST(at(exported, "chat[50000].username") == "(missing)");
}

BOOST_AUTO_TEST_CASE(a_session_is_exported_as_text_and_as_json) {
  admin("POST", "/api/votes/live", R"({"username":"a","vote":"up","timestamp":"2026-03-15T20:10:00Z"})");
  import(line("b", "hello, \xD7\xA9\xD7\x9C\xD7\x95\xD7\x9D", "2026-03-15T20:10:00Z"));
  admin("PUT", "/api/sessions/1/notes", R"({"notes":"Friday"})");
  admin("PATCH", "/api/sessions/1/games/1/room-code", R"({"room_code":"ABCD"})");
  admin("PATCH", "/api/sessions/1/games/1/player-count", R"({"player_count":6})");
  const Response text = admin("GET", "/api/sessions/1/export");
  BOOST_TEST(text.content_type == "text/plain; charset=utf-8");
  BOOST_TEST(header(text, "Content-Disposition") == "attachment; filename=\"session-1.txt\"");
  for (const char* part :
       {"Session 1\n", "Closed:  still active\n", "Notes:\nFriday\n", "1. Quiplash (Pack 1)\n",
        "Played: 2026-03-15T20:00:00.000Z, played, source: dice\n", "Room code: ABCD\n", "Players: 6\n",
        "Votes: +1 -0 (all time: +1 -0)\n", "2. Drawful", "Totals: 2 games, +1 -0 votes, 1 chat messages\n"}) {
    BOOST_TEST(text.body.find(part) != std::string::npos, part);
  }
  const Response json = admin("GET", "/api/sessions/1/export?format=json");
  BOOST_TEST(header(json, "Content-Disposition") == "attachment; filename=\"session-1.json\"");
  BOOST_TEST(at(json, "session.notes") == "Friday");
  BOOST_TEST(at(json, "games[0].votes.upvotes") == "1");
  BOOST_TEST(at(json, "games[1].status") == "playing");
  BOOST_TEST(at(json, "totals.games") == "2");
  BOOST_TEST(at(json, "chat[0].message") == "hello, \xD7\xA9\xD7\x9C\xD7\x95\xD7\x9D");
  check_errors(*this, {
                          {"GET", "/api/sessions/1/export?format=xml", "", 400, "format must be txt or json"},
                          {"GET", "/api/sessions/9/export", "", 404, "Session not found"},
                      });
}

BOOST_AUTO_TEST_CASE(users_that_differ_by_a_space_are_different) {
  const Response response = import(line("bob", "thisgame++", "2026-03-15T20:10:00Z") + "," +
                                   line("bob ", "thisgame++", "2026-03-15T20:10:00Z"));
  BOOST_TEST(response.status == 200);
  BOOST_TEST(at(response, "votesProcessed") == "2");
}

BOOST_AUTO_TEST_SUITE_END()
