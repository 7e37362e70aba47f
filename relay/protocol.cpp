#include "relay/protocol.hpp"

#include <algorithm>
#include <iterator>

#include <Poco/UUIDGenerator.h>

#include "relay/hub.hpp"
#include "relay/replies.hpp"
#include "shared/clock.hpp"
#include "shared/json_reader.hpp"

namespace gamepicker {
namespace {

constexpr std::uint16_t kUnauthenticated = 4401;
constexpr std::uint16_t kAbuse = 4429;
constexpr int kMaxAuthFailures = 3;
constexpr std::size_t kMaxAckCharacters = 256;
constexpr std::size_t kMaxMessageBytes = 65536;
constexpr std::int64_t kMaxSafeInteger = 9007199254740991;  // what a JavaScript number holds

std::string new_socket_id() {
  // Version 4 (random), from a generator seeded by the system.
  return Poco::UUIDGenerator::defaultGenerator().createRandom().toString();
}

/// Nothing unless it is a positive integer.
std::optional<std::int64_t> session_id_of(const JsonObject& message) {
  try {
    return message.integer("sessionId", 1, kMaxSafeInteger);
  } catch (const FieldError&) {
    return std::nullopt;
  }
}

}  // namespace

struct Protocol::Command {
  std::string_view type;
  bool before_authentication;
  void (Protocol::*run)(Client&, const JsonObject&, const std::string& ack, SteadyTime);
};

constexpr Protocol::Command Protocol::kCommands[] = {
    {"auth", true, &Protocol::on_auth},
    {"ping", true, &Protocol::on_ping},
    {"subscribe", false, &Protocol::on_subscribe},
    {"unsubscribe", false, &Protocol::on_unsubscribe},
};

Protocol::Protocol(const Config& config, Hub& hub)
    : hub_(hub),
      tokens_(config.jwt_secret),
      auth_timeout_(config.relay_auth_timeout),
      activity_timeout_(std::chrono::ceil<std::chrono::seconds>(config.relay_idle_timeout)) {}

void Protocol::opened(Client& client, const std::optional<std::string>& token, SteadyTime now) {
  client.socket_id = new_socket_id();
  client.reply(replies::connection_established(client.socket_id, activity_timeout_));
  if (token) authenticate(client, token, {}, now);
}

void Protocol::message(Client& client, std::string_view text, SteadyTime now) {
  const bool allowed = client.rate.allow(now);
  if (client.rate.abused()) return client.close(kAbuse, "too many messages");
  std::string ack;
  try {
    const JsonObject message = JsonObject::parse(text);
    ack = message.text("ack", kMaxAckCharacters).value_or("");
    if (!allowed) return client.reply(replies::rate_limited(client.rate.retry_after(now), ack));
    return dispatch(client, message, ack, now);
  } catch (const JsonError&) {
    // answered below
  } catch (const FieldError&) {
    // answered below
  }
  client.reply(allowed ? replies::error("Invalid message format", ack)
                       : replies::rate_limited(client.rate.retry_after(now), ack));
}

void Protocol::dispatch(Client& client, const JsonObject& message, const std::string& ack, SteadyTime now) {
  const auto type = message.text("type", kMaxMessageBytes);
  if (!type) return client.reply(replies::error("Invalid message format", ack));
  const auto command = std::find_if(std::begin(kCommands), std::end(kCommands),
                                    [&](const Command& candidate) { return candidate.type == *type; });
  const bool known = command != std::end(kCommands);
  if (!client.is_authenticated() && !(known && command->before_authentication)) {
    return client.reply(replies::error("Not authenticated", ack));
  }
  if (!known) return client.reply(replies::error("Unknown message type: " + *type, ack));
  (this->*command->run)(client, message, ack, now);
}

bool Protocol::allow_control(Client& client, SteadyTime now) {
  const bool allowed = client.rate.allow(now);
  if (client.rate.abused()) client.close(kAbuse, "too many messages");
  return allowed;
}

void Protocol::on_auth(Client& client, const JsonObject& message, const std::string& ack, SteadyTime now) {
  std::optional<std::string> token;
  try {
    token = message.text("token", kMaxMessageBytes);
  } catch (const FieldError&) {
    // a number or an object is no token
  }
  authenticate(client, token, ack, now);
}

void Protocol::authenticate(Client& client, const std::optional<std::string>& token, const std::string& ack,
                            SteadyTime now) {
  const bool given = token && !token->empty();
  const auto claims = given ? tokens_.verify(*token) : std::nullopt;
  if (!claims) {
    client.reply(replies::auth_error(given ? replies::kInvalidToken : "Token required", ack));
    if (++client.auth_failures >= kMaxAuthFailures) client.close(kUnauthenticated, "authentication failed");
    return;
  }
  client.role = claims->role;
  client.subject = claims->subject;
  client.auth_failures = 0;
  // A token may outlive every steady clock: a century is long enough.
  const auto left = std::chrono::sys_seconds(std::chrono::seconds(claims->expires_at)) - gamepicker::now();
  constexpr std::chrono::milliseconds century = std::chrono::hours(24 * 36525);
  client.token_expires = now + std::clamp<std::chrono::milliseconds>(left, std::chrono::milliseconds(0), century);
  client.reply(replies::auth_success(ack));
  hub_.join_everybody(client);
}

SteadyTime Protocol::authentication_ends(const Client& client) const {
  return client.is_authenticated() ? client.token_expires : client.since + auth_timeout_;
}

void Protocol::authentication_ended(Client& client) {
  if (client.is_authenticated()) {
    client.reply(replies::auth_error(replies::kInvalidToken, {}));
    client.close(kUnauthenticated, "token expired");
  } else {
    client.close(kUnauthenticated, "authentication timeout");
  }
}

void Protocol::on_ping(Client& client, const JsonObject&, const std::string& ack, SteadyTime) {
  client.reply(replies::pong(ack));
}

void Protocol::on_subscribe(Client& client, const JsonObject& message, const std::string& ack, SteadyTime) {
  const auto session_id = session_id_of(message);
  if (!session_id) return client.reply(replies::error("Session ID required", ack));
  if (hub_.subscribe(client, *session_id, ack) == Hub::Outcome::too_many) {
    client.reply(replies::error("Subscription limit reached", ack));
  }
}

void Protocol::on_unsubscribe(Client& client, const JsonObject& message, const std::string& ack, SteadyTime) {
  const auto session_id = session_id_of(message);
  if (!session_id) return client.reply(replies::error("Session ID required", ack));
  if (hub_.unsubscribe(client, *session_id) != Hub::Outcome::done) {
    return client.reply(replies::error("Not subscribed", ack));
  }
  // In its place among the events: none of this channel comes after it.
  client.reply_in_order(replies::unsubscribed(*session_id, ack));
}

}  // namespace gamepicker
