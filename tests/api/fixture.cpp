#include "tests/api/fixture.hpp"

#include <algorithm>
#include <cctype>

#include <Poco/JSON/Parser.h>
#include <Poco/JSON/Query.h>

#include "shared/events.hpp"
#include "shared/json_writer.hpp"

namespace gamepicker::test {

namespace {

/// What nginx and the client make of the response.
void record_exchange(const Request& request, const Response& response) {
  JsonWriter json;
  json.begin_object().field("method", request.method);
  json.field("path", is_valid_utf8(request.path) ? request.path : "/(not UTF-8)").field("status", response.status);
  json.key("headers").begin_object();
  if (response.status != 304 && !response.content_type.empty()) json.field("content-type", response.content_type);
  for (const auto& [name, value] : response.headers) {
    std::string lower = name;
    std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    json.field(lower, value);
  }
  json.end_object().field("body", request.method == "HEAD" ? "" : response.body).end_object();
  keep_line(json.text());
}

}  // namespace

Response send(Dispatcher& dispatcher, Request& request) {
  if (request.request_id.empty()) request.request_id = "test-request";  // nginx gives every request one
  Response response = dispatcher.handle(request);
  if (response.stream) response.stream([&](std::string_view piece) { response.body += piece; });
  record_exchange(request, response);
  return response;
}

void record_route(const Route& route) {
  constexpr const char* kAccess[] = {"open", "viewer", "bot", "admin"};
  JsonWriter json;
  json.begin_object().field("route", std::string(route.method) + " " + route.pattern);
  json.field("access", kAccess[static_cast<int>(route.access)]).end_object();
  keep_line(json.text());
}

Config api_config(const TestDatabase& database) {
  Config config = database.config();
  config.admin_key = kAdminKey;
  config.jwt_secret = "a-jwt-secret-for-tests-of-enough-length";
  config.secret_key = std::string(64, 'a');
  config.relay_nudge.clear();
  return config;
}

std::string at(const Response& response, const std::string& path) {
  Poco::JSON::Parser parser;
  const Poco::JSON::Query query(parser.parse(response.body));
  const auto dot = path.find_last_of('.');
  const std::string parent = dot == std::string::npos ? "" : path.substr(0, dot);
  const std::string name = dot == std::string::npos ? path : path.substr(dot + 1);
  if (name.find('[') == std::string::npos) {
    const auto object = query.findObject(parent);
    if (object.isNull() || !object->has(name)) return "(missing)";
  }
  const auto value = query.find(path);
  return value.isEmpty() ? "null" : value.toString();
}

std::string header(const Response& response, const std::string& name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "(missing)";
}

ApiFixture::ApiFixture() : api(api_config(database)), dispatcher(api, "") {
  database.execute("INSERT INTO packs (name) VALUES ('Pack 1'), ('Pack 2')");
  database.execute(
      "INSERT INTO games (pack_name, title, min_players, max_players, length_minutes, family_friendly, game_type, "
      "enabled) VALUES ('Pack 1', 'Quiplash', 3, 8, 15, 0, 'Writing', 1), ('Pack 1', 'Drawful', 3, 8, 20, 1, "
      "'Drawing', 1), ('Pack 2', 'Trivia', 1, 4, NULL, 1, NULL, 1), ('Pack 2', 'Long one', 2, 10, 40, 0, 'Social', 0)");
  admin_token = api.tokens.issue(Role::admin, "admin", std::chrono::hours(1));
}

ApiFixture::~ApiFixture() {
  // Broadcasts choose their types and data themselves.
  for (const char* channels : {"sessions", "session.%", "webhook/test"}) database.keep_events(channels);
}

Response ApiFixture::call(const std::string& method, const std::string& target, const std::string& body,
                          const std::string& authorization) {
  Request request;
  request.method = method;
  const auto question = target.find('?');
  request.path = target.substr(0, question);
  if (question != std::string::npos) request.query = target.substr(question + 1);
  request.body = body;
  request.authorization = authorization;
  request.request_id = "test-request";
  return send(dispatcher, request);
}

std::string ApiFixture::open_session() {
  const Response response = admin("POST", "/api/sessions");
  BOOST_REQUIRE_EQUAL(response.status, 201);
  return at(response, "id");
}

std::string ApiFixture::play(const std::string& session, int game_id) {
  const Response response =
      admin("POST", "/api/sessions/" + session + "/games", "{\"game_id\":" + std::to_string(game_id) + "}");
  BOOST_REQUIRE_EQUAL(response.status, 201);
  return at(response, "id");
}

std::vector<std::string> ApiFixture::events() {
  std::vector<std::string> found;
  for (const auto& row : database.query("SELECT channel, seq, type FROM events ORDER BY id")) {
    found.push_back(row[0] + " " + row[1] + " " + row[2]);
  }
  return found;
}

std::string ApiFixture::event_data_of(const std::string& type) {
  const auto rows = database.query("SELECT body FROM events WHERE type = '" + type + "' ORDER BY id DESC LIMIT 1");
  return rows.empty() ? "(no event)" : std::string(event_data(rows[0][0]));
}

void check_errors(ApiFixture& api, const std::vector<ErrorCase>& cases) {
  for (const ErrorCase& one : cases) {
    BOOST_TEST_CONTEXT(one.method << " " << one.target << " " << one.body) {
      const Response response = api.admin(one.method, one.target, one.body);
      BOOST_TEST(response.status == one.status);
      BOOST_TEST(at(response, "error") == one.error);
    }
  }
}

}  // namespace gamepicker::test
