#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace gamepicker {

/// One event as it goes onto the wire. Encoded once, shared by every subscriber, never changed.
struct Frame {
  std::string channel;
  std::uint64_t offset = 0;
  std::string bytes;  ///< a complete server text frame (encode_text_frame of event_message)
};

using FramePtr = std::shared_ptr<const Frame>;

/// What the event reader tells the I/O side. Thread-safe; called from the reader's thread. Calls arrive in
/// the order they are made, which is what makes "the answer, then everything after it" hold.
class Feed {
 public:
  virtual ~Feed() = default;

  /// Live events of tracked channels, in offset order per channel. May wait while the I/O side is behind.
  virtual void publish(std::vector<FramePtr> frames) = 0;

  /// The answer to ChannelTracker::track(): the channel's current offset, or nothing when its session does
  /// not exist (the channel then is not tracked). Exactly one answer for each track().
  virtual void tracked(const std::string& channel, std::optional<std::uint64_t> head) = 0;
};

/// What the I/O side asks of the event reader. Thread-safe, never blocks.
class ChannelTracker {
 public:
  virtual ~ChannelTracker() = default;

  /// The first local subscriber came: look up the channel, answer Feed::tracked(), and from then on publish
  /// every later event of it, in order. Never asked again before the answer has come.
  virtual void track(std::string channel) = 0;

  /// The last local subscriber left. Only called for a channel that was answered with a head.
  virtual void untrack(std::string channel) = 0;
};

}  // namespace gamepicker
