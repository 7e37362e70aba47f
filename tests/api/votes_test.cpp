#include <atomic>
#include <thread>

#include "tests/api/fixture.hpp"

using namespace gamepicker;
using namespace gamepicker::test;

namespace {

/// A session in which game 1 began at 20:00 and game 2 at 21:00.
struct VotesFixture : ApiFixture {
  VotesFixture() {
    const std::string session = open_session();
    play(session, 1);
    play(session, 2);
    database.execute("UPDATE session_games SET played_at = '2026-03-15 20:00:00.000' WHERE id = 1");
    database.execute("UPDATE session_games SET played_at = '2026-03-15 21:00:00.000' WHERE id = 2");
  }

  Response vote(const std::string& username, const std::string& type, const std::string& timestamp) {
    return admin("POST", "/api/votes/live", vote_body(username, type, timestamp));
  }

  static std::string vote_body(const std::string& username, const std::string& type, const std::string& timestamp) {
    return R"({"username":")" + username + R"(","vote":")" + type + R"(","timestamp":")" + timestamp + "\"}";
  }

  std::string totals() { return one("SELECT CONCAT(SUM(upvotes), ' ', SUM(downvotes)) FROM games"); }
};

/// Runs `count` threads, each with an API and a connection of its own, and counts the answers with status 200.
int vote_in_parallel(const Config& config, const std::string& token, int count,
                     const std::function<std::string(int)>& body_of) {
  std::atomic<int> accepted = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      Api api(config);
      Dispatcher dispatcher(api, "votes");
      Request request;
      request.method = "POST";
      request.path = "/api/votes/live";
      request.authorization = "Bearer " + token;
      request.body = body_of(i);
      if (send(dispatcher, request).status == 200) ++accepted;
    });
  }
  for (std::thread& thread : threads) thread.join();
  return accepted;
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(votes, VotesFixture)

BOOST_AUTO_TEST_CASE(a_vote_counts_for_the_game_of_its_time_and_tells) {
  const Response response = vote("bob", "up", "2026-03-15T22:30:00.123456+01:30");
  BOOST_TEST(response.status == 200);
  BOOST_TEST(response.body ==
             R"({"success":true,"message":"Vote recorded successfully","session":{"id":1,"games_played":2},)"
             R"("game":{"id":2,"title":"Drawful","upvotes":1,"downvotes":0,"popularity_score":1},)"
             R"("vote":{"username":"bob","type":"up","timestamp":"2026-03-15T22:30:00.123456+01:30"}})");
  BOOST_TEST(event_data_of("vote.received") ==
             R"({"sessionId":1,"game":{"id":2,"title":"Drawful","pack_name":"Pack 1"},)"
             R"("vote":{"username":"bob","type":"up","timestamp":"2026-03-15T21:00:00.123Z"},)"
             R"("totals":{"upvotes":1,"downvotes":0,"popularity_score":1}})");
}

BOOST_AUTO_TEST_CASE(the_interval_holds_its_start_and_not_its_end) {
  for (const auto& [timestamp, game] : std::vector<std::pair<std::string, std::string>>{
           {"2026-03-15T20:00:00.000Z", "1"},
           {"2026-03-15T20:59:59.999Z", "1"},
           {"2026-03-15T20:59:59.999999999Z", "1"},
           {"2026-03-15T21:00:00Z", "2"},
           {"2026-03-15T22:00:00.5+01:00", "2"},
           {"2036-01-01T00:00:00Z", "2"},
       }) {
    BOOST_TEST_CONTEXT(timestamp) {
      BOOST_TEST(at(vote("voter-" + timestamp, "down", timestamp), "game.id") == game);
    }
  }
  const Response early = vote("bob", "up", "2026-03-15T19:59:59.999Z");
  BOOST_TEST(early.status == 404);
  BOOST_TEST(at(early, "error") == "Vote timestamp does not match any game in the active session");
  BOOST_TEST(at(early, "debug.voteTimestamp") == "2026-03-15T19:59:59.999Z");
  BOOST_TEST(at(early, "debug.sessionGames[1].played_at") == "2026-03-15T21:00:00.000Z");
}

BOOST_AUTO_TEST_CASE(a_vote_within_a_second_of_the_same_voter_is_a_duplicate) {
  BOOST_TEST(vote("bob", "up", "2026-03-15T20:10:00.000Z").status == 200);
  for (const auto& [timestamp, status] : std::vector<std::pair<std::string, int>>{
           {"2026-03-15T20:10:00.000Z", 409},
           {"2026-03-15T20:10:01.000Z", 409},
           {"2026-03-15T20:09:59.000Z", 409},
           {"2026-03-15T20:10:01.001Z", 200},
           {"2026-03-15T20:09:58.999Z", 200},
       }) {
    BOOST_TEST_CONTEXT(timestamp) {
      BOOST_TEST(vote("bob", "down", timestamp).status == status);
    }
  }
  BOOST_TEST(vote("Bob", "up", "2026-03-15T20:10:00.000Z").status == 200);
  const Response duplicate = vote("Bob", "up", "2026-03-15T20:10:00.250Z");
  BOOST_TEST(duplicate.body == R"x({"error":"Duplicate vote detected (within 1 second of previous vote)",)x"
                               R"("message":"Please wait at least 1 second between votes","timeSinceLastVote":0.250})");
  BOOST_TEST(totals() == "2 2");
}

BOOST_AUTO_TEST_CASE(a_duplicate_over_a_change_of_game_is_found_too) {
  BOOST_TEST(vote("bob", "up", "2026-03-15T20:59:59.600Z").status == 200);
  BOOST_TEST(vote("bob", "up", "2026-03-15T21:00:00.200Z").status == 409);
}

BOOST_AUTO_TEST_CASE(vote_errors_come_in_the_contracts_order) {
  const std::string path = "/api/votes/live";
  const std::string missing = "Missing required fields: username, vote, timestamp";
  const std::string format = "Invalid timestamp format. Use ISO 8601 format (e.g., 2025-11-01T20:30:00Z)";
  check_errors(*this,
               {
                   {"POST", path, "", 400, missing},
                   {"POST", path, "{}", 400, missing},
                   {"POST", path, vote_body("", "x", "y"), 400, missing},
                   {"POST", path, vote_body("bob", "sideways", "y"), 400, "vote must be either \"up\" or \"down\""},
                   {"POST", path, vote_body("bob", "up", "yesterday"), 400, format},
                   {"POST", path, vote_body("bob", "up", "2026-02-30T00:00:00Z"), 400, format},
                   {"POST", path, R"({"username":7,"vote":"up","timestamp":"x"})", 400, "username must be a string"},
                   {"POST", path, vote_body(std::string(101, 'u'), "up", "2026-03-15T20:10:00Z"), 400,
                    "username must be at most 100 characters"},
               });
  admin("POST", "/api/sessions/1/close");
  check_errors(*this, {{"POST", path, vote_body("bob", "up", "2026-03-15T20:10:00Z"), 404, "No active session found"}});
  open_session();
  check_errors(*this, {{"POST", path, vote_body("bob", "up", "2026-03-15T20:10:00Z"), 404,
                        "No games have been played in the active session yet"}});
  BOOST_TEST(totals() == "0 0");
}

BOOST_AUTO_TEST_CASE(a_bot_may_vote_and_a_viewer_may_not) {
  const std::string body = vote_body("bob", "up", "2026-03-15T20:10:00Z");
  const auto as = [&](Role role) {
    return call("POST", "/api/votes/live", body, "Bearer " + api.tokens.issue(role, "x", std::chrono::hours(1))).status;
  };
  BOOST_TEST(as(Role::viewer) == 403);
  BOOST_TEST(as(Role::bot) == 200);
}

BOOST_AUTO_TEST_CASE(the_tally_sums_live_votes_by_net_score) {
  vote("a", "down", "2026-03-15T20:10:00Z");
  vote("b", "up", "2026-03-15T21:10:00Z");
  vote("c", "up", "2026-03-15T21:10:00Z");
  BOOST_TEST(call("GET", "/api/sessions/1/votes").body ==
             R"({"session_id":1,"votes":[{"game_id":2,"title":"Drawful","pack_name":"Pack 1","upvotes":2,)"
             R"("downvotes":0,"net_score":2,"total_votes":2},{"game_id":1,"title":"Quiplash","pack_name":"Pack 1",)"
             R"("upvotes":0,"downvotes":1,"net_score":-1,"total_votes":1}]})");
  BOOST_TEST(call("GET", "/api/sessions/99/votes").status == 404);
}

BOOST_AUTO_TEST_CASE(of_the_same_vote_sent_fifty_times_at_once_one_counts) {
  const int accepted =
      vote_in_parallel(api.config, admin_token, 50, [](int) { return vote_body("bob", "up", "2026-03-15T20:10:00Z"); });
  BOOST_TEST(accepted == 1);
  BOOST_TEST(totals() == "1 0");
  BOOST_TEST(one("SELECT COUNT(*) FROM events WHERE type = 'vote.received'") == "1");
}

BOOST_AUTO_TEST_CASE(a_hundred_voters_at_once_all_count_and_the_offsets_have_no_gap) {
  const int accepted = vote_in_parallel(api.config, admin_token, 100, [](int i) {
    return vote_body("voter" + std::to_string(i), i % 2 == 0 ? "up" : "down", "2026-03-15T20:10:00Z");
  });
  BOOST_TEST(accepted == 100);
  BOOST_TEST(totals() == "50 50");
  BOOST_TEST(one("SELECT MAX(seq) - COUNT(*) FROM events WHERE channel = 'session.1'") == "0");
}

BOOST_AUTO_TEST_CASE(a_vote_cut_off_by_the_database_is_a_503_and_counts_when_it_is_sent_again) {
  // The vote waits for the game's row when its connection goes; nobody can say then what became of it.
  const auto locker = database.connect();
  locker->execute("BEGIN; UPDATE games SET play_count = 9 WHERE id = 1");
  Response cut_off;
  std::jthread voter([&] { cut_off = vote("a", "up", "2026-03-15T20:10:00Z"); });
  const std::string find =
      "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND info LIKE '%FOR UPDATE%' AND "
      "id <> CONNECTION_ID()";
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(4);
  std::string waiting;
  while (waiting.empty() && std::chrono::steady_clock::now() < limit) waiting = database.value(find);
  BOOST_TEST_REQUIRE(!waiting.empty());
  database.execute("KILL " + waiting);
  voter.join();
  locker->execute("ROLLBACK");
  BOOST_TEST(cut_off.status == 503);
  BOOST_TEST(one("SELECT COUNT(*) FROM live_votes") == "0");
  BOOST_TEST(vote("a", "up", "2026-03-15T20:10:00Z").status == 200);
  BOOST_TEST(totals() == "1 0");
}

BOOST_AUTO_TEST_CASE(a_vote_over_a_connection_that_went_while_idle_counts) {
  BOOST_TEST(vote("a", "up", "2026-03-15T20:10:00Z").status == 200);
  for (const auto& row : database.query(
           "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()")) {
    database.execute("KILL " + row[0]);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // idle is what this is about
  BOOST_TEST(vote("b", "up", "2026-03-15T20:10:00Z").status == 200);
  BOOST_TEST(totals() == "2 0");
}

BOOST_AUTO_TEST_CASE(a_vote_with_an_idempotency_key_counts_once_together_with_its_answer) {
  Request request;
  request.method = "POST";
  request.path = "/api/votes/live";
  request.authorization = "Bearer " + admin_token;
  request.idempotency_key = "vote-1";
  request.body = vote_body("a", "up", "2026-03-15T20:10:00Z");
  const Response first = send(dispatcher, request);
  BOOST_TEST(first.status == 200);
  const Response again = send(dispatcher, request);
  BOOST_TEST(again.body == first.body);
  BOOST_TEST(header(again, "Idempotent-Replayed") == "true");
  BOOST_TEST(one("SELECT COUNT(*) FROM live_votes") == "1");
  // What cannot be remembered does not count: the key's table is gone in the middle of it.
  database.execute("ALTER TABLE idempotency_keys RENAME COLUMN sealed_body TO gone");
  request.idempotency_key = "vote-2";
  request.body = vote_body("b", "up", "2026-03-15T20:10:00Z");
  BOOST_TEST(send(dispatcher, request).status == 500);
  BOOST_TEST(one("SELECT COUNT(*) FROM live_votes") == "1");
}

BOOST_AUTO_TEST_CASE(a_ticker_finds_its_game_whatever_is_being_played) {
  database.execute("UPDATE games SET ticker = 'QPL3' WHERE id = 3");
  const auto vote_for = [&](const std::string& ticker, const std::string& username) {
    return admin("POST", "/api/votes/live",
                 R"({"username":")" + username + R"(","vote":"up","timestamp":"2020-01-01T00:00:00Z","ticker":")" +
                     ticker + "\"}");
  };
  const Response response = vote_for("QPL3", "a");
  BOOST_TEST(response.status == 200);
  BOOST_TEST(at(response, "game.title") == "Trivia");
  BOOST_TEST(at(response, "session.games_played") == "2");
  BOOST_TEST(vote_for("QPL3", "a").status == 409);
  BOOST_TEST(at(vote_for("NOPE", "b"), "error") == "Unknown ticker");
  BOOST_TEST(at(vote_for(std::string(17, 'T'), "b"), "error") == "ticker must be at most 16 characters");
  admin("POST", "/api/sessions/1/close");
  BOOST_TEST(at(vote_for("QPL3", "b"), "error") == "No active session found");
  BOOST_TEST(totals() == "1 0");
}

BOOST_AUTO_TEST_CASE(the_history_is_filtered_and_paged_newest_first) {
  for (int i = 0; i < 5; ++i) {
    vote("voter" + std::to_string(i), i % 2 == 0 ? "up" : "down", "2026-03-15T20:1" + std::to_string(i) + ":00Z");
  }
  vote("voter0", "down", "2026-03-15T21:30:00Z");
  const Response all = call("GET", "/api/votes");
  BOOST_TEST(at(all, "pagination.total") == "6");
  BOOST_TEST(at(all, "pagination.limit") == "50");
  BOOST_TEST(at(all, "pagination.total_pages") == "1");
  BOOST_TEST(at(all, "votes[0].timestamp") == "2026-03-15T21:30:00.000Z");
  BOOST_TEST(at(all, "votes[0].game_title") == "Drawful");
  BOOST_TEST(at(all, "votes[5].username") == "voter0");
  const Response page = call("GET", "/api/votes?limit=4&page=2");
  BOOST_TEST(at(page, "pagination.total_pages") == "2");
  BOOST_TEST(at(page, "votes[1].username") == "voter0");
  BOOST_TEST(at(page, "votes[2].username") == "(missing)");
  for (const auto& [query, total] :
       std::vector<std::pair<std::string, std::string>>{{"session_id=1", "6"},
                                                        {"session_id=2", "0"},
                                                        {"game_id=2", "1"},
                                                        {"username=voter0", "2"},
                                                        {"vote_type=down", "3"},
                                                        {"vote_type=down&username=voter0&game_id=2", "1"},
                                                        {"page=9", "6"}}) {
    BOOST_TEST_CONTEXT(query) {
      BOOST_TEST(at(call("GET", "/api/votes?" + query), "pagination.total") == total);
    }
  }
  const std::string whole = " must be a whole number from 1 to ";
  check_errors(*this, {
                          {"GET", "/api/votes?page=0", "", 400, "page" + whole + "2147483647"},
                          {"GET", "/api/votes?limit=101", "", 400, "limit" + whole + "100"},
                          {"GET", "/api/votes?limit=x", "", 400, "limit" + whole + "100"},
                          {"GET", "/api/votes?session_id=-1", "", 400, "session_id" + whole + "2147483647"},
                          {"GET", "/api/votes?game_id=1.5", "", 400, "game_id" + whole + "2147483647"},
                          {"GET", "/api/votes?vote_type=UP", "", 400, "vote_type must be up or down"},
                          {"GET", "/api/votes?username=" + std::string(101, 'u'), "", 400,
                           "username must be at most 100 characters"},
                          {"GET", "/api/votes?username=%ff", "", 400, "username is not valid percent-encoded UTF-8"},
                      });
}

BOOST_AUTO_TEST_CASE(a_username_with_a_space_behind_it_is_another_voter) {
  BOOST_TEST(vote("d", "up", "2026-03-15T20:10:00Z").status == 200);
  BOOST_TEST(vote("d ", "up", "2026-03-15T20:10:00Z").status == 200);
  BOOST_TEST(at(call("GET", "/api/votes?username=d%20"), "pagination.total") == "1");
  database.execute("UPDATE games SET ticker = 'TQ1' WHERE id = 1");
  check_errors(*this, {{"POST", "/api/votes/live",
                        R"({"username":"e","vote":"up","timestamp":"2026-03-15T20:10:00Z","ticker":"TQ1 "})", 404,
                        "Unknown ticker"}});
}

BOOST_AUTO_TEST_CASE(duplicates_are_found_at_the_end_of_time_too) {
  const char* last = "9999-12-31T23:59:59.500Z";
  BOOST_TEST(vote("far", "up", last).status == 200);
  BOOST_TEST(vote("far", "up", last).status == 409);
}

BOOST_AUTO_TEST_CASE(values_of_the_wrong_type_get_the_contracts_sentence) {
  const char* vote = "vote must be either \"up\" or \"down\"";
  const char* time = "Invalid timestamp format. Use ISO 8601 format (e.g., 2025-11-01T20:30:00Z)";
  const char* path = "/api/votes/live";
  check_errors(*this, {{"POST", path, R"({"username":"a","vote":5,"timestamp":"2026-03-15T20:10:00Z"})", 400, vote},
                       {"POST", path, R"({"username":"a","vote":"up","timestamp":123})", 400, time},
                       {"POST", path, R"({"username":")" + std::string(101, 'a') + R"(","vote":"up"})", 400,
                        "Missing required fields: username, vote, timestamp"},
                       {"PATCH", "/api/sessions/1/games/1/status", R"({"status":5})", 400,
                        "Invalid status. Must be playing, played, or skipped"},
                       {"PATCH", "/api/sessions/1/games/1/room-code", "", 400,
                        "Invalid room code format. Must be 4 letters or digits"},
                       {"PATCH", "/api/sessions/1/games/1/player-count", "", 400, "Invalid player count"},
                       {"POST", "/api/sessions/1/games", R"({"game_id":1,"room_code":5})", 400,
                        "Invalid room code format. Must be 4 letters or digits"}});
}

BOOST_AUTO_TEST_SUITE_END()
