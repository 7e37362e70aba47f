// Whole requests through router, access, readers and handlers, with the database away: whatever comes in, the answer is
// one of ours and well-formed, and never a 500. An input is a line "METHOD TARGET", lines "name: value" up to an empty
// one, and the body. The admin's token is added unless the header anonymous is there.

#include <cstdlib>
#include <iostream>
#include <set>
#include <string>
#include <string_view>

#include <Poco/JSON/Parser.h>

#include "handlers/api.hpp"
#include "handlers/dispatch.hpp"
#include "shared/log.hpp"

using namespace gamepicker;

namespace {

struct Server {
  Server() : api(config()), dispatcher(api, "") { configure_log("fuzz", static_cast<LogLevel>(-1)); }

  static Config config() {
    Config config;
    config.admin_key = "the admin key of the fuzz target";
    config.jwt_secret = "a secret for the tokens of the fuzz target";
    config.secret_key = std::string(64, 'a');
    config.db_socket = "/nonexistent";
    config.relay_nudge.clear();
    return config;
  }

  Api api;
  Dispatcher dispatcher;
  std::string authorization = "Bearer " + api.tokens.issue(Role::admin, "admin", std::chrono::hours(24));
};

std::string_view take_line(std::string_view& text) {
  const auto end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

Request read_request(std::string_view text, const std::string& authorization) {
  Request request;
  request.request_id = "fuzz";
  request.authorization = authorization;
  const std::string_view first = take_line(text);
  const auto space = first.find(' ');
  request.method = first.substr(0, space);
  const std::string_view target = space == std::string_view::npos ? "/" : first.substr(space + 1);
  const auto question = target.find('?');
  request.path = target.substr(0, question);
  if (question != std::string_view::npos) request.query = target.substr(question + 1);
  for (std::string_view line = take_line(text); !line.empty(); line = take_line(text)) {
    const auto colon = line.find(": ");
    const std::string_view name = line.substr(0, colon);
    const std::string value(colon == std::string_view::npos ? "" : line.substr(colon + 2));
    if (name == "anonymous") request.authorization.clear();
    if (name == "authorization") request.authorization = value;
    if (name == "content-type") request.content_type = value;
    if (name == "idempotency-key") request.idempotency_key = value;
    if (name == "if-none-match") request.if_none_match = value;
  }
  request.body = text;
  return request;
}

void expect(bool condition, const char* promise, const Response& response) {
  if (condition) return;
  std::cerr << "broken: " << promise << "\nstatus " << response.status << ", body " << response.body << '\n';
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Server server;
  Request request = read_request({reinterpret_cast<const char*>(data), size}, server.authorization);
  const Response response = server.dispatcher.handle(request);
  static const std::set<int> expected = {200, 201, 202, 204, 304, 400, 401, 403, 404, 405, 409, 413, 503};
  expect(expected.contains(response.status), "a status of the contract", response);
  expect(is_valid_utf8(response.body), "the answer is UTF-8", response);
  if (response.content_type.starts_with("application/json") && !response.body.empty()) {
    try {
      Poco::JSON::Parser().parse(response.body);
    } catch (const std::exception&) {
      expect(false, "the answer is JSON", response);
    }
  }
  for (const auto& [name, value] : response.headers) {
    expect((name + value).find_first_of("\r\n") == std::string::npos, "a header is one line", response);
  }
  return 0;
}
