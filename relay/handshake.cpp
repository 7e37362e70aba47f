#include "relay/handshake.hpp"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include <Poco/SHA1Engine.h>

#include "shared/json_writer.hpp"
#include "shared/signature.hpp"

namespace gamepicker {
namespace {

constexpr std::string_view kTokenPunctuation = "!#$%&'*+-.^_`|~";

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return is_alphanumeric(c) || kTokenPunctuation.find(c) != std::string_view::npos;
  });
}

bool is_field_value(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte == '\t' || (byte >= 0x20 && byte != 0x7F);
  });
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

struct Field {
  std::string_view name;
  std::string_view value;
};

class Head {
 public:
  /// Throws Refusal for a malformed line.
  void add(std::string_view line) {
    const auto colon = line.find(':');
    // A name must stand directly before its colon; a line that begins with a space would be a folded one.
    if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) throw Refusal{400, "Bad request"};
    const std::string_view value = trimmed(line.substr(colon + 1));
    if (!is_field_value(value)) throw Refusal{400, "Bad request"};
    fields_.push_back({line.substr(0, colon), value});
  }

  std::size_t count(std::string_view name) const {
    return static_cast<std::size_t>(std::count_if(
        fields_.begin(), fields_.end(), [name](const Field& field) { return equal_ignoring_case(field.name, name); }));
  }

  /// The only field of this name; empty when absent. Throws Refusal when there are several.
  std::string_view only(std::string_view name) const {
    if (count(name) > 1) throw Refusal{400, "Repeated header " + std::string(name)};
    for (const Field& field : fields_) {
      if (equal_ignoring_case(field.name, name)) return field.value;
    }
    return {};
  }

  /// Whether a comma-separated list, which may be spread over several fields, holds `wanted`.
  bool lists(std::string_view name, std::string_view wanted) const {
    for (const Field& field : fields_) {
      if (!equal_ignoring_case(field.name, name)) continue;
      std::string_view rest = field.value;
      while (!rest.empty()) {
        const auto comma = std::min(rest.find(','), rest.size());
        if (equal_ignoring_case(trimmed(rest.substr(0, comma)), wanted)) return true;
        rest.remove_prefix(std::min(comma + 1, rest.size()));
      }
    }
    return false;
  }

 private:
  std::vector<Field> fields_;
};

/// Whether an Accept header names the type, whatever its parameters.
bool accepts(std::string_view list, std::string_view type) {
  while (!list.empty()) {
    const auto comma = std::min(list.find(','), list.size());
    const std::string_view range = list.substr(0, comma);
    if (equal_ignoring_case(trimmed(range.substr(0, range.find(';'))), type)) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

/// The target of "GET /path?query HTTP/1.1".
std::string read_request_line(std::string_view line) {
  const auto first = line.find(' ');
  const auto last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) throw Refusal{400, "Bad request"};
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const bool plain = std::all_of(target.begin(), target.end(), [](char c) { return c > 0x20 && c < 0x7F; });
  if (!is_token(method) || !plain || !target.starts_with('/')) throw Refusal{400, "Bad request"};
  if (line.substr(last + 1) != "HTTP/1.1") throw Refusal{400, "HTTP/1.1 required"};
  if (method != "GET") throw Refusal{405, "Method not allowed"};
  return std::string(target);
}

void check_key(std::string_view key) {
  // 16 bytes are 24 characters of base64; anything longer cannot be right.
  try {
    if (key.size() == 24 && from_base64(key).size() == 16) return;
  } catch (const std::invalid_argument&) {
    // answered below
  }
  throw Refusal{400, "Invalid Sec-WebSocket-Key"};
}

std::optional<std::string> bearer_token(std::string_view authorization) {
  constexpr std::string_view scheme = "Bearer ";
  if (!equal_ignoring_case(authorization.substr(0, scheme.size()), scheme)) return std::nullopt;
  return std::string(trimmed(authorization.substr(scheme.size())));
}

using Result = std::variant<UpgradeRequest, StreamRequest, Refusal>;

Result read_fields(const Head& head, const std::string& target) {
  if (head.only("Host").empty()) throw Refusal{400, "Host header required"};
  if (head.count("Transfer-Encoding") > 0) throw Refusal{400, "Body not allowed"};
  const std::string_view length = head.only("Content-Length");
  if (!length.empty() && length != "0") throw Refusal{400, "Body not allowed"};
  const auto mark = std::min(target.find('?'), target.size());
  LiveRequest request{target.substr(0, mark), std::string(head.only("X-Real-IP")), std::string(head.only("Origin")),
                      bearer_token(head.only("Authorization"))};
  if (head.count("Upgrade") == 0 && accepts(head.only("Accept"), "text/event-stream")) {
    return StreamRequest{std::move(request), target.substr(std::min(mark + 1, target.size())),
                         std::string(head.only("Last-Event-ID"))};
  }
  if (!head.lists("Upgrade", "websocket") || !head.lists("Connection", "upgrade")) {
    throw Refusal{426, "WebSocket upgrade required"};
  }
  if (head.only("Sec-WebSocket-Version") != "13") throw Refusal{426, "Unsupported WebSocket version"};
  const std::string_view key = head.only("Sec-WebSocket-Key");
  check_key(key);
  return UpgradeRequest{std::move(request), websocket_accept(key)};
}

Result read_request(std::string_view head) {
  Head fields;
  std::optional<std::string> target;
  while (true) {
    const auto end = head.find("\r\n");
    if (end == std::string_view::npos) throw Refusal{400, "Bad request"};
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(end + 2);
    if (line.empty()) break;
    if (target) {
      fields.add(line);
    } else {
      target = read_request_line(line);
    }
  }
  if (!target) throw Refusal{400, "Bad request"};
  return read_fields(fields, *target);
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 426:
      return "Upgrade Required";
    case 431:
      return "Request Header Fields Too Large";
    case 503:
      return "Service Unavailable";
    default:
      return "Bad Request";
  }
}

}  // namespace

std::size_t find_head_end(std::string_view bytes, std::size_t searched) {
  const auto found = bytes.find("\r\n\r\n", searched < 3 ? 0 : searched - 3);
  return found == std::string_view::npos ? found : found + 4;
}

std::variant<UpgradeRequest, StreamRequest, Refusal> read_live_request(std::string_view head) {
  try {
    return read_request(head);
  } catch (const Refusal& refusal) {
    return refusal;
  }
}

std::string websocket_accept(std::string_view key) {
  Poco::SHA1Engine sha1;
  sha1.update(key.data(), key.size());
  constexpr std::string_view guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";  // RFC 6455 section 1.3
  sha1.update(guid.data(), guid.size());
  const auto& digest = sha1.digest();
  return to_base64(std::string(digest.begin(), digest.end()));
}

std::string upgrade_response(const UpgradeRequest& request) {
  return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
         "Upgrade\r\nSec-WebSocket-Accept: " +
         request.accept + "\r\n\r\n";
}

std::string stream_response() {
  // The last line is for nginx, should its configuration not know of this path.
  return "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\n"
         "X-Accel-Buffering: no\r\n\r\n";
}

std::string refusal_response(const Refusal& refusal) {
  const std::string body = JsonWriter().begin_object().field("error", refusal.error).end_object().take();
  std::string response = "HTTP/1.1 " + std::to_string(refusal.status) + ' ';
  response.append(reason_phrase(refusal.status));
  response += "\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: " + std::to_string(body.size()) +
              "\r\nCache-Control: no-store\r\n";
  if (refusal.status == 401) response += "WWW-Authenticate: Bearer\r\n";
  if (refusal.status == 405) response += "Allow: GET\r\n";
  if (refusal.status == 503) response += "Retry-After: 5\r\n";
  // RFC 9110 section 15.5.22: a 426 names the protocol, and "upgrade" goes into Connection.
  response += refusal.status == 426
                  ? "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nConnection: Upgrade, close\r\n"
                  : "Connection: close\r\n";
  return response + "\r\n" + body;
}

}  // namespace gamepicker
