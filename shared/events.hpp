#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "shared/clock.hpp"

namespace gamepicker {

/// Something that happened: what the outbox stores, the relay pushes and webhooks receive.
struct Event {
  std::string channel;  ///< who hears it: "session.3", "sessions", ...
  std::string type;     ///< "game.added"
  std::string data;     ///< JSON text, from one of the functions in the resource files
};

/// The channel of one session's events.
std::string session_channel(std::int64_t session_id);

/// The channel every authenticated client hears (session.started).
inline constexpr std::string_view kSessionsChannel = "sessions";

/// The channel of test deliveries: no client can subscribe to it ('/' is not allowed in channel names).
inline constexpr std::string_view kWebhookTestChannel = "webhook/test";

/// The channel of events that webhooks alone receive; not a name for clients either.
inline constexpr std::string_view kWebhookChannel = "webhook/events";

/// {"event":type,"timestamp":timestamp,"data":data}: the stored body, sent to webhooks byte for byte.
std::string event_body(std::string_view type, std::string_view timestamp, std::string_view data);

/// The same for the relay events of webhooks.md, whose timestamp is epoch milliseconds.
std::string relay_event_body(std::string_view type, Timestamp timestamp, std::string_view data);

/// Whether a channel name is one that clients may use: 1-200 characters of A-Za-z0-9_.:=@,;-
bool is_channel_name(std::string_view name);

/// Whether the channel is one of the server's own: sessions, session.<id>, presence-session.<id>.
bool is_built_in_channel(std::string_view name);

/// Whether the members of a channel are told of each other.
bool is_presence_channel(std::string_view name);

/// The session that a channel belongs to and that must exist: of "session.<n>" and "presence-session.<n>". 0, which no
/// session has, for an odd spelling of these; nothing for every other channel.
std::optional<std::int64_t> session_of_channel(std::string_view name);

/// The WebSocket message of a stored body: its first key renamed to "type", and "id", "channel" and "offset" added.
/// `body` must come from event_body().
std::string event_message(std::string_view body, std::uint64_t id, std::string_view channel, std::uint64_t offset);

/// The JSON text of "data" inside a stored body; a view into `body`.
std::string_view event_data(std::string_view body);

/// The family wildcard that matches a type: "game.*" for "game.added", empty for a type without a dot.
std::string event_family(std::string_view type);

/// Whether a webhook may ask for it: a type of the catalogue, "*", or the family of one ("session.*").
bool is_known_event_pattern(std::string_view pattern);

}  // namespace gamepicker
