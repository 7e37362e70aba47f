#include "handlers/dispatch.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <functional>
#include <optional>

#include "handlers/idempotency.hpp"
#include "shared/json_writer.hpp"
#include "shared/log.hpp"
#include "shared/signature.hpp"

namespace gamepicker {
namespace {

constexpr char kInternalError[] = "Internal server error";

/// The one table from errors to statuses. What the client reads and what the log says are different texts.
Response unavailable() {
  Response response = error_response(503, "Service temporarily unavailable");
  response.headers.emplace_back("Retry-After", "2");
  return response;
}

Response error_to_response(const std::exception_ptr& error, const Request& request) {
  const auto where = [&] { return request.method + " " + request.path + " (" + request.request_id + "): "; };
  try {
    std::rethrow_exception(error);
  } catch (const HttpError& e) {
    return error_response(e.status, e.what(), e.extra);
  } catch (const JsonError& e) {
    return error_response(400, e.what());
  } catch (const FieldError& e) {
    return error_response(400, e.what());
  } catch (const db::Unavailable& e) {
    log_error(where() + e.what());
    return unavailable();
  } catch (const db::CommitUnknown& e) {
    log_error(where() + e.what());
    return unavailable();  // to try again is right: a vote finds its duplicate, other requests can carry an
                           // Idempotency-Key
  } catch (const std::exception& e) {
    log_error(where() + e.what());
  } catch (...) {
    log_error(where() + "unknown exception");
  }
  JsonWriter id;
  id.value(request.request_id);
  return error_response(500, kInternalError, R"("requestId":)" + id.text());
}

/// A weak validator: equal for equal bodies of one build, and a new build only costs one full answer.
std::string entity_tag(std::string_view body) {
  const std::size_t hash = std::hash<std::string_view>{}(body);
  return "W/\"" + to_hex({reinterpret_cast<const char*>(&hash), sizeof hash}) + "\"";
}

/// RFC 9110, section 13.1.2: "*" or a list, compared weakly.
bool tag_matches(std::string_view if_none_match, std::string_view tag) {
  return if_none_match == "*" || if_none_match.find(tag.substr(2)) != std::string_view::npos;
}

void make_conditional(const Request& request, Response& response) {
  const bool reads = request.method == "GET" || request.method == "HEAD";
  if (!reads || response.status != 200 || response.stream || !request.path.starts_with("/api/")) return;
  std::string tag = entity_tag(response.body);
  if (!request.if_none_match.empty() && tag_matches(request.if_none_match, tag)) {
    response.status = 304;
    response.body.clear();
  }
  response.headers.emplace_back("ETag", std::move(tag));
}

Response preflight(const std::string& allow) {
  Response response;
  response.status = 204;
  response.content_type.clear();
  response.headers.emplace_back("Access-Control-Allow-Methods", allow + ", OPTIONS");
  response.headers.emplace_back("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key");
  response.headers.emplace_back("Access-Control-Max-Age", "86400");
  return response;
}

}  // namespace

Response Dispatcher::handle(Request& request) {
  const auto start = std::chrono::steady_clock::now();
  Response response = answer(request);
  make_conditional(request, response);
  add_common_headers(request, response);
  const auto elapsed = std::chrono::steady_clock::now() - start;
  log_debug(request.method + " " + request.path + " " + std::to_string(response.status) + " " +
            std::to_string(std::chrono::duration_cast<std::chrono::microseconds>(elapsed).count()) + " us " +
            request.request_id);
  return response;
}

void Dispatcher::add_common_headers(const Request& request, Response& response) const {
  response.headers.emplace_back("X-Request-Id", request.request_id);
  response.headers.emplace_back("Access-Control-Allow-Origin", api_.config.cors_origin);
  if (api_.config.cors_origin != "*") response.headers.emplace_back("Vary", "Origin");
  response.headers.emplace_back("Access-Control-Expose-Headers",
                                "X-Total-Count, X-Absolute-Total, X-Prev-Last-Date, X-Request-Id");
}

Response Dispatcher::answer(Request& request) {
  try {
    return call(request);
  } catch (...) {
    return error_to_response(std::current_exception(), request);
  }
}

Response Dispatcher::call(Request& request) {
  Router::Match match = router_.find(request.method, request.path);
  if (match.route == nullptr) {
    if (match.allow.empty()) throw HttpError(404, "Not found");
    if (request.method == "OPTIONS") return preflight(match.allow);
    Response response = error_response(405, "Method not allowed");
    response.headers.emplace_back("Allow", match.allow);
    return response;
  }
  request.params = std::move(match.params);
  try {
    check_access(*match.route, request);
  } catch (const HttpError& error) {
    Response response = error_response(error.status, error.what());
    if (error.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
    return response;
  }
  return run(*match.route, request);
}

Response Dispatcher::run(const Route& route, Request& request) {
  const bool keyed = request.idempotency_key && route.access != Access::open && request.method == "POST";
  if (!keyed) return route.handle(api_, request);
  return run_once(api_, request, [&] {
    try {
      return route.handle(api_, request);
    } catch (const JsonError& error) {
      throw HttpError(400, error.what());
    } catch (const FieldError& error) {
      throw HttpError(400, error.what());
    }
  });
}

std::size_t Dispatcher::max_body_bytes(const Request& request) const {
  const Router::Match match = router_.find(request.method, request.path);
  const std::size_t of_route = match.route == nullptr ? 0 : match.route->max_body_bytes;
  return std::max<std::size_t>(of_route, api_.config.max_body_bytes);
}

void Dispatcher::check_access(const Route& route, Request& request) {
  if (route.access == Access::open) return;
  constexpr std::string_view kScheme = "bearer ";  // RFC 9110, section 11.1: schemes ignore case
  std::string scheme = request.authorization.substr(0, kScheme.size());
  for (char& c : scheme) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (scheme != kScheme || request.authorization.size() == kScheme.size()) {
    throw HttpError(401, "Access token required");
  }
  request.claims = api_.tokens.verify(request.authorization.substr(kScheme.size()));
  if (!request.claims) throw HttpError(403, "Invalid or expired token");
  const Role needed = route.access == Access::admin ? Role::admin
                      : route.access == Access::bot ? Role::bot
                                                    : Role::viewer;
  if (request.claims->role < needed) throw HttpError(403, "Insufficient permissions");
}

}  // namespace gamepicker
