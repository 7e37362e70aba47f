#include "relay/client.hpp"

#include "relay/event_stream.hpp"
#include "relay/handshake.hpp"

namespace gamepicker {
namespace {

constexpr std::uint16_t kSlowConsumer = 4410;

FramePtr unnamed_frame(std::string bytes) {
  auto frame = std::make_shared<Frame>();
  frame->bytes = std::move(bytes);
  return frame;
}

}  // namespace

void Client::mark_dirty() {
  if (listed_dirty) return;
  listed_dirty = true;
  dirty_.push_back(this);
}

void Client::note_end(std::uint16_t code, std::string_view reason) {
  metrics_.closes.add(code);
  end_code = code;
  end_reason = reason;
}

void Client::reply(std::string_view json) {
  send_control(Opcode::text, json);
}

void Client::send_control(Opcode opcode, std::string_view payload) {
  if (!is_open() || is_stream() || !make_room(payload.size())) return;
  queue_.push_control(encode_frame(opcode, payload));
  mark_dirty();
}

void Client::reply_in_order(std::string_view json) {
  if (is_open()) enqueue(unnamed_frame(encode_text_frame(json)));
}

void Client::deliver(const FramePtr& frame) {
  if (is_open()) enqueue(is_stream() ? stream_frame(frame) : frame);
}

void Client::enqueue(FramePtr frame) {
  if (!make_room(frame->bytes.size())) return;
  queue_.push(std::move(frame));
  mark_dirty();
}

// A burst within one tick is no sign of a slow client: what the socket takes now does not count. An empty
// queue takes a frame of any size, else a client with a small bound could never get past it.
bool Client::make_room(std::size_t bytes) {
  while (!queue_.empty() && queue_.bytes() + bytes > max_queue_bytes_) {
    const SendQueue::Result result = write_armed ? SendQueue::Result::blocked : flush();
    if (result == SendQueue::Result::failed) {
      kill();
      return false;
    }
    if (result == SendQueue::Result::blocked && queue_.bytes() + bytes > max_queue_bytes_) {
      close_slow();
      return false;
    }
  }
  return true;
}

void Client::close(std::uint16_t code, std::string_view reason) {
  if (!is_open()) return;
  if (transport_ == Transport::stream_to_begin) return refuse_stream(503, reason);
  note_end(code, reason);
  queue_.push(unnamed_frame(is_stream() ? stream_close(code, reason) : encode_close_frame(code, reason)));
  phase_ = is_stream() ? Phase::lingering : Phase::closing;
  mark_dirty();
}

void Client::open_stream() {
  transport_ = Transport::stream_to_begin;
  phase_ = Phase::open;
}

void Client::begin_stream(std::string_view subscribed) {
  transport_ = Transport::stream;
  queue_.push_control(stream_response(), 0);
  queue_.push_control(subscribed);
  mark_dirty();
}

void Client::refuse_stream(int status, std::string_view error) {
  note_end(close_code::abnormal, {});
  finish_with(refusal_response({status, std::string(error)}));
}

void Client::comment() {
  if (!is_open() || transport_ != Transport::stream || !make_room(kStreamComment.size())) return;
  queue_.push_control(kStreamComment);
  mark_dirty();
}

void Client::close_slow() {
  queue_.drop_pending();
  metrics_.slow_closes.add();
  close(kSlowConsumer, "slow consumer");
}

void Client::note_backlog(SteadyTime now) {
  if (queue_.sent() < backlog_end_) return;
  backlog_end_ = queue_.sent() + queue_.bytes();
  backlog_since_ = now;
}

std::optional<SteadyTime> Client::behind_since() const {
  if (queue_.sent() >= backlog_end_) return std::nullopt;
  return backlog_since_;
}

void Client::open(std::string_view response) {
  queue_.push_control(response, 0);
  phase_ = Phase::open;
  mark_dirty();
}

void Client::finish_with(std::string_view response) {
  queue_.push_control(response, 0);
  linger();
}

void Client::linger() {
  if (phase_ == Phase::dead) return;
  phase_ = Phase::lingering;
  mark_dirty();
}

void Client::kill() {
  if (is_open()) note_end(close_code::abnormal, {});
  phase_ = Phase::dead;
  mark_dirty();
}

}  // namespace gamepicker
