#include "shared/events.hpp"

#include <algorithm>
#include <charconv>

#include "shared/event_catalogue.hpp"
#include "shared/json_writer.hpp"

namespace gamepicker {
namespace {

constexpr std::string_view kPresencePrefix = "presence-";

constexpr std::string_view kBodyStart = R"({"event":)";
constexpr std::string_view kMessageStart = R"({"type":)";
constexpr std::string_view kDataKey = R"(,"data":)";

std::string body_with(std::string_view type, std::string_view timestamp_json, std::string_view data) {
  std::string body;
  body.reserve(kBodyStart.size() + type.size() + timestamp_json.size() + data.size() + 40);
  body += kBodyStart;
  append_json_string(body, type);
  body.append(R"(,"timestamp":)").append(timestamp_json).append(kDataKey).append(data).append("}");
  return body;
}

}  // namespace

std::string session_channel(std::int64_t session_id) {
  return "session." + std::to_string(session_id);
}

std::string event_body(std::string_view type, std::string_view timestamp, std::string_view data) {
  std::string quoted;
  append_json_string(quoted, timestamp);
  return body_with(type, quoted, data);
}

std::string relay_event_body(std::string_view type, Timestamp timestamp, std::string_view data) {
  return body_with(type, std::to_string(timestamp.time_since_epoch().count()), data);
}

bool is_channel_name(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_.:=@,;-").find(c) != std::string_view::npos;
  };
  return !name.empty() && name.size() <= 200 && std::ranges::all_of(name, allowed);
}

bool is_presence_channel(std::string_view name) {
  return name.starts_with(kPresencePrefix);
}

bool is_built_in_channel(std::string_view name) {
  return name == kSessionsChannel || name.starts_with("session.") || name.starts_with("presence-session.");
}

std::optional<std::int64_t> session_of_channel(std::string_view name) {
  if (is_presence_channel(name)) name.remove_prefix(kPresencePrefix.size());
  if (!name.starts_with("session.")) return std::nullopt;
  name.remove_prefix(std::string_view("session.").size());
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  const bool plain = error == std::errc{} && end == name.data() + name.size() && std::to_string(number) == name;
  return plain && number > 0 ? number : 0;
}

std::string event_message(std::string_view body, std::uint64_t id, std::string_view channel, std::uint64_t offset) {
  body.remove_prefix(kBodyStart.size());
  body.remove_suffix(1);
  std::string message;
  message.reserve(body.size() + channel.size() + 80);
  message.append(kMessageStart).append(body).append(R"(,"id":)").append(std::to_string(id));
  message += R"(,"channel":)";
  append_json_string(message, channel);
  message.append(R"(,"offset":)").append(std::to_string(offset)).append("}");
  return message;
}

std::string_view event_data(std::string_view body) {
  // The first match is the key itself: type and timestamp come before it and hold no quotes.
  const auto start = body.find(kDataKey) + kDataKey.size();
  return body.substr(start, body.size() - start - 1);
}

std::string event_family(std::string_view type) {
  const auto dot = type.find('.');
  return dot == std::string_view::npos ? std::string() : std::string(type.substr(0, dot)) + ".*";
}

bool is_known_event_pattern(std::string_view pattern) {
  if (pattern.empty()) return false;  // a type without a dot has no family
  return pattern == "*" || std::ranges::any_of(event_catalogue(), [&](const EventType& type) {
           return pattern == type.name || pattern == event_family(type.name);
         });
}

}  // namespace gamepicker
