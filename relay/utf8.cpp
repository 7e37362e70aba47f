#include "relay/utf8.hpp"

namespace gamepicker {

bool Utf8Validator::lead(std::uint8_t byte) {
  if (byte < 0x80) return true;
  if (byte < 0xC2 || byte > 0xF4) return false;  // continuation, overlong two-byte form, beyond U+10FFFF
  missing_ = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
  low_ = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;   // overlong
  high_ = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;  // surrogates, beyond U+10FFFF
  return true;
}

bool Utf8Validator::feed(std::string_view piece) {
  for (const char c : piece) {
    const auto byte = static_cast<std::uint8_t>(c);
    if (missing_ == 0) {
      if (!lead(byte)) return false;
      continue;
    }
    if (byte < low_ || byte > high_) return false;
    --missing_;
    low_ = 0x80;
    high_ = 0xBF;
  }
  return true;
}

}  // namespace gamepicker
