#pragma once

#include <string>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "handlers/api.hpp"
#include "handlers/dispatch.hpp"
#include "tests/support/database.hpp"

namespace gamepicker::test {

inline constexpr char kAdminKey[] = "the-admin-key-of-tests";

/// The configuration of an API on this database.
Config api_config(const TestDatabase& database);

/// The value at a path such as "game.title" or "[0].id" as text; "null" for null, "(missing)" when absent.
std::string at(const Response& response, const std::string& path);

/// The first value of a response header, or "(missing)".
std::string header(const Response& response, const std::string& name);

/// Lets the dispatcher answer, drains a streamed body, and keeps the exchange for tests/openapi, which compares all of
/// them with the OpenAPI document (a line of JSON each, in the file named by API_EXCHANGES). Thread-safe.
Response send(Dispatcher& dispatcher, Request& request);

/// Keeps a line of the route tables, for the same comparison.
void record_route(const Route& route);

/// A real database with a few games, and the whole API in this process.
struct ApiFixture {
  ApiFixture();
  /// Keeps the events that were written for tests/openapi, which holds their data against the catalogue.
  ~ApiFixture();
  ApiFixture(const ApiFixture&) = delete;
  ApiFixture& operator=(const ApiFixture&) = delete;

  Response call(const std::string& method, const std::string& target, const std::string& body = {},
                const std::string& authorization = {});
  /// As the admin.
  Response admin(const std::string& method, const std::string& target, const std::string& body = {}) {
    return call(method, target, body, "Bearer " + admin_token);
  }

  /// Opens a session and plays a game in it; returns the session's id.
  std::string open_session();
  std::string play(const std::string& session, int game_id);  ///< returns the session-game id

  /// "channel offset type" of every event, oldest first.
  std::vector<std::string> events();
  /// The data of the newest event of this type.
  std::string event_data_of(const std::string& type);
  std::string one(const std::string& sql) { return database.query(sql).at(0).at(0); }

  TestDatabase database;
  Api api;
  Dispatcher dispatcher;
  std::string admin_token;
};

/// A request that must be answered with this status and this error sentence.
struct ErrorCase {
  const char* method;
  std::string target;
  std::string body;
  int status;
  std::string error;
};

/// Sends each as the admin and compares.
void check_errors(ApiFixture& api, const std::vector<ErrorCase>& cases);

}  // namespace gamepicker::test
