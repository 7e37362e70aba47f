#include "handlers/http.hpp"

#include <charconv>
#include <limits>

#include "shared/json_writer.hpp"

namespace gamepicker {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      const int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
      const int low = high < 0 ? -1 : hex_value(text[i + 2]);
      if (low < 0) return std::nullopt;
      decoded += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      decoded += text[i] == '+' && plus_is_space ? ' ' : text[i];
    }
  }
  if (decoded.find('\0') != std::string::npos || !is_valid_utf8(decoded)) return std::nullopt;
  return decoded;
}

std::optional<std::int64_t> parse_positive(std::string_view text, std::int64_t max) {
  std::int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || stop != end || text.front() == '0' || number < 1 || number > max) return std::nullopt;
  return number;
}

std::int64_t Request::id(std::size_t n) const {
  // Ids are INT UNSIGNED or BIGINT UNSIGNED; beyond the signed range there is no row.
  return parse_positive(params.at(n), std::numeric_limits<std::int64_t>::max()).value_or(0);
}

std::optional<std::string> Request::query_value(std::string_view name) const {
  std::optional<std::string> found;
  for (std::string_view rest = query; !rest.empty();) {
    const auto end = rest.find('&');
    const std::string_view pair = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    const auto equals = pair.find('=');
    if (percent_decode(pair.substr(0, equals), true) != name) continue;
    found = equals == std::string_view::npos ? std::string() : percent_decode(pair.substr(equals + 1), true);
    if (!found) throw HttpError(400, std::string(name) + " is not valid percent-encoded UTF-8");
  }
  return found;
}

std::optional<std::int64_t> query_integer(const Request& request, std::string_view name, std::int64_t min,
                                          std::int64_t max) {
  const auto text = request.query_value(name);
  if (!text) return std::nullopt;
  if (*text == "0" && min == 0) return 0;
  const auto number = parse_positive(*text, max);
  if (!number || *number < min) {
    throw HttpError(
        400, std::string(name) + " must be a whole number from " + std::to_string(min) + " to " + std::to_string(max));
  }
  return number;
}

Response json_response(int status, std::string body) {
  Response response;
  response.status = status;
  response.body = std::move(body);
  return response;
}

Response error_response(int status, std::string_view message, std::string_view extra) {
  std::string body = R"({"error":)";
  append_json_string(body, message);
  if (!extra.empty()) body.append(",").append(extra);
  body += '}';
  return json_response(status, std::move(body));
}

}  // namespace gamepicker
