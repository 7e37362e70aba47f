#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "relay/client.hpp"

/// The texts a client reads, each in one place. `ack` is what the client's message carried, empty for none.
namespace gamepicker::replies {

std::string connection_established(std::string_view socket_id, std::chrono::seconds activity_timeout);
std::string auth_success(std::string_view ack);
std::string auth_error(std::string_view message, std::string_view ack);
/// `recovered`: nothing unless the client named an offset.
std::string subscribed(const Subscribe& subscribe, std::uint64_t offset, std::optional<bool> recovered);
std::string subscribed_batch(const SubscribeBatch& batch);
std::string unsubscribed(std::int64_t session_id, std::string_view ack);
std::string unsubscribed(const std::string& channel, std::string_view ack);
/// The bare answer to a message that has no other; empty without `ack`.
std::string acknowledged(std::string_view ack);
std::string pong(std::string_view ack);
std::string error(std::string_view message, std::string_view ack);
std::string rate_limited(std::chrono::milliseconds retry_after, std::string_view ack);

/// The HTTP status of an error for who asked by HTTP.
int status_of(std::string_view error);

inline constexpr std::string_view kInvalidToken = "Invalid or expired token";
inline constexpr std::string_view kSessionNotFound = "Session not found";
inline constexpr std::string_view kNotSubscribed = "Not subscribed";
inline constexpr std::string_view kTooManySubscriptions = "Subscription limit reached";
inline constexpr std::string_view kInvalidChannel = "Invalid channel name";
inline constexpr std::string_view kChannelFull = "Presence channel is full";
inline constexpr std::string_view kForbidden = "Insufficient permissions";

}  // namespace gamepicker::replies
