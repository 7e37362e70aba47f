#include "handlers/router.hpp"

#include <boost/test/unit_test.hpp>

using namespace gamepicker;

namespace {

Response nothing(Api&, const Request&) {
  return {};
}

constexpr Route kRoutes[] = {
    {"GET", "/api/games", Access::open, nothing},
    {"GET", "/api/games/{id}", Access::open, nothing},
    {"PUT", "/api/games/{id}", Access::admin, nothing},
    {"GET", "/api/games/packs", Access::open, nothing},
    {"PATCH", "/api/games/packs/{name}/favor", Access::admin, nothing},
    {"PATCH", "/api/games/{id}/favor", Access::admin, nothing},
};

struct Case {
  const char* method;
  const char* path;
  const char* pattern;  ///< null when no route matches
  const char* param;    ///< the first parameter
  const char* allow;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(router)

BOOST_AUTO_TEST_CASE(paths_find_their_route) {
  const Router router({std::begin(kRoutes), std::end(kRoutes)});
  for (const Case& one : std::vector<Case>{
           {"GET", "/api/games", "/api/games", "", ""},
           {"HEAD", "/api/games", "/api/games", "", ""},
           {"GET", "/api/games/7", "/api/games/{id}", "7", ""},
           {"GET", "/api/games/packs", "/api/games/packs", "", ""},
           {"PATCH", "/api/games/packs/A%20b%2Fc/favor", "/api/games/packs/{name}/favor", "A b/c", ""},
           {"PATCH", "/api/games/packs/a+b/favor", "/api/games/packs/{name}/favor", "a+b", ""},
           {"PATCH", "/api/games/packs/favor", "/api/games/{id}/favor", "packs", ""},
           {"PATCH", "/api/games/packs/a/b/favor", nullptr, "", ""},
           {"PUT", "/api/games/packs", nullptr, "", "GET, HEAD"},
           {"POST", "/api/games/7", nullptr, "", "GET, HEAD, PUT"},
           {"GET", "/api/games/", nullptr, "", ""},
           {"GET", "/api//games", nullptr, "", ""},
           {"GET", "/api/games/7/", nullptr, "", ""},
           {"GET", "/api/games/%", nullptr, "", ""},
           {"GET", "/api/games/%f0%28", nullptr, "", ""},
           {"GET", "/api/games/%00", nullptr, "", ""},
           {"GET", "/API/games", nullptr, "", ""},
           {"GET", "api/games", nullptr, "", ""},
           {"GET", "", nullptr, "", ""},
       }) {
    BOOST_TEST_CONTEXT(one.method << " " << one.path) {
      const Router::Match match = router.find(one.method, one.path);
      BOOST_TEST((match.route == nullptr) == (one.pattern == nullptr));
      if (match.route != nullptr && one.pattern != nullptr)
        BOOST_TEST(match.route->pattern == std::string(one.pattern));
      BOOST_TEST((match.params.empty() ? "" : match.params[0]) == one.param);
      if (match.route == nullptr) BOOST_TEST(match.allow == one.allow);
    }
  }
}

BOOST_AUTO_TEST_CASE(an_id_is_a_positive_decimal_number) {
  Request request;
  for (const auto& [text, id] : std::vector<std::pair<std::string, std::int64_t>>{{"7", 7},
                                                                                  {"0", 0},
                                                                                  {"-7", 0},
                                                                                  {"+7", 0},
                                                                                  {"07", 0},
                                                                                  {"7.0", 0},
                                                                                  {"7x", 0},
                                                                                  {" 7", 0},
                                                                                  {"9223372036854775807", INT64_MAX},
                                                                                  {"9223372036854775808", 0}}) {
    request.params = {text};
    BOOST_TEST(request.id() == id);
  }
}

BOOST_AUTO_TEST_CASE(query_values_are_decoded_and_the_last_one_counts) {
  Request request;
  request.query = "a=1&b=x%20y+z&a=2&empty=&flag&%63=d";
  BOOST_TEST(request.query_value("a").value() == "2");
  BOOST_TEST(request.query_value("b").value() == "x y z");
  BOOST_TEST(request.query_value("c").value() == "d");
  BOOST_TEST(request.query_value("empty").value() == "");
  BOOST_TEST(request.query_value("flag").value() == "");
  BOOST_TEST(!request.query_value("absent"));
}

BOOST_AUTO_TEST_SUITE_END()
