#include "relay/replies.hpp"

#include "shared/json_writer.hpp"

namespace gamepicker::replies {
namespace {

JsonWriter begin(std::string_view type) {
  JsonWriter json;
  json.begin_object().field("type", type);
  return json;
}

std::string finish(JsonWriter& json, std::string_view ack) {
  if (!ack.empty()) json.field("ack", ack);
  return json.end_object().take();
}

}  // namespace

std::string connection_established(std::string_view socket_id, std::chrono::seconds activity_timeout) {
  JsonWriter json = begin("connection_established");
  json.field("socketId", socket_id).field("activityTimeout", activity_timeout.count());
  return finish(json, {});
}

std::string auth_success(std::string_view ack) {
  JsonWriter json = begin("auth_success");
  json.field("message", "Authenticated successfully");
  return finish(json, ack);
}

std::string auth_error(std::string_view message, std::string_view ack) {
  JsonWriter json = begin("auth_error");
  json.field("message", message);
  return finish(json, ack);
}

std::string subscribed(const Subscribe& subscribe, std::uint64_t offset, std::optional<bool> recovered) {
  JsonWriter json = begin("subscribed");
  if (subscribe.session_id) {
    json.field("sessionId", *subscribe.session_id)
        .field("message", "Subscribed to session " + std::to_string(*subscribe.session_id));
  }
  json.field("channel", subscribe.channel).field("offset", offset);
  if (recovered) json.field("recovered", *recovered);
  if (subscribe.members) json.raw_field("presence", *subscribe.members);
  return finish(json, subscribe.ack);
}

std::string subscribed_batch(const SubscribeBatch& batch) {
  JsonWriter json = begin("subscribed_batch");
  json.key("succeeded").begin_array();
  for (const std::string& channel : batch.succeeded) json.value(channel);
  json.end_array().key("failed").begin_object();
  for (const auto& [channel, message] : batch.failed) json.text_field(channel, message);
  json.end_object();
  return finish(json, batch.ack);
}

std::string unsubscribed(const std::string& channel, std::string_view ack) {
  JsonWriter json = begin("unsubscribed");
  json.field("channel", channel);
  return finish(json, ack);
}

std::string acknowledged(std::string_view ack) {
  if (ack.empty()) return {};
  JsonWriter json = begin("ack");
  return finish(json, ack);
}

std::string unsubscribed(std::int64_t session_id, std::string_view ack) {
  JsonWriter json = begin("unsubscribed");
  json.field("sessionId", session_id).field("message", "Unsubscribed from session " + std::to_string(session_id));
  return finish(json, ack);
}

std::string pong(std::string_view ack) {
  JsonWriter json = begin("pong");
  return finish(json, ack);
}

std::string error(std::string_view message, std::string_view ack) {
  JsonWriter json = begin("error");
  json.field("message", message);
  return finish(json, ack);
}

std::string rate_limited(std::chrono::milliseconds retry_after, std::string_view ack) {
  JsonWriter json = begin("error");
  json.field("message", "Rate limit exceeded").field("retryAfterMs", retry_after.count());
  return finish(json, ack);
}

int status_of(std::string_view error) {
  if (error == kSessionNotFound) return 404;
  if (error == kForbidden) return 403;
  if (error == kChannelFull) return 409;
  return 400;
}

}  // namespace gamepicker::replies
