#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

/// The texts a client reads, each in one place. `ack` is what the client's message carried, empty for none.
namespace gamepicker::replies {

std::string connection_established(std::string_view socket_id, std::chrono::seconds activity_timeout);
std::string auth_success(std::string_view ack);
std::string auth_error(std::string_view message, std::string_view ack);
std::string subscribed(std::int64_t session_id, std::string_view channel, std::uint64_t offset, std::string_view ack);
std::string unsubscribed(std::int64_t session_id, std::string_view ack);
std::string pong(std::string_view ack);
std::string error(std::string_view message, std::string_view ack);
std::string rate_limited(std::chrono::milliseconds retry_after, std::string_view ack);

inline constexpr std::string_view kInvalidToken = "Invalid or expired token";
inline constexpr std::string_view kSessionNotFound = "Session not found";

}  // namespace gamepicker::replies
