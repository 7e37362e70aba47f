#include "relay/protocol.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>

#include <Poco/URI.h>
#include <Poco/UUIDGenerator.h>

#include "relay/client_reports.hpp"
#include "relay/handshake.hpp"
#include "relay/hub.hpp"
#include "relay/hub_parts.hpp"
#include "relay/replies.hpp"
#include "shared/clock.hpp"
#include "shared/events.hpp"
#include "shared/json_reader.hpp"
#include "shared/json_writer.hpp"

namespace gamepicker {
namespace {

constexpr std::uint16_t kUnauthenticated = 4401;
constexpr std::uint16_t kAbuse = 4429;
constexpr int kMaxAuthFailures = 3;
constexpr std::size_t kMaxAckCharacters = 256;
constexpr std::size_t kMaxMessageBytes = 65536;
constexpr std::size_t kMaxBatch = 50;
constexpr std::size_t kMaxEventName = 100;       // events.type
constexpr std::size_t kMaxLabel = 200;           // sessions.poll_leading_label
constexpr std::size_t kMaxInfoBytes = 4096;      // presence_members.info
constexpr std::size_t kMaxUserCharacters = 200;  // presence_members.user_id
constexpr std::string_view kSessionIdRequired = "Session ID required";
constexpr std::string_view kInvalidFormat = "Invalid message format";
constexpr std::chrono::milliseconds kWriterFull{1'000};     ///< when to try again
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

/// Nothing when it was not given; throws FieldError, which is an invalid message.
std::optional<std::uint64_t> offset_of(const JsonObject& message) {
  const auto offset = message.integer("offset", 0, kMaxSafeInteger);
  if (!offset) return std::nullopt;
  return static_cast<std::uint64_t>(*offset);
}

/// As sent; empty, which is no channel's name, when it is not a text.
std::string channel_of(const JsonObject& message) {
  try {
    return message.text("channel", kMaxMessageBytes).value_or("");
  } catch (const FieldError&) {
    return "";
  }
}

/// The channel that "sessionId=3" or "channel=orders" names; nothing when neither is there or it is no number.
std::optional<std::string> channel_of_query(const std::string& query) {
  try {
    for (const auto& [name, value] : Poco::URI("/?" + query).getQueryParameters()) {
      if (name == "channel") return value;
      const auto session = name == "sessionId" ? session_of_channel("session." + value) : std::nullopt;
      if (session.value_or(0) > 0) return session_channel(*session);
    }
  } catch (const Poco::Exception&) {
    // a bad escape names nothing
  }
  return std::nullopt;
}

/// The offset in "orders:17", when it is of this channel: who followed another one starts anew.
std::optional<std::uint64_t> offset_of_event_id(std::string_view id, const std::string& channel) {
  if (!id.starts_with(channel + ":")) return std::nullopt;
  id.remove_prefix(channel.size() + 1);
  std::uint64_t offset = 0;
  const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), offset);
  if (error != std::errc{} || end != id.data() + id.size()) return std::nullopt;
  return std::min<std::uint64_t>(offset, kMaxSafeInteger);
}

/// Whether it takes more than a token to be a member.
bool is_guarded(std::string_view channel) {
  return channel.starts_with("private-") || is_presence_channel(channel);
}

/// A viewer's token names the guarded channels it opens; a * at the end stands for any rest.
bool may_subscribe(const Client& client, std::string_view channel) {
  if (!is_guarded(channel) || is_built_in_channel(channel) || client.role >= Role::bot) return true;
  return std::ranges::any_of(client.allowed_channels, [&](std::string_view pattern) {
    if (!pattern.ends_with('*')) return channel == pattern;
    pattern.remove_suffix(1);
    return channel.starts_with(pattern);
  });
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
    {"subscribe_batch", false, &Protocol::on_subscribe_batch},
    {"unsubscribe", false, &Protocol::on_unsubscribe},
    {"client_event", false, &Protocol::on_client_event},
    {"poll.leading", false, &Protocol::on_poll_leading},
};

Protocol::Protocol(const Config& config, Hub& hub, ClientEvents& client_events, ClientReports& reports)
    : hub_(hub),
      client_events_(client_events),
      reports_(reports),
      tokens_(config.jwt_secret),
      auth_timeout_(config.relay_auth_timeout),
      activity_timeout_(std::chrono::ceil<std::chrono::seconds>(config.relay_idle_timeout)) {}

void Protocol::opened(Client& client, const std::optional<std::string>& token, SteadyTime now) {
  client.socket_id = new_socket_id();
  client.connected_at = gamepicker::now();
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
  client.reply(allowed ? replies::error(kInvalidFormat, ack)
                       : replies::rate_limited(client.rate.retry_after(now), ack));
}

void Protocol::dispatch(Client& client, const JsonObject& message, const std::string& ack, SteadyTime now) {
  const auto type = message.text("type", kMaxMessageBytes);
  if (!type) return client.reply(replies::error(kInvalidFormat, ack));
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
  if (utf8_length(claims->subject) > kMaxUserCharacters) return client.close(kUnauthenticated, "name too long");
  accept(client, *claims, now);
  reports_.connected(client);
  client.reply(replies::auth_success(ack));
  leave_forbidden(client);
  hub_.join_everybody(client);
}

/// A fresh token may open fewer channels than the one before.
void Protocol::leave_forbidden(Client& client) {
  for (const std::string& channel : Hub::channels_of(client)) {
    if (may_subscribe(client, channel)) continue;
    hub_.unsubscribe(client, channel);
    client.reply_in_order(replies::unsubscribed(channel, {}));
  }
}

void Protocol::accept(Client& client, const Claims& claims, SteadyTime now) {
  client.role = claims.role;
  client.subject = claims.subject;
  client.allowed_channels = claims.channels;
  client.auth_failures = 0;
  // A token may outlive every steady clock: a century is long enough.
  const auto left = std::chrono::sys_seconds(std::chrono::seconds(claims.expires_at)) - gamepicker::now();
  constexpr std::chrono::milliseconds century = std::chrono::hours(24 * 36525);
  client.token_expires = now + std::clamp<std::chrono::milliseconds>(left, std::chrono::milliseconds(0), century);
}

void Protocol::opened_stream(Client& client, const StreamRequest& request, SteadyTime now) {
  client.socket_id = new_socket_id();
  client.connected_at = gamepicker::now();
  if (!request.token || request.token->empty()) return client.refuse_stream(401, "Access token required");
  const auto claims = tokens_.verify(*request.token);
  if (!claims || utf8_length(claims->subject) > kMaxUserCharacters) {
    return client.refuse_stream(403, replies::kInvalidToken);
  }
  accept(client, *claims, now);
  const auto channel = channel_of_query(request.query);
  if (!channel) return client.refuse_stream(400, kSessionIdRequired);
  Subscribe wanted;
  wanted.channel = *channel;
  wanted.offset = offset_of_event_id(request.last_event_id, *channel);
  subscribe(client, std::move(wanted));
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
  Subscribe wanted;
  wanted.ack = ack;
  wanted.offset = offset_of(message);
  if (!message.is_null("data")) wanted.info = message.json("data").value_or("");
  if (wanted.info.size() > kMaxInfoBytes) return client.reply(replies::error(kInvalidFormat, ack));
  if (message.has("channel")) {
    wanted.channel = channel_of(message);
  } else {
    wanted.session_id = session_id_of(message);
    if (!wanted.session_id) return client.reply(replies::error(kSessionIdRequired, ack));
    wanted.channel = session_channel(*wanted.session_id);
  }
  subscribe(client, std::move(wanted));
}

void Protocol::on_subscribe_batch(Client& client, const JsonObject& message, const std::string& ack, SteadyTime) {
  const auto channels = message.text_list("channels", kMaxMessageBytes);
  if (!channels || channels->empty() || channels->size() > kMaxBatch) {
    return client.reply(replies::error(kInvalidFormat, ack));
  }
  const auto batch = std::make_shared<SubscribeBatch>();
  batch->ack = ack;
  batch->unanswered = channels->size();
  for (const std::string& channel : *channels) {
    Subscribe wanted;
    wanted.channel = channel;
    wanted.batch = batch;
    subscribe(client, std::move(wanted));
  }
}

void Protocol::subscribe(Client& client, Subscribe wanted) {
  if (!is_channel_name(wanted.channel)) return answer_failure(client, wanted, replies::kInvalidChannel);
  if (!may_subscribe(client, wanted.channel)) return answer_failure(client, wanted, replies::kForbidden);
  const Subscribe copy = wanted;
  if (hub_.subscribe(client, std::move(wanted)) == Hub::Outcome::too_many) {
    answer_failure(client, copy, replies::kTooManySubscriptions);
  }
}

void Protocol::on_unsubscribe(Client& client, const JsonObject& message, const std::string& ack, SteadyTime) {
  const bool by_channel = message.has("channel");
  const auto session_id = by_channel ? std::nullopt : session_id_of(message);
  if (!by_channel && !session_id) return client.reply(replies::error(kSessionIdRequired, ack));
  const std::string channel = by_channel ? channel_of(message) : session_channel(*session_id);
  // Everybody hears of sessions, always.
  if (channel == kSessionsChannel || hub_.unsubscribe(client, channel) != Hub::Outcome::done) {
    return client.reply(replies::error(replies::kNotSubscribed, ack));
  }
  // In its place among the events: none of this channel comes after it.
  client.reply_in_order(by_channel ? replies::unsubscribed(channel, ack) : replies::unsubscribed(*session_id, ack));
}

void Protocol::on_client_event(Client& client, const JsonObject& message, const std::string& ack, SteadyTime) {
  const std::string channel = channel_of(message);
  const std::string type = message.text("event", kMaxEventName).value_or("");
  const auto data = message.json("data");
  if (!type.starts_with("client-")) return client.reply(replies::error(kInvalidFormat, ack));
  if (!is_channel_name(channel)) return client.reply(replies::error(replies::kInvalidChannel, ack));
  if (!is_guarded(channel)) return client.reply(replies::error(replies::kForbidden, ack));
  if (!hub_.is_subscribed(client, channel)) return client.reply(replies::error(replies::kNotSubscribed, ack));
  JsonWriter from;
  from.begin_object().field("socketId", client.socket_id).field("userId", client.subject).end_object();
  ClientEvent event;
  event.channel = channel;
  event.type = type;
  event.at = gamepicker::now();
  event.body = event_body(type, format_iso(event.at), data.value_or("null"));
  event.data_bytes = data ? data->size() : std::string_view("null").size();
  event.body.insert(event.body.size() - 1, R"(,"from":)" + from.text());
  event.except = client.socket_id;
  write(client, std::move(event), ack);
}

void Protocol::on_poll_leading(Client& client, const JsonObject& message, const std::string& ack, SteadyTime) {
  if (client.role < Role::bot) return client.reply(replies::error(replies::kForbidden, ack));
  const auto session_id = session_id_of(message);
  if (!session_id) return client.reply(replies::error(kSessionIdRequired, ack));
  const auto game_id = message.integer("gameId", 1, INT32_MAX);
  const auto label = message.text("label", kMaxLabel);
  const auto votes = message.integer("votes", 0, INT32_MAX);
  if (!game_id || !label || !votes) return client.reply(replies::error(kInvalidFormat, ack));
  JsonWriter data;
  data.begin_object().field("sessionId", *session_id).field("gameId", *game_id).field("label", *label);
  data.field("votes", *votes).end_object();
  ClientEvent event;
  event.channel = session_channel(*session_id);
  event.type = "poll.leading";
  event.body = event_body(event.type, format_iso(gamepicker::now()), data.text());
  event.session_id = session_id;
  event.game_id = *game_id;
  event.label = *label;
  event.votes = *votes;
  write(client, std::move(event), ack);
}

void Protocol::write(Client& client, ClientEvent event, const std::string& ack) {
  event.socket = client.socket();
  event.socket_id = client.socket_id;
  event.ack = ack;
  if (!client_events_.write(std::move(event))) client.reply(replies::rate_limited(kWriterFull, ack));
}

std::string Protocol::written(const ClientEventResult& result) {
  return result.error.empty() ? replies::acknowledged(result.ack) : replies::error(result.error, result.ack);
}

}  // namespace gamepicker
