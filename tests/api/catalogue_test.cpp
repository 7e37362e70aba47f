#include "tests/api/fixture.hpp"

using namespace gamepicker;
using namespace gamepicker::test;

BOOST_FIXTURE_TEST_SUITE(catalogue, ApiFixture)

BOOST_AUTO_TEST_CASE(a_game_is_created_with_its_pack_changed_toggled_favored_and_deleted) {
  const Response created = admin("POST", "/api/games",
                                 R"({"pack_name":"New pack","title":"T","min_players":2,"max_players":5,"ticker":"T1",)"
                                 R"("length_minutes":20,"game_type":"Word","has_audience":1,"family_friendly":true})");
  BOOST_TEST(created.status == 201);
  BOOST_TEST(at(created, "has_audience") == "1");
  BOOST_TEST(at(created, "ticker") == "T1");
  BOOST_TEST(one("SELECT COUNT(*) FROM packs WHERE name = 'New pack'") == "1");
  const std::string path = "/api/games/" + at(created, "id");

  const Response updated = admin("PUT", path, R"({"title":"U","length_minutes":null,"extra":1})");
  BOOST_TEST(updated.status == 200);
  BOOST_TEST(at(updated, "title") == "U");
  BOOST_TEST(at(updated, "length_minutes") == "null");
  BOOST_TEST(at(updated, "game_type") == "Word");
  BOOST_TEST(at(admin("PATCH", path + "/toggle"), "enabled") == "0");
  BOOST_TEST(at(admin("PATCH", path + "/toggle"), "enabled") == "1");
  BOOST_TEST(at(admin("PATCH", path + "/favor", R"({"favor_bias":-1})"), "favor_bias") == "-1");
  BOOST_TEST(admin("DELETE", path).body ==
             R"({"message":"Game deleted successfully","gameId":)" + at(created, "id") + "}");
  BOOST_TEST(call("GET", path).status == 404);
}

BOOST_AUTO_TEST_CASE(game_errors_are_the_contracts) {
  const auto game = [](const std::string& members) {
    return R"({"pack_name":"Pack 1","title":"X","min_players":2,"max_players":4,)" + members + "}";
  };
  admin("POST", "/api/games", game(R"("ticker":"TT")"));
  const std::string favor = "favor_bias must be 1 (favor), -1 (disfavor), or 0 (neutral)";
  check_errors(
      *this,
      {
          {"POST", "/api/games", "{}", 400, "Missing required fields: pack_name, title, min_players, max_players"},
          {"POST", "/api/games", R"({"title":"x","min_players":1})", 400,
           "Missing required fields: pack_name, max_players"},
          {"POST", "/api/games", game(R"("min_players":0)"), 400, "min_players must be at least 1"},
          {"POST", "/api/games", game(R"("min_players":5)"), 400, "max_players must be at least min_players"},
          {"POST", "/api/games", game(R"("title":"")"), 400, "title must not be empty"},
          {"POST", "/api/games", game("\"title\":\"" + std::string(201, 't') + "\""), 400,
           "title must be at most 200 characters"},
          {"POST", "/api/games", game(R"("enabled":"yes")"), 400, "enabled must be true or false"},
          {"POST", "/api/games", game(R"("title":"Quiplash")"), 409, "Game already exists"},
          {"POST", "/api/games", game(R"("title":"Y","ticker":"TT")"), 409, "ticker is already in use"},
          {"PUT", "/api/games/2", R"({"title":"Quiplash"})", 409, "Game already exists"},
          {"PUT", "/api/games/2", R"({"max_players":1})", 400, "max_players must be at least min_players"},
          {"PUT", "/api/games/99", R"({"title":"Z"})", 404, "Game not found"},
          {"DELETE", "/api/games/99", "", 404, "Game not found"},
          {"PATCH", "/api/games/99/toggle", "", 404, "Game not found"},
          {"PATCH", "/api/games/1/favor", R"({"favor_bias":2})", 400, favor},
          {"PATCH", "/api/games/1/favor", R"({"favor_bias":"1"})", 400, favor},
          {"PATCH", "/api/games/packs/Pack%201/favor", "", 400, favor},
          {"PATCH", "/api/games/packs/None/favor", R"({"favor_bias":1})", 404, "Pack not found"},
          {"PATCH", "/api/games/packs/Pack%201/toggle", "{}", 400, "enabled status is required"},
          {"PATCH", "/api/games/packs/None/toggle", R"({"enabled":true})", 404, "Pack not found"},
      });
}

BOOST_AUTO_TEST_CASE(a_played_game_cannot_be_deleted) {
  play(open_session(), 1);
  check_errors(*this,
               {{"DELETE", "/api/games/1", "", 409, "Game has been played and cannot be deleted; disable it instead"}});
}

BOOST_AUTO_TEST_CASE(packs_are_listed_summed_favored_and_toggled) {
  BOOST_TEST(at(call("GET", "/api/games/packs"), "[1].name") == "Pack 2");
  BOOST_TEST(call("GET", "/api/games/meta/packs").body ==
             R"([{"name":"Pack 1","total_count":2,"enabled_count":2,"total_plays":0},)"
             R"({"name":"Pack 2","total_count":2,"enabled_count":1,"total_plays":0}])");
  BOOST_TEST(admin("PATCH", "/api/games/packs/Pack%202/favor", R"({"favor_bias":1})").body ==
             R"({"message":"Pack favor bias updated successfully","favor_bias":1})");
  BOOST_TEST(at(call("GET", "/api/games/packs"), "[1].favor_bias") == "1");
  BOOST_TEST(admin("PATCH", "/api/games/packs/Pack%202/toggle", R"({"enabled":false})").body ==
             R"({"message":"Pack disabled successfully","gamesAffected":2})");
  BOOST_TEST(one("SELECT SUM(enabled) FROM games WHERE pack_name = 'Pack 2'") == "0");
}

BOOST_AUTO_TEST_CASE(stats_count_and_rank) {
  play(open_session(), 2);
  database.execute(
      "UPDATE games SET upvotes = 3 WHERE id = 3; UPDATE games SET upvotes = 1, downvotes = 1 WHERE id = 1");
  const Response stats = call("GET", "/api/stats");
  BOOST_TEST(
      stats.body ==
      R"({"games":{"count":4},"gamesEnabled":{"count":3},"packs":{"count":2},"sessions":{"count":1},)"
      R"("activeSessions":{"count":1},"totalGamesPlayed":{"count":1},"mostPlayedGames":[{"id":2,)"
      R"("title":"Drawful","pack_name":"Pack 1","play_count":1,"popularity_score":0,"upvotes":0,"downvotes":0}],)"
      R"("topRatedGames":[{"id":3,"title":"Trivia","pack_name":"Pack 2","play_count":0,"popularity_score":3,)"
      R"("upvotes":3,"downvotes":0}]})");
}

BOOST_AUTO_TEST_CASE(an_admin_makes_tokens_of_lower_roles) {
  const Response created =
      admin("POST", "/api/auth/tokens", R"({"role":"viewer","name":"obs overlay","expiresIn":"30d"})");
  BOOST_TEST(created.status == 201);
  BOOST_TEST(at(created, "expiresIn") == "30d");
  const auto claims = api.tokens.verify(at(created, "token"));
  BOOST_REQUIRE(claims.has_value());
  BOOST_TEST((claims->role == Role::viewer));
  BOOST_TEST(claims->subject == "obs overlay");
  const std::string lifetime = "expiresIn must be a number with s, m, h or d, at most 365d";
  const auto with = [](const std::string& text) { return R"({"role":"bot","name":"n","expiresIn":")" + text + "\"}"; };
  check_errors(*this,
               {{"POST", "/api/auth/tokens", R"({"role":"admin","name":"n"})", 400, "role must be viewer or bot"},
                {"POST", "/api/auth/tokens", R"({"role":"bot"})", 400, "name is required"},
                {"POST", "/api/auth/tokens", with(""), 400, lifetime},
                {"POST", "/api/auth/tokens", with("30"), 400, lifetime},
                {"POST", "/api/auth/tokens", with("0s"), 400, lifetime},
                {"POST", "/api/auth/tokens", with("500ms"), 400, lifetime},
                {"POST", "/api/auth/tokens", with("366d"), 400, lifetime}});
}

BOOST_AUTO_TEST_CASE(names_with_a_space_behind_them_are_names_of_their_own) {
  const auto game = [&](const std::string& pack, const std::string& title, const std::string& ticker) {
    return admin("POST", "/api/games",
                 R"({"pack_name":")" + pack + R"(","title":")" + title + R"(","min_players":1,)" +
                     R"("max_players":2,"ticker":")" + ticker + "\"}")
        .status;
  };
  BOOST_TEST(game("Pack 1", "Quiplash ", "Q") == 201);
  BOOST_TEST(game("Pack 1 ", "Quiplash", "Q ") == 201);
  BOOST_TEST(game("Pack 1", "Quiplash ", "R") == 409);
  BOOST_TEST(one("SELECT COUNT(*) FROM packs WHERE name = 'Pack 1 '") == "1");
  BOOST_TEST(at(call("GET", "/api/games?pack=Pack%201%20"), "[0].title") == "Quiplash");
  check_errors(*this,
               {{"PATCH", "/api/games/packs/Pack%201%20%20/favor", R"({"favor_bias":1})", 404, "Pack not found"}});
}

BOOST_AUTO_TEST_CASE(an_empty_ticker_is_none) {
  for (const char* title : {"One", "Two"}) {
    const Response response = admin("POST", "/api/games",
                                    R"({"pack_name":"Pack 1","title":")" + std::string(title) +
                                        R"(","min_players":1,"max_players":2,"ticker":"",)"
                                        R"("game_type":""})");
    BOOST_TEST(response.status == 201);
    BOOST_TEST(at(response, "ticker") == "null");
    BOOST_TEST(at(response, "game_type") == "null");
  }
}

BOOST_AUTO_TEST_CASE(deleting_the_game_the_host_has_picked_dismisses_it) {
  const std::string session = open_session();
  BOOST_TEST(admin("POST", "/api/sessions/" + session + "/game-selection", R"({"game_id":3})").status == 200);
  BOOST_TEST(admin("DELETE", "/api/games/3").status == 200);
  BOOST_TEST(at(call("GET", "/api/sessions/" + session), "pending_game_id") == "(missing)");
  BOOST_TEST(event_data_of("game.dismissed") == R"({"sessionId":)" + session + "}");
}

BOOST_AUTO_TEST_SUITE_END()
