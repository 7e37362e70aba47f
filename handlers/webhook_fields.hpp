#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "handlers/api.hpp"

namespace gamepicker {

using WebhookHeaders = std::vector<std::pair<std::string, std::string>>;

/// One row of webhooks but for its secrets, and what belongs to it. Nothing in an optional number: the server's own.
struct Webhook {
  std::int64_t id = 0;
  std::string name;
  std::string url;
  bool enabled = true;
  std::string created_at;
  std::optional<std::string> disabled_reason;
  std::string method = "POST";
  std::optional<std::string> sealed_headers;
  std::optional<std::int64_t> retry_attempts;
  std::optional<std::int64_t> retry_delay_ms;
  std::optional<std::int64_t> timeout_ms;
  std::optional<std::int64_t> rate_limit;
  std::int64_t concurrency = 1;
  std::vector<std::string> events;
  std::vector<std::string> channels;  ///< none: events are not chosen by their channel
};

/// What a request gives to be changed. read_webhook_fields() has put the rest into the webhook itself.
struct WebhookFields {
  bool any = false;  ///< at least one field was given
  bool has_name = false;
  bool has_url = false;
  bool has_events = false;
  bool has_channels = false;
  bool enables = false;
  std::optional<std::string> secret;
};

/// Throws HttpError 400 unless the fields are there that every new webhook needs.
void check_required_fields(const JsonObject& body);

/// Checks the fields of a request and puts those that were given over `webhook`. Null brings an optional field back to
/// its default and counts as not given for the others. Throws HttpError or FieldError.
WebhookFields read_webhook_fields(const Api& api, const JsonObject& body, Webhook& webhook);

/// Throws HttpError 400 unless events may be sent there, as far as can be told before the name is resolved.
void check_webhook_url(const Api& api, const std::string& url);

/// The names in a sealed set of headers; none when it was sealed with another key.
std::vector<std::string> header_names(const SecretBox& secrets, const std::optional<std::string>& sealed);

/// A channel pattern for LIKE ... ESCAPE '|'.
std::string like_pattern(const std::string& pattern);

}  // namespace gamepicker
