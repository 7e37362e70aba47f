#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

/// The HTTP upgrade of RFC 6455 section 4, the server's side, and nothing else: no sockets, no policy.
namespace gamepicker {

/// A request head longer than this is refused with 431.
inline constexpr std::size_t kMaxHeadBytes = 8192;

/// A valid upgrade request, in the parts the relay cares about.
struct UpgradeRequest {
  std::string accept;                ///< the value of Sec-WebSocket-Accept
  std::string path;                  ///< without the query
  std::string address;               ///< X-Real-IP, as nginx sets it; empty on a direct connection
  std::string origin;                ///< empty when absent
  std::optional<std::string> token;  ///< of Authorization: Bearer
};

struct Refusal {
  int status = 400;
  std::string error;
};

/// Where the head ends (just behind its blank line), or npos. `searched` bytes were looked at before.
std::size_t find_head_end(std::string_view bytes, std::size_t searched = 0);

/// `head`: everything up to and including the blank line.
std::variant<UpgradeRequest, Refusal> read_upgrade_request(std::string_view head);

/// The 101 answer.
std::string upgrade_response(const UpgradeRequest& request);

/// A JSON error with Content-Length and Connection: close; 405 and 426 with the headers HTTP asks for.
std::string refusal_response(const Refusal& refusal);

/// Sec-WebSocket-Accept of a Sec-WebSocket-Key.
std::string websocket_accept(std::string_view key);

}  // namespace gamepicker
