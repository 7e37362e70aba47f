#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "relay/feed.hpp"

/// What clients without a WebSocket read: the stream of the HTML standard's section 9.2, "Server-sent events".
namespace gamepicker {

/// An event's message as a stream carries it, its id `<channel>:<offset>`. Encoded once, kept in the frame.
FramePtr stream_frame(const FramePtr& frame);

/// The message that begins a stream. An id of its own, so that who is cut off before the first event resumes all the
/// same.
std::string stream_subscribed(std::string_view json, std::string_view channel, std::uint64_t offset);

/// The last message: why the stream ends, with the code a WebSocket would have been closed with.
std::string stream_close(std::uint16_t code, std::string_view reason);

/// A comment, which keeps the connection alive.
inline constexpr std::string_view kStreamComment = ":\n\n";

}  // namespace gamepicker
