// What clients send after the upgrade: the same comes out however it is cut, and nothing that RFC 6455 forbids. The
// first byte of an input chooses the options, the second how the rest is cut.

#include <string>
#include <string_view>
#include <vector>

#include "relay/frame.hpp"
#include "shared/json_reader.hpp"
#include "tests/fuzz/expect.hpp"

using namespace gamepicker;

namespace {

using Kind = FrameParser::Kind;

struct Said {
  Kind kind{};
  std::string payload;
  std::uint16_t code = 0;
  bool operator==(const Said&) const = default;
};

FrameParser::Options options_of(std::uint8_t choice) {
  constexpr std::uint32_t limits[] = {0, 10, 200, 65536};
  return {limits[choice >> 1 & 3], (choice & 1) != 0};
}

void check_close(const Said& item) {
  const std::uint16_t code = item.code;
  const bool may_travel =
      (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code < 5000);
  expect(may_travel || (code == close_code::none && item.payload.empty()), "a close code may travel");
  expect(is_valid_utf8(item.payload) && item.payload.size() <= 123, "a reason is short UTF-8");
}

void check(const Said& item, const FrameParser::Options& options) {
  switch (item.kind) {
    case Kind::text:
      expect(is_valid_utf8(item.payload), "text is UTF-8");
      [[fallthrough]];
    case Kind::binary:
      expect(item.payload.size() <= options.max_message, "a message is not larger than allowed");
      expect(item.kind == Kind::text || options.accept_binary, "binary comes only where it is accepted");
      break;
    case Kind::ping:
    case Kind::pong:
      expect(item.payload.size() <= 125, "control frames are short");
      break;
    case Kind::close:
      check_close(item);
      break;
    case Kind::violation:
      expect(item.code == 1002 || item.code == 1003 || item.code == 1007 || item.code == 1009, "a code we close with");
      expect(!item.payload.empty(), "a violation says why");
      break;
    case Kind::incomplete:
      break;
  }
}

/// All that comes out of `bytes`, in pieces of 1 to `largest` bytes (0: in one) that `cut` chooses. If a violation
/// does, it is the last.
std::vector<Said> parse(std::string_view bytes, const FrameParser::Options& options, std::size_t largest,
                        std::uint32_t cut) {
  FrameParser parser(options);
  std::vector<Said> seen;
  while (!bytes.empty()) {
    cut = cut * 1664525 + 1013904223;
    std::string piece(
        largest == 0 ? bytes : bytes.substr(0, 1 + (cut >> 16) % largest));  // of its own, so that ASan sees its end
    bytes.remove_prefix(piece.size());
    std::string_view input = piece;
    while (true) {
      const FrameParser::Item item = parser.next(input);
      const Said said{item.kind, std::string(item.payload), item.code};
      check(said, options);
      if (said.kind == Kind::incomplete) break;
      if (!seen.empty() && seen.back().kind == Kind::violation) {
        expect(said == seen.back(), "a violation is final");
        break;
      }
      seen.push_back(said);
    }
    expect(input.empty() || (!seen.empty() && seen.back().kind == Kind::violation), "every byte is used");
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const FrameParser::Options options = options_of(data[0]);
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::vector<Said> whole = parse(bytes, options, 0, 0);
  expect(parse(bytes, options, 1, 0) == whole, "a byte at a time, the same comes out");
  expect(parse(bytes, options, 1 + data[1], data[1]) == whole, "in any pieces, the same comes out");
  return 0;
}
