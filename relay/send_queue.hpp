#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "relay/feed.hpp"
#include "relay/metrics.hpp"

namespace gamepicker {

/// What one client still has to be sent: a ring of shared frames, and a small lane for replies and pings that
/// overtakes frames not yet begun. Holds next to nothing when empty.
class SendQueue {
 public:
  enum class Result { drained, more, blocked, failed };

  void push(FramePtr frame);
  /// `bytes`: so many complete frames. They go out before every frame that has not been begun.
  void push_control(std::string_view bytes, std::uint32_t frames = 1);

  /// Drops all that has not been begun, so that a close frame is next.
  void drop_pending();

  /// One sendmsg of up to 64 pieces. `more`: there is more and the socket may take it; `blocked`: wait for
  /// EPOLLOUT. Counts what went out.
  Result flush(int socket, IoMetrics& metrics);

  std::size_t bytes() const { return bytes_; }
  /// How many bytes have ever gone out.
  std::uint64_t sent() const { return sent_; }
  bool empty() const { return bytes_ == 0; }

 private:
  const FramePtr& at(std::size_t index) const { return ring_[(head_ + index) & (ring_.size() - 1)]; }
  void grow();
  std::size_t consume(std::size_t sent);
  /// Returns how many frames have gone out with it.
  std::size_t consume_control(std::size_t& sent);
  std::size_t consume_frames(std::size_t& sent, std::size_t limit);
  void release_idle_memory();

  std::vector<FramePtr> ring_;  ///< its size is a power of two
  std::size_t head_ = 0;
  std::size_t count_ = 0;
  std::size_t front_sent_ = 0;  ///< bytes of the first frame that are out
  std::string control_;
  std::size_t control_sent_ = 0;
  std::uint32_t control_frames_ = 0;
  std::size_t bytes_ = 0;
  std::uint64_t sent_ = 0;
};

}  // namespace gamepicker
