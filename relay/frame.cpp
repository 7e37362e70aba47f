#include "relay/frame.hpp"

#include <algorithm>
#include <limits>

namespace gamepicker {
namespace {

constexpr std::size_t kMaxControlPayload = 125;
constexpr std::size_t kKeptCapacity = 64;  // an idle client keeps no more than this of its last message

void release(std::string& text) {
  if (text.capacity() > kKeptCapacity) {
    std::string().swap(text);
  } else {
    text.clear();
  }
}

// Section 7.4: 1004-1006 and 1015 never travel, 1016-2999 are not assigned, below 1000 and from 5000 on not
// valid.
bool is_valid_close_code(std::uint16_t code) {
  if (code >= 3000) return code < 5000;
  return code >= 1000 && code <= 1014 && (code < 1004 || code > 1006);
}

}  // namespace

std::string encode_frame(Opcode opcode, std::string_view payload) {
  std::string frame;
  frame.reserve(payload.size() + 10);
  frame.push_back(static_cast<char>(0x80 | static_cast<int>(opcode)));
  const std::uint64_t size = payload.size();
  int length_bytes = 0;
  if (size < 126) {
    frame.push_back(static_cast<char>(size));
  } else {
    length_bytes = size <= std::numeric_limits<std::uint16_t>::max() ? 2 : 8;
    frame.push_back(static_cast<char>(length_bytes == 2 ? 126 : 127));
  }
  for (int i = length_bytes - 1; i >= 0; --i) frame.push_back(static_cast<char>((size >> (8 * i)) & 0xFF));
  return frame.append(payload);
}

std::string encode_text_frame(std::string_view text) {
  return encode_frame(Opcode::text, text);
}

std::string_view text_of_frame(std::string_view frame) {
  const auto length = static_cast<std::uint8_t>(frame.at(1));
  return frame.substr(length < 126 ? 2 : length == 126 ? 4 : 10);
}

std::string encode_close_frame(std::uint16_t code, std::string_view reason) {
  if (code == close_code::none) return encode_frame(Opcode::close, {});
  std::string payload{static_cast<char>(code >> 8), static_cast<char>(code & 0xFF)};
  payload.append(reason.substr(0, kMaxControlPayload - 2));
  return encode_frame(Opcode::close, payload);
}

FrameParser::Item FrameParser::next(std::string_view& input) {
  if (delivered_) {
    release(control_);
    if (message_ == 0) release(data_);  // else a control frame between fragments was handed out
    delivered_ = false;
  }
  while (failed_ == 0) {
    if (!in_payload_ && !read_header(input)) break;
    take_payload(input);
    if (failed_ != 0 || remaining_ > 0) break;
    in_payload_ = false;
    if (auto item = finish_frame()) {
      delivered_ = true;
      return *item;
    }
  }
  if (failed_ != 0) return {Kind::violation, why_, failed_};
  return {};
}

bool FrameParser::fail(std::uint16_t code, const char* why) {
  failed_ = code;
  why_ = why;
  return false;
}

std::size_t FrameParser::header_bytes_needed() const {
  if (header_size_ < 2) return 2;
  const int length = header_[1] & 0x7F;
  return 2u + (length == 126 ? 2u : length == 127 ? 8u : 0u) + 4u;
}

bool FrameParser::read_header(std::string_view& input) {
  while (true) {
    const std::size_t needed = header_bytes_needed();
    const std::size_t take = std::min(needed - header_size_, input.size());
    std::copy_n(input.begin(), take, header_.begin() + header_size_);
    header_size_ = static_cast<std::uint8_t>(header_size_ + take);
    input.remove_prefix(take);
    if (header_size_ < needed) return false;
    if (needed == 2) {
      if (!check_first_bytes()) return false;
      continue;
    }
    return accept_header();
  }
}

// Everything the first two bytes can tell is judged before the rest of the header is waited for.
bool FrameParser::check_first_bytes() {
  const std::uint8_t opcode = header_[0] & 0x0F;
  const bool final = (header_[0] & 0x80) != 0;
  const bool control = (opcode & 0x8) != 0;
  if ((header_[0] & 0x70) != 0) return fail(close_code::protocol_error, "reserved bits set");
  if ((opcode > 2 && opcode < 8) || opcode > 10) return fail(close_code::protocol_error, "unknown opcode");
  if ((header_[1] & 0x80) == 0) return fail(close_code::protocol_error, "frame not masked");
  if (control && !final) return fail(close_code::protocol_error, "fragmented control frame");
  if (control && (header_[1] & 0x7F) > kMaxControlPayload) {
    return fail(close_code::protocol_error, "control frame too long");
  }
  if (opcode == 0 && message_ == 0) return fail(close_code::protocol_error, "nothing to continue");
  if ((opcode == 1 || opcode == 2) && message_ != 0) {
    return fail(close_code::protocol_error, "message inside a message");
  }
  if (opcode == 2 && !options_.accept_binary) return fail(close_code::unsupported, "binary not supported");
  return true;
}

// Lengths must be in their shortest form, and the top bit of the 64-bit form must be 0 (section 5.2).
bool FrameParser::read_length(std::uint64_t& length) {
  length = header_[1] & 0x7F;
  if (length < 126) return true;
  const std::size_t bytes = length == 126 ? 2 : 8;
  length = 0;
  for (std::size_t i = 0; i < bytes; ++i) length = (length << 8) | header_[2 + i];
  if ((length >> 63) != 0) return fail(close_code::protocol_error, "invalid length");
  const std::uint64_t smallest = bytes == 2 ? 126 : 65536;
  return length >= smallest || fail(close_code::protocol_error, "length not in shortest form");
}

bool FrameParser::accept_header() {
  std::uint64_t length = 0;
  if (!read_length(length)) return false;
  opcode_ = header_[0] & 0x0F;
  final_ = (header_[0] & 0x80) != 0;
  if (!is_control() && data_.size() + length > options_.max_message) {
    return fail(close_code::too_big, "message too big");
  }
  if (opcode_ == 1 || opcode_ == 2) fragments_ = 0;
  if (!is_control() && ++fragments_ > options_.max_message) return fail(close_code::too_big, "too many fragments");
  std::copy_n(header_.begin() + header_size_ - 4, 4, mask_.begin());
  mask_at_ = 0;
  remaining_ = static_cast<std::uint32_t>(length);
  header_size_ = 0;
  in_payload_ = true;
  if (opcode_ == 1 || opcode_ == 2) {
    message_ = opcode_;
    utf8_.reset();
  }
  return true;
}

void FrameParser::take_payload(std::string_view& input) {
  const std::size_t take = std::min<std::size_t>(remaining_, input.size());
  std::string& target = is_control() ? control_ : data_;
  const std::size_t start = target.size();
  target.resize(start + take);
  for (std::size_t i = 0; i < take; ++i) {
    target[start + i] = static_cast<char>(static_cast<std::uint8_t>(input[i]) ^ mask_[(mask_at_ + i) & 3]);
  }
  mask_at_ = static_cast<std::uint8_t>((mask_at_ + take) & 3);
  remaining_ -= static_cast<std::uint32_t>(take);
  input.remove_prefix(take);
  if (is_control() || message_ != 1) return;
  const bool valid = utf8_.feed(std::string_view(target).substr(start));
  const bool ends = final_ && remaining_ == 0;
  if (!valid || (ends && !utf8_.complete())) fail(close_code::invalid_text, "invalid UTF-8");
}

std::optional<FrameParser::Item> FrameParser::finish_frame() {
  switch (static_cast<Opcode>(opcode_)) {
    case Opcode::ping:
      return Item{Kind::ping, control_, 0};
    case Opcode::pong:
      return Item{Kind::pong, control_, 0};
    case Opcode::close:
      return finish_close();
    case Opcode::continuation:
    case Opcode::text:
    case Opcode::binary:
      break;
  }
  if (!final_) return std::nullopt;
  const Kind kind = message_ == 1 ? Kind::text : Kind::binary;
  message_ = 0;
  return Item{kind, data_, 0};
}

FrameParser::Item FrameParser::finish_close() {
  if (control_.empty()) return {Kind::close, {}, close_code::none};
  const auto byte = [this](std::size_t i) { return static_cast<std::uint8_t>(control_[i]); };
  const auto code = static_cast<std::uint16_t>(control_.size() < 2 ? 0 : byte(0) << 8 | byte(1));
  const std::string_view reason = std::string_view(control_).substr(std::min<std::size_t>(2, control_.size()));
  Utf8Validator utf8;
  if (!is_valid_close_code(code)) {
    fail(close_code::protocol_error, "invalid close code");
  } else if (!utf8.feed(reason) || !utf8.complete()) {
    fail(close_code::invalid_text, "invalid UTF-8 in close reason");
  } else {
    return {Kind::close, reason, code};
  }
  return {Kind::violation, why_, failed_};
}

}  // namespace gamepicker
