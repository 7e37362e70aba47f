#include "tests/api/fixture.hpp"

using namespace gamepicker;
using namespace gamepicker::test;

BOOST_FIXTURE_TEST_SUITE(games, ApiFixture)

BOOST_AUTO_TEST_CASE(a_game_is_returned_with_every_member_of_the_contract) {
  database.execute("UPDATE games SET upvotes = 5, downvotes = 7, created_at = '2026-03-15 20:30:00.120' WHERE id = 3");
  BOOST_TEST(call("GET", "/api/games/3").body ==
             R"({"id":3,"pack_name":"Pack 2","title":"Trivia","min_players":1,"max_players":4,"length_minutes":null,)"
             R"("has_audience":0,"family_friendly":1,"game_type":null,"secondary_type":null,"ticker":null,)"
             R"("play_count":0,"popularity_score":-2,"upvotes":5,"downvotes":7,"enabled":1,"favor_bias":0,)"
             R"("created_at":"2026-03-15T20:30:00.120Z"})");
}

BOOST_AUTO_TEST_CASE(an_id_without_a_row_or_that_is_no_id_is_404) {
  for (const char* id : {"99", "0", "-1", "1.5", "abc", "01", "99999999999999999999", "1%00", "%31%27"}) {
    BOOST_TEST_CONTEXT(id) {
      const Response response = call("GET", std::string("/api/games/") + id);
      BOOST_TEST(response.status == 404);
    }
  }
}

/// The titles of a list, in order.
static std::string titles(const Response& response) {
  std::string found;
  for (int i = 0; response.body != "[]"; ++i) {
    const std::string entry = "[" + std::to_string(i) + "]";
    if (response.body.find("\"id\"") == std::string::npos) break;
    try {
      found += (i == 0 ? "" : ",") + at(response, entry + ".title");
    } catch (const std::exception&) {
      break;
    }
    if (found.ends_with("(missing)")) {
      found.erase(found.rfind(','));
      break;
    }
  }
  return found;
}

BOOST_AUTO_TEST_CASE(the_list_is_ordered_and_filtered) {
  for (const auto& [query, expected] : std::vector<std::pair<std::string, std::string>>{
           {"", "Drawful,Quiplash,Long one,Trivia"},
           {"?enabled=true", "Drawful,Quiplash,Trivia"},
           {"?enabled=false", "Long one"},
           {"?playerCount=1", "Trivia"},
           {"?playerCount=9", "Long one"},
           {"?playerCount=11", ""},
           {"?drawing=only", "Drawful"},
           {"?drawing=exclude", "Quiplash,Long one,Trivia"},
           {"?length=short", "Quiplash,Trivia"},
           {"?length=medium", "Drawful"},
           {"?length=long", "Long one"},
           {"?familyFriendly=true", "Drawful,Trivia"},
           {"?pack=Pack%202", "Long one,Trivia"},
           {"?pack=Pack+2&enabled=true", "Trivia"},
           {"?pack=pack%202", ""},
           {"?pack=%27%20OR%201%3D1", ""},
           {"?unknown=1", "Drawful,Quiplash,Long one,Trivia"},
       }) {
    BOOST_TEST_CONTEXT(query) {
      const Response response = call("GET", "/api/games" + query);
      BOOST_TEST(response.status == 200);
      BOOST_TEST(titles(response) == expected);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_bad_filter_is_refused_by_name) {
  check_errors(*this, {
                          {"GET", "/api/games?enabled=1", "", 400, "enabled must be true or false"},
                          {"GET", "/api/games?familyFriendly=", "", 400, "familyFriendly must be true or false"},
                          {"GET", "/api/games?drawing=yes", "", 400, "drawing must be only or exclude"},
                          {"GET", "/api/games?length=tiny", "", 400, "length must be short, medium or long"},
                          {"GET", "/api/games?playerCount=x", "", 400,
                           "playerCount must be a whole number from 1 to 2147483647"},
                          {"GET", "/api/games?pack=%ff", "", 400, "pack is not valid percent-encoded UTF-8"},
                      });
}

BOOST_AUTO_TEST_SUITE_END()
