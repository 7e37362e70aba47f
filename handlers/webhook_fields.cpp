#include "handlers/webhook_fields.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <set>

#include "shared/events.hpp"
#include "shared/json_writer.hpp"
#include "shared/log.hpp"
#include "shared/webhook_headers.hpp"
#include "shared/webhook_url.hpp"

namespace gamepicker {
namespace {

// Column widths of webhooks in sql/001_initial.sql; a sealed secret of this length fits its column.
constexpr std::size_t kMaxName = 100;
constexpr std::size_t kMaxUrl = 2000;
constexpr std::size_t kMaxSecret = 128;
constexpr std::size_t kMaxPatterns = 50;
constexpr std::size_t kMaxChannel = 200;  // channels.name
constexpr std::size_t kMaxHeaders = 20;
constexpr std::size_t kMaxHeaderName = 100;
constexpr std::size_t kMaxHeaderValue = 1000;
// Sealed, and in base64 then, it fits into webhooks.sealed_headers.
constexpr std::size_t kMaxHeadersJson = 8000;
// webhooks.md; two hours is the longest wait between two attempts.
constexpr std::int64_t kMaxRetries = 20;
constexpr std::int64_t kMaxRetryDelay = 7'200'000;
constexpr std::int64_t kMinTimeout = 100;
constexpr std::int64_t kMaxTimeout = 30'000;
constexpr std::int64_t kMaxRate = 10'000;
constexpr std::int64_t kMaxConcurrency = 32;

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

/// Besides those of webhooks.md, their families and what belongs to the connection (RFC 9110, section 7.6.1).
bool is_reserved(const std::string& name) {
  constexpr std::array<std::string_view, 5> kOfConnection = {"expect", "keep-alive", "te", "trailer", "upgrade"};
  const std::string small = lower(name);
  return is_reserved_webhook_header(name) || std::ranges::find(kOfConnection, small) != kOfConnection.end() ||
         small.starts_with("x-webhook-") || small.starts_with("webhook-") || small.starts_with("proxy-");
}

std::string read_header_value(const JsonObject& headers, const std::string& name) {
  std::optional<std::string> value;
  try {
    value = headers.text(name, kMaxHeaderValue);
  } catch (const FieldError& error) {
    throw FieldError(std::string("headers.") + error.what());
  }
  if (!value) throw FieldError("headers." + name + " must be a string");
  if (!is_header_value(*value)) throw FieldError("headers." + name + " must be one line without blanks at its ends");
  return *value;
}

/// The headers as one JSON object; empty when there are none.
std::string read_headers(const JsonObject& body) {
  const auto headers = body.object("headers");
  if (!headers) return {};
  const std::vector<std::string> names = headers->names();
  if (names.size() > kMaxHeaders) throw FieldError("headers must have at most 20 entries");
  std::set<std::string> seen;
  JsonWriter json;
  json.begin_object();
  for (const std::string& name : names) {
    if (!is_header_name(name) || name.size() > kMaxHeaderName) {
      throw FieldError("headers must have names of HTTP token characters, 1 to 100 each");
    }
    if (is_reserved(name)) throw FieldError("headers must not have " + name);
    if (!seen.insert(lower(name)).second) throw FieldError("headers must not have " + name + " twice");
    json.text_field(name, read_header_value(*headers, name));
  }
  json.end_object();
  if (json.text().size() > kMaxHeadersJson) throw FieldError("headers must be at most 8000 bytes of JSON");
  return names.empty() ? std::string() : json.take();
}

std::vector<std::string> read_events(const JsonObject& body) {
  if (!body.is_array("events")) throw HttpError(400, "events must be an array");
  const auto events = body.text_list("events", kMaxName).value_or(std::vector<std::string>());
  if (events.empty()) throw HttpError(400, "events must not be empty");
  if (events.size() > kMaxPatterns) throw HttpError(400, "events must have at most 50 entries");
  for (const std::string& pattern : events) {
    if (!is_known_event_pattern(pattern)) throw HttpError(400, "Unknown event type: " + pattern);
  }
  return events;
}

/// The characters of a channel name, and `*` for any run of them.
bool is_channel_pattern(std::string pattern) {
  std::ranges::replace(pattern, '*', '.');
  return is_channel_name(pattern);
}

std::vector<std::string> read_channels(const JsonObject& body) {
  if (body.is_null("channels")) return {};
  auto channels = body.text_list("channels", kMaxChannel).value_or(std::vector<std::string>());
  if (channels.size() > kMaxPatterns) throw FieldError("channels must have at most 50 entries");
  for (std::size_t i = 0; i < channels.size(); ++i) {
    if (!is_channel_pattern(channels[i])) {
      throw FieldError("channels[" + std::to_string(i) + "] must be a channel name, with * for any characters");
    }
  }
  return channels;
}

/// A text that must not be empty; nothing when it was not given.
std::optional<std::string> read_text(const JsonObject& body, const std::string& name, std::size_t max_characters) {
  auto text = body.text(name, max_characters);
  if (text && text->empty()) throw HttpError(400, name + " must not be empty");
  return text;
}

}  // namespace

void check_required_fields(const JsonObject& body) {
  bool missing = !body.has("events") || body.is_null("events");
  for (const char* name : {"name", "url", "secret"}) {
    const auto text = body.text(name, SIZE_MAX);
    missing |= !text || text->empty();
  }
  if (missing) throw HttpError(400, "Missing required fields: name, url, secret, events");
}

WebhookFields read_webhook_fields(const Api& api, const JsonObject& body, Webhook& webhook) {
  WebhookFields fields;
  const auto given = [&](const char* name) {
    const bool has = body.has(name);
    fields.any |= has;
    return has;
  };
  if (auto name = read_text(body, "name", kMaxName)) {
    webhook.name = std::move(*name);
    fields.has_name = true;
  }
  if (auto url = body.text("url", kMaxUrl)) {
    check_webhook_url(api, *url);
    webhook.url = std::move(*url);
    fields.has_url = true;
  }
  fields.secret = read_text(body, "secret", kMaxSecret);
  if (body.has("events") && !body.is_null("events")) {
    webhook.events = read_events(body);
    fields.has_events = true;
  }
  if (const auto enabled = body.boolean("enabled")) {
    webhook.enabled = *enabled;
    fields.enables = *enabled;
    fields.any = true;
  }
  fields.any |= fields.has_name || fields.has_url || fields.secret || fields.has_events;
  if (given("method")) {
    webhook.method = body.text("method", kMaxName).value_or("POST");
    if (webhook.method != "POST" && webhook.method != "PUT") throw FieldError("method must be POST or PUT");
  }
  if (given("headers")) {
    const std::string headers = read_headers(body);
    webhook.sealed_headers = headers.empty() ? std::nullopt : std::optional(api.secrets.seal(headers));
  }
  if (given("retryAttempts")) webhook.retry_attempts = body.integer("retryAttempts", 0, kMaxRetries);
  if (given("retryDelay")) webhook.retry_delay_ms = body.integer("retryDelay", 0, kMaxRetryDelay);
  if (given("timeout")) webhook.timeout_ms = body.integer("timeout", kMinTimeout, kMaxTimeout);
  if (given("rateLimit")) webhook.rate_limit = body.integer("rateLimit", 1, kMaxRate);
  if (given("concurrency")) webhook.concurrency = body.integer("concurrency", 1, kMaxConcurrency).value_or(1);
  if (given("channels")) {
    webhook.channels = read_channels(body);
    fields.has_channels = true;
  }
  return fields;
}

void check_webhook_url(const Api& api, const std::string& url) {
  const auto parsed = WebhookUrl::parse(url);
  const bool visible = std::ranges::none_of(url, [](unsigned char c) { return c <= 0x20 || c == 0x7f; });
  if (!parsed || !visible) throw HttpError(400, "Invalid URL format");
  if (const auto refusal = api.addresses.literal_refusal(parsed->host, parsed->port)) {
    throw HttpError(400, "url: " + *refusal);
  }
}

std::vector<std::string> header_names(const SecretBox& secrets, const std::optional<std::string>& sealed) {
  if (!sealed) return {};
  try {
    return JsonObject::parse(secrets.open(*sealed)).names();
  } catch (const std::runtime_error& error) {  // they can be set anew, which takes a list that can be read
    log_error(std::string("the headers of a webhook cannot be opened: ") + error.what());
    return {};
  }
}

std::string like_pattern(const std::string& pattern) {
  std::string like;
  for (const char c : pattern) {
    if (c == '_') like += '|';  // the other two special characters are in no channel name
    like += c == '*' ? '%' : c;
  }
  return like;
}

}  // namespace gamepicker
