#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/json_reader.hpp"
#include "shared/tokens.hpp"

namespace gamepicker {

/// One HTTP request, independent of how it came in (FastCGI, CGI, a test).
struct Request {
  std::string method;
  std::string path;   ///< as sent, still percent-encoded, without the query
  std::string query;  ///< as sent, without '?'
  std::string authorization;
  std::string if_none_match;
  std::string content_type;
  std::optional<std::string> idempotency_key;
  std::string request_id;
  std::string body;

  // Filled by dispatch.
  std::vector<std::string> params;  ///< decoded values of the pattern's {placeholders}, in order
  std::optional<Claims> claims;     ///< who asks, when the route wants to know

  /// The n-th path parameter as a positive integer, or 0 (which no row has) when it is none.
  std::int64_t id(std::size_t n = 0) const;

  /// The decoded value of a query parameter; the last one when repeated.
  std::optional<std::string> query_value(std::string_view name) const;

  /// The body as a JSON object, an empty one when there is no body; throws JsonError.
  JsonObject json() const { return JsonObject::parse(body.empty() ? "{}" : body); }
};

/// Takes the next piece of a body.
using WriteBody = std::function<void(std::string_view)>;

struct Response {
  int status = 200;
  std::string body;
  std::function<void(const WriteBody& write)> stream;  ///< writes the rest of a long body; may throw
  std::vector<std::pair<std::string, std::string>> headers;
  std::string content_type = "application/json; charset=utf-8";
};

/// An answer that ends the request: the status and the sentence the client reads. `extra` is more JSON members, such
/// as `"activeSessionId":5`.
struct HttpError : std::runtime_error {
  HttpError(int http_status, const std::string& message, std::string extra_members = {})
      : std::runtime_error(message), status(http_status), extra(std::move(extra_members)) {}
  int status;
  std::string extra;
};

Response json_response(int status, std::string body);
Response error_response(int status, std::string_view message, std::string_view extra = {});

/// Decodes %XX (and, in a query, '+'); nothing for a broken escape, invalid UTF-8 or U+0000.
std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space);

/// A decimal number without sign, spaces or leading zeros, up to `max`; nothing for anything else.
std::optional<std::int64_t> parse_positive(std::string_view text, std::int64_t max);

/// A number in the query from `min` to `max`; throws HttpError 400 naming the parameter.
std::optional<std::int64_t> query_integer(const Request& request, std::string_view name, std::int64_t min,
                                          std::int64_t max);

}  // namespace gamepicker
