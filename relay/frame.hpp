#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "relay/utf8.hpp"

/// RFC 6455 section 5, the server's side, and nothing else: no sockets, no JSON.
namespace gamepicker {

enum class Opcode : std::uint8_t { continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10 };

/// A complete, unmasked frame.
std::string encode_frame(Opcode opcode, std::string_view payload);
std::string encode_text_frame(std::string_view text);
/// What encode_text_frame() was given; a view into `frame`.
std::string_view text_of_frame(std::string_view frame);
/// `reason` is cut at 123 bytes. Code 1005 ("none given") makes an empty close frame.
std::string encode_close_frame(std::uint16_t code, std::string_view reason);

/// Close codes of RFC 6455 section 7.4.1 that this side uses.
namespace close_code {
inline constexpr std::uint16_t normal = 1000;
inline constexpr std::uint16_t protocol_error = 1002;
inline constexpr std::uint16_t unsupported = 1003;
inline constexpr std::uint16_t none = 1005;
inline constexpr std::uint16_t abnormal = 1006;  // never sent
inline constexpr std::uint16_t invalid_text = 1007;
inline constexpr std::uint16_t too_big = 1009;
}  // namespace close_code

/// Reads a client's frames from bytes that arrive in any pieces. Keeps what has arrived of the current
/// message and nothing more: a length in a header reserves no memory. A message has no more fragments than it may have
/// bytes, so that empty ones come to an end too. Small when idle.
class FrameParser {
 public:
  struct Options {
    std::uint32_t max_message = 65536;  ///< bytes; of one frame and of all fragments together
    bool accept_binary = false;
  };
  enum class Kind : std::uint8_t { incomplete, text, binary, ping, pong, close, violation };

  /// `payload` is valid until the next call. Of a close: the peer's reason and code (1005 without one). Of a
  /// violation: why, and the code to close with.
  struct Item {
    Kind kind = Kind::incomplete;
    std::string_view payload;
    std::uint16_t code = 0;
  };

  FrameParser() = default;
  explicit FrameParser(Options options) : options_(options) {}

  /// Takes bytes off the front of `input` up to the end of the next message or control frame; `incomplete`
  /// when it used all of them. After a violation it returns that violation for ever.
  Item next(std::string_view& input);

 private:
  bool read_header(std::string_view& input);
  std::size_t header_bytes_needed() const;
  bool check_first_bytes();
  bool accept_header();
  bool read_length(std::uint64_t& length);
  void take_payload(std::string_view& input);
  std::optional<Item> finish_frame();
  Item finish_close();
  bool fail(std::uint16_t code, const char* why);
  bool is_control() const { return (opcode_ & 0x8) != 0; }

  Options options_;
  std::array<std::uint8_t, 14> header_{};
  std::uint8_t header_size_ = 0;
  bool in_payload_ = false;
  bool final_ = false;
  bool delivered_ = false;    ///< something was handed out and is to be emptied
  std::uint8_t opcode_ = 0;   ///< of the current frame
  std::uint8_t message_ = 0;  ///< opcode of the message in progress, 0 when there is none
  std::uint8_t mask_at_ = 0;
  std::array<std::uint8_t, 4> mask_{};
  std::uint32_t remaining_ = 0;
  std::uint32_t fragments_ = 0;  ///< of the message in progress
  std::uint16_t failed_ = 0;
  const char* why_ = "";
  Utf8Validator utf8_;
  std::string data_;
  std::string control_;
};

}  // namespace gamepicker
