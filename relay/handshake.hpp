#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

/// How a client comes in: the HTTP upgrade of RFC 6455 section 4, or a request for an event stream (SSE). The server's
/// side, and nothing else: no sockets, no policy.
namespace gamepicker {

/// A request head longer than this is refused with 431.
inline constexpr std::size_t kMaxHeadBytes = 8192;

/// What both kinds of request have, in the parts the relay cares about.
struct LiveRequest {
  std::string path;                  ///< without the query
  std::string address;               ///< X-Real-IP, as nginx sets it; empty on a direct connection
  std::string origin;                ///< empty when absent
  std::optional<std::string> token;  ///< of Authorization: Bearer
};

struct UpgradeRequest : LiveRequest {
  std::string accept;  ///< the value of Sec-WebSocket-Accept
};

struct StreamRequest : LiveRequest {
  std::string query;
  std::string last_event_id;  ///< empty when absent
};

struct Refusal {
  int status = 400;
  std::string error;
};

/// Where the head ends (just behind its blank line), or npos. `searched` bytes were looked at before.
std::size_t find_head_end(std::string_view bytes, std::size_t searched = 0);

/// `head`: everything up to and including the blank line.
std::variant<UpgradeRequest, StreamRequest, Refusal> read_live_request(std::string_view head);

/// The 101 answer.
std::string upgrade_response(const UpgradeRequest& request);

/// The head of the 200 answer; the stream behind it ends with the connection.
std::string stream_response();

/// A JSON error with Content-Length and Connection: close; 401, 405 and 426 with the headers HTTP asks for.
std::string refusal_response(const Refusal& refusal);

/// Sec-WebSocket-Accept of a Sec-WebSocket-Key.
std::string websocket_accept(std::string_view key);

}  // namespace gamepicker
