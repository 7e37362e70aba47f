#include "tests/api/fixture.hpp"

using namespace gamepicker;
using namespace gamepicker::test;

BOOST_FIXTURE_TEST_SUITE(dispatch, ApiFixture)

BOOST_AUTO_TEST_CASE(health_is_ok_and_ready_tells_the_schema) {
  BOOST_TEST(call("GET", "/health").body == R"({"status":"ok","message":"Jackbox Game Picker API is running"})");
  BOOST_TEST(call("GET", "/health/ready").body == R"({"status":"ready","database":"ok","schema":6})");
}

BOOST_AUTO_TEST_CASE(without_a_database_health_stays_ok_and_the_rest_is_503) {
  Config config = api_config(database);
  config.db_socket = "/nonexistent/db.sock";
  Api away(config);
  Dispatcher dispatcher_away(away, "");
  const auto get = [&](const char* path) {
    Request request;
    request.method = "GET";
    request.path = path;
    return send(dispatcher_away, request);
  };
  BOOST_TEST(get("/health").status == 200);
  BOOST_TEST(get("/health/ready").status == 503);
  BOOST_TEST(at(get("/health/ready"), "status") == "unavailable");
  const Response games = get("/api/games");
  BOOST_TEST(games.status == 503);
  BOOST_TEST(games.body == R"({"error":"Service temporarily unavailable"})");
  BOOST_TEST(header(games, "Retry-After") != "(missing)");
}

BOOST_AUTO_TEST_CASE(unknown_paths_are_404_and_other_methods_405_with_allow) {
  check_errors(*this, {
                          {"GET", "/api/nothing", "", 404, "Not found"},
                          {"GET", "/", "", 404, "Not found"},
                          {"GET", "/api/games/", "", 404, "Not found"},
                          {"GET", "/api/games/1%2F2/x", "", 404, "Not found"},
                          {"GET", "/api/games/%zz", "", 404, "Not found"},
                          {"GET", "/api/games/%ff", "", 404, "Not found"},
                          {"DELETE", "/api/sessions", "", 405, "Method not allowed"},
                          {"BREW", "/api/sessions", "", 405, "Method not allowed"},
                      });
  BOOST_TEST(header(call("DELETE", "/api/sessions"), "Allow") == "GET, HEAD, POST");
  BOOST_TEST(header(call("PUT", "/api/sessions/active"), "Allow") == "GET, HEAD");
}

BOOST_AUTO_TEST_CASE(every_answer_carries_request_id_and_cors_headers) {
  for (const char* path : {"/health", "/api/games", "/api/nothing"}) {
    const Response response = call("GET", path);
    BOOST_TEST(header(response, "X-Request-Id") == "test-request");
    BOOST_TEST(header(response, "Access-Control-Allow-Origin") == "*");
  }
}

BOOST_AUTO_TEST_CASE(a_configured_origin_is_told_with_vary_and_the_headers_scripts_may_read) {
  Config config = api.config;
  config.cors_origin = "https://dashboard.example";
  Api strict(config);
  Dispatcher strict_dispatcher(strict, "");
  Request request;
  request.method = "GET";
  request.path = "/api/stats";
  const Response response = send(strict_dispatcher, request);
  BOOST_TEST(header(response, "Access-Control-Allow-Origin") == "https://dashboard.example");
  BOOST_TEST(header(response, "Vary") == "Origin");
  BOOST_TEST(header(response, "Access-Control-Expose-Headers") ==
             "X-Total-Count, X-Absolute-Total, X-Prev-Last-Date, X-Request-Id");
}

BOOST_AUTO_TEST_CASE(preflight_is_answered_with_204) {
  const Response response = call("OPTIONS", "/api/sessions");
  BOOST_TEST(response.status == 204);
  BOOST_TEST(header(response, "Access-Control-Allow-Methods") == "GET, HEAD, POST, OPTIONS");
  BOOST_TEST(header(response, "Access-Control-Allow-Headers").find("Authorization") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(an_unchanged_answer_is_304_for_its_etag) {
  const Response first = call("GET", "/api/games/1");
  Request request;
  request.method = "GET";
  request.path = "/api/games/1";
  request.if_none_match = header(first, "ETag");
  const Response second = send(dispatcher, request);
  BOOST_TEST(second.status == 304);
  BOOST_TEST(second.body.empty());
  database.execute("UPDATE games SET upvotes = upvotes + 1 WHERE id = 1");
  BOOST_TEST(send(dispatcher, request).status == 200);
}

BOOST_AUTO_TEST_CASE(bodies_that_are_no_json_object_are_refused) {
  for (const auto& [body, error] : std::vector<std::pair<std::string, std::string>>{
           {"{", "Invalid JSON"},
           {"{\"a\":1}x", "Invalid JSON"},
           {"\"\xff\"", "Invalid JSON"},
           {std::string(10000, '['), "Invalid JSON"},
           {"[1]", "Request body must be a JSON object"},
           {"7", "Request body must be a JSON object"},
           {" null ", "Request body must be a JSON object"},
           {"\"x\"", "Request body must be a JSON object"},
           {"1,2", "Invalid JSON"},
       }) {
    const Response response = admin("POST", "/api/sessions", body);
    BOOST_TEST_CONTEXT(body.substr(0, 20)) {
      BOOST_TEST(response.status == 400);
      BOOST_TEST(at(response, "error") == error);
    }
  }
}

BOOST_AUTO_TEST_CASE(an_unexpected_error_tells_the_client_nothing_but_the_request_id) {
  database.execute("DROP TABLE webhook_patterns");
  const Response response =
      admin("POST", "/api/webhooks", R"({"name":"w","url":"http://a.example/","secret":"s","events":["*"]})");
  BOOST_TEST(response.status == 500);
  BOOST_TEST(response.body == R"({"error":"Internal server error","requestId":"test-request"})");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(auth, ApiFixture)

BOOST_AUTO_TEST_CASE(login_gives_a_token_that_verifies) {
  for (const char* field : {"key", "apiKey"}) {
    const Response response = call("POST", "/api/auth/login", std::string("{\"") + field + "\":\"" + kAdminKey + "\"}");
    BOOST_REQUIRE_EQUAL(response.status, 200);
    BOOST_TEST(at(response, "message") == "Authentication successful");
    BOOST_TEST(at(response, "expiresIn") == "24h");
    const Response verified = call("POST", "/api/auth/verify", "", "Bearer " + at(response, "token"));
    BOOST_TEST(verified.status == 200);
    BOOST_TEST(at(verified, "valid") == "true");
    BOOST_TEST(at(verified, "user.role") == "admin");
    BOOST_TEST(at(verified, "user.sub") == "admin");
    BOOST_TEST(std::stoll(at(verified, "user.exp")) - std::stoll(at(verified, "user.iat")) == 86400);
  }
}

BOOST_AUTO_TEST_CASE(login_refuses_missing_and_wrong_keys) {
  check_errors(*this, {
                          {"POST", "/api/auth/login", "", 400, "Admin key is required"},
                          {"POST", "/api/auth/login", "{}", 400, "Admin key is required"},
                          {"POST", "/api/auth/login", R"({"key":""})", 400, "Admin key is required"},
                          {"POST", "/api/auth/login", R"({"key":"wrong"})", 401, "Invalid admin key"},
                          {"POST", "/api/auth/login", R"({"key":7})", 400, "key must be a string"},
                      });
}

BOOST_AUTO_TEST_CASE(tokens_are_checked_as_the_contract_says) {
  const Response missing = call("POST", "/api/sessions");
  BOOST_TEST(missing.status == 401);
  BOOST_TEST(missing.body == R"({"error":"Access token required"})");
  BOOST_TEST(header(missing, "WWW-Authenticate") == "Bearer");

  const std::string viewer = api.tokens.issue(Role::viewer, "overlay", std::chrono::hours(1));
  const std::string expired = api.tokens.issue(Role::admin, "admin", std::chrono::seconds(-1));
  const std::string foreign =
      TokenAuthority("another-secret-of-enough-length-000").issue(Role::admin, "admin", std::chrono::hours(1));
  // {"alg":"none"} with the payload of a good token
  const std::string none = "eyJhbGciOiJub25lIn0" + admin_token.substr(admin_token.find('.'));
  for (const auto& [token, error] : std::vector<std::pair<std::string, std::string>>{
           {"nonsense", "Invalid or expired token"},
           {expired, "Invalid or expired token"},
           {foreign, "Invalid or expired token"},
           {none, "Invalid or expired token"},
           {admin_token + "x", "Invalid or expired token"},
           {viewer, "Insufficient permissions"},
       }) {
    const Response response = call("POST", "/api/sessions", "", "Bearer " + token);
    BOOST_TEST(response.status == 403);
    BOOST_TEST(at(response, "error") == error);
  }
  BOOST_TEST(call("POST", "/api/auth/verify", "", "bearer " + viewer).status == 200);
}

BOOST_AUTO_TEST_CASE(every_route_asks_for_the_role_its_table_says) {
  const auto token_of = [&](Role role) { return "Bearer " + api.tokens.issue(role, "x", std::chrono::hours(1)); };
  for (const Route& route : routes_of("")) {
    record_route(route);
    std::string path = route.pattern;
    for (auto brace = path.find('{'); brace != std::string::npos; brace = path.find('{')) {
      path.replace(brace, path.find('}', brace) - brace + 1, "1");
    }
    BOOST_TEST_CONTEXT(route.method << " " << path) {
      const Response without = call(route.method, path);
      if (route.access == Access::open) {
        BOOST_TEST(without.status != 401);
        continue;
      }
      BOOST_TEST(without.body == R"({"error":"Access token required"})");
      BOOST_TEST(header(without, "WWW-Authenticate") == "Bearer");
      BOOST_TEST(call(route.method, path, "", "Bearer x.y.z").body == R"({"error":"Invalid or expired token"})");
      if (route.access == Access::viewer) continue;
      const Role too_low = route.access == Access::admin ? Role::bot : Role::viewer;
      BOOST_TEST(call(route.method, path, "", token_of(too_low)).body == R"({"error":"Insufficient permissions"})");
      BOOST_TEST(call(route.method, path, "", token_of(Role::viewer)).status == 403);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
