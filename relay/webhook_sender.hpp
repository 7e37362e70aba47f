#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shared/config.hpp"

namespace gamepicker {

/// One try of one delivery.
struct WebhookRequest {
  std::uint64_t delivery_id = 0;
  std::int64_t webhook_id = 0;
  std::int64_t attempt = 1;
  std::string method = "POST";
  std::string url;
  std::vector<std::pair<std::string, std::string>> headers;  ///< the webhook's own
  std::vector<std::string> secrets;                          ///< the current one first; each signs
  std::string event_type;
  std::string body;
  std::chrono::milliseconds timeout{5'000};  ///< covers everything from DNS to the last byte of the answer
};

/// How long the phases of an attempt took; nothing for one that did not happen (a reused connection) or did not end.
struct AttemptPhases {
  std::optional<std::chrono::microseconds> dns, connect, tls;
  std::optional<std::chrono::microseconds> first_byte;  ///< from the start of the attempt
};

struct WebhookResponse {
  std::optional<int> status;  ///< nothing when no answer came
  std::string error;          ///< empty exactly when the answer was a 2xx in time
  std::string body;           ///< its first 1 KiB, made valid UTF-8
  std::optional<std::chrono::milliseconds> retry_after;
  std::chrono::milliseconds duration{0};
  bool cut = false;  ///< the answer was longer than what is read of it
  AttemptPhases phases;
  std::string peer_address;  ///< the address connected to, numeric, without port; empty when none was
};

/// POSTs deliveries. Thread-safe: every worker calls the same one. Connections are kept for a few seconds and used
/// again by the next delivery of the same webhook.
class WebhookSender {
 public:
  /// Takes what webhooks may reach from the configuration. Throws ConfigError.
  explicit WebhookSender(const Config& config);
  ~WebhookSender();
  WebhookSender(const WebhookSender&) = delete;
  WebhookSender& operator=(const WebhookSender&) = delete;

  /// Never throws for anything the endpoint or the network does; redirects are not followed.
  WebhookResponse send(const WebhookRequest& request);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// `bytes` with everything that is not UTF-8 replaced by U+FFFD, cut at a character to at most `limit` bytes.
std::string to_valid_utf8(std::string_view bytes, std::size_t limit);

}  // namespace gamepicker
