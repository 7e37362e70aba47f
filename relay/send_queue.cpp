#include "relay/send_queue.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <utility>

#include <sys/socket.h>
#include <sys/uio.h>

namespace gamepicker {
namespace {

constexpr std::size_t kMaxPieces = 64;
constexpr std::size_t kKeptFrames = 8;
constexpr std::size_t kKeptControlBytes = 64;

iovec piece_of(const std::string& bytes, std::size_t from) {
  return {const_cast<char*>(bytes.data()) + from, bytes.size() - from};  // sendmsg only reads
}

/// A single piece, the usual case, has the shorter way into the kernel.
ssize_t send_pieces(int socket, std::span<iovec> pieces) {
  constexpr int kFlags = MSG_NOSIGNAL | MSG_DONTWAIT;
  if (pieces.size() == 1) return ::send(socket, pieces[0].iov_base, pieces[0].iov_len, kFlags);
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = pieces.size();
  return ::sendmsg(socket, &message, kFlags);
}

}  // namespace

void SendQueue::push(FramePtr frame) {
  if (count_ == ring_.size()) grow();
  bytes_ += frame->bytes.size();
  ring_[(head_ + count_) & (ring_.size() - 1)] = std::move(frame);
  ++count_;
}

void SendQueue::grow() {
  std::vector<FramePtr> larger(std::max<std::size_t>(kKeptFrames, ring_.size() * 2));
  for (std::size_t i = 0; i < count_; ++i) larger[i] = std::move(ring_[(head_ + i) & (ring_.size() - 1)]);
  ring_ = std::move(larger);
  head_ = 0;
}

void SendQueue::push_control(std::string_view bytes, std::uint32_t frames) {
  control_.append(bytes);
  control_frames_ += frames;
  bytes_ += bytes.size();
}

void SendQueue::drop_pending() {
  while (count_ > (front_sent_ > 0 ? 1u : 0u)) {
    FramePtr& last = ring_[(head_ + count_ - 1) & (ring_.size() - 1)];
    bytes_ -= last->bytes.size();
    last.reset();
    --count_;
  }
  if (control_sent_ == 0) {
    bytes_ -= control_.size();
    control_.clear();
    control_frames_ = 0;
  }
}

SendQueue::Result SendQueue::flush(int socket, IoMetrics& metrics) {
  std::array<iovec, kMaxPieces> pieces;
  std::size_t used = 0;
  std::size_t total = 0;
  const auto add = [&](const std::string& bytes, std::size_t from) {
    pieces[used] = piece_of(bytes, from);
    total += pieces[used++].iov_len;
  };
  std::size_t next = 0;
  if (front_sent_ > 0) add(at(next++)->bytes, front_sent_);
  if (!control_.empty()) add(control_, control_sent_);
  while (next < count_ && used < kMaxPieces) add(at(next++)->bytes, 0);
  if (used == 0) return Result::drained;

  const ssize_t sent = send_pieces(socket, {pieces.data(), used});
  metrics.sends.add();
  if (sent < 0) {
    if (errno == EINTR) return Result::more;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? Result::blocked : Result::failed;
  }
  metrics.bytes.add(static_cast<std::size_t>(sent));
  metrics.frames.add(consume(static_cast<std::size_t>(sent)));
  if (empty()) {
    release_idle_memory();
    return Result::drained;
  }
  return static_cast<std::size_t>(sent) < total ? Result::blocked : Result::more;
}

// In the order flush() put the pieces: the rest of a begun frame, the control lane, the other frames. Returns how many
// frames are out completely now.
std::size_t SendQueue::consume(std::size_t sent) {
  bytes_ -= sent;
  sent_ += sent;
  std::size_t frames = front_sent_ > 0 ? consume_frames(sent, 1) : 0;
  frames += consume_control(sent);
  return frames + consume_frames(sent, count_);
}

std::size_t SendQueue::consume_control(std::size_t& sent) {
  const std::size_t taken = std::min(sent, control_.size() - control_sent_);
  sent -= taken;
  control_sent_ += taken;
  if (control_sent_ == control_.size()) {
    control_.clear();
    control_sent_ = 0;
    return std::exchange(control_frames_, 0);
  }
  if (control_sent_ > kKeptControlBytes && control_sent_ > control_.size() / 2) {
    // A client that is always a little behind never empties it. One byte stays: the lane has been begun.
    control_.erase(0, control_sent_ - 1);
    control_sent_ = 1;
  }
  return 0;
}

std::size_t SendQueue::consume_frames(std::size_t& sent, std::size_t limit) {
  std::size_t frames = 0;
  for (; limit > 0 && sent > 0; --limit) {
    FramePtr& front = ring_[head_];
    const std::size_t left = front->bytes.size() - front_sent_;
    if (sent < left) {
      front_sent_ += sent;
      sent = 0;
      break;
    }
    sent -= left;
    front_sent_ = 0;
    frames += front->messages;
    front.reset();
    head_ = (head_ + 1) & (ring_.size() - 1);
    --count_;
  }
  return frames;
}

void SendQueue::release_idle_memory() {
  if (ring_.size() > kKeptFrames) std::vector<FramePtr>().swap(ring_);
  if (control_.capacity() > kKeptControlBytes) std::string().swap(control_);
  head_ = 0;
}

}  // namespace gamepicker
