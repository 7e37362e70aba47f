#pragma once

#include <optional>
#include <string>

#include "relay/webhook_connection.hpp"

namespace Poco::Net {
class HTTPRequest;
}

/// One request and its answer on an open connection; included by the sender and its tests only.
namespace gamepicker {

/// What became of a request. With a status, everything else is a bonus.
struct WebhookAnswer {
  std::optional<int> status;
  std::string error;  ///< why there is no status, for the delivery log
  std::string body;   ///< as far as it came; codings are not undone
  std::string retry_after;
  bool reusable = false;  ///< the connection may carry another request
};

/// Of all bytes of an answer: interim answers, head, framing and body.
inline constexpr std::size_t kMaxAnswer = 65536;

/// Sends, and reads at most kMaxAnswer bytes; interim answers are skipped. The connection's exchange has begun, and its
/// watchdog ends the waiting. Throws only when memory runs out.
WebhookAnswer exchange(WebhookConnection& connection, Poco::Net::HTTPRequest& request, const std::string& body);

}  // namespace gamepicker
