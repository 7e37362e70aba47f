#pragma once

#include <cstdint>
#include <string_view>

namespace gamepicker {

/// Checks UTF-8 (RFC 3629) that arrives in pieces, and fails at the first byte that cannot be part of it.
class Utf8Validator {
 public:
  /// False as soon as the text so far can never become valid; then only reset() helps.
  bool feed(std::string_view piece);

  /// Whether the text so far ends at a character boundary.
  bool complete() const { return missing_ == 0; }

  void reset() { *this = Utf8Validator(); }

 private:
  bool lead(std::uint8_t byte);

  std::uint8_t missing_ = 0;  ///< continuation bytes still due
  std::uint8_t low_ = 0x80;   ///< range of the next one: narrower after E0, ED, F0, F4
  std::uint8_t high_ = 0xBF;
};

}  // namespace gamepicker
