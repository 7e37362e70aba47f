#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "relay/frame.hpp"
#include "relay/utf8.hpp"

namespace gamepicker {
namespace {

using namespace std::string_literals;
using Kind = FrameParser::Kind;

/// How a client's frame is written: everything can be wrong on purpose.
struct Raw {
  int opcode = 1;
  std::string payload = {};
  bool final = true;
  bool masked = true;
  int reserved = 0;      ///< RSV bits, 0-7
  int length_bytes = 0;  ///< 0: shortest form; 2 or 8: that form whatever the length
};

std::string raw_frame(const Raw& raw) {
  std::string bytes{static_cast<char>((raw.final ? 0x80 : 0) | raw.reserved << 4 | raw.opcode)};
  const std::uint64_t size = raw.payload.size();
  const int form = raw.length_bytes != 0 ? raw.length_bytes : size < 126 ? 0 : size < 65536 ? 2 : 8;
  const int mark = raw.masked ? 0x80 : 0;
  bytes += static_cast<char>(mark | (form == 0 ? static_cast<int>(size) : form == 2 ? 126 : 127));
  for (int i = form - 1; i >= 0; --i) bytes += static_cast<char>((size >> (8 * i)) & 0xFF);
  if (!raw.masked) return bytes + raw.payload;
  const std::string mask = "\x37\xfa\x21\x3d";
  bytes += mask;
  for (std::size_t i = 0; i < raw.payload.size(); ++i) {
    bytes += static_cast<char>(raw.payload[i] ^ mask[i % 4]);
  }
  return bytes;
}

std::string describe(const FrameParser::Item& item) {
  static const char* const names[] = {"incomplete", "text", "binary", "ping", "pong", "close", "violation"};
  std::string text = names[static_cast<int>(item.kind)];
  if (item.kind == Kind::violation) return text + ' ' + std::to_string(item.code);
  if (item.kind == Kind::close) text += ' ' + std::to_string(item.code);
  return text + '(' + std::string(item.payload) + ')';
}

/// Feeds `bytes` in pieces of `step` and lists what came out; ends at a violation.
std::string parse(std::string_view bytes, std::size_t step, FrameParser::Options options = {}) {
  FrameParser parser(options);
  std::string seen;
  while (!bytes.empty()) {
    std::string_view piece = bytes.substr(0, step);
    bytes.remove_prefix(piece.size());
    for (auto item = parser.next(piece); item.kind != Kind::incomplete; item = parser.next(piece)) {
      seen += (seen.empty() ? "" : " ") + describe(item);
      if (item.kind == Kind::violation) return seen;
    }
    BOOST_TEST_REQUIRE(piece.empty());
  }
  return seen;
}

struct Case {
  const char* name;
  std::string bytes;
  std::string expected;
};

std::string close_payload(int code, const std::string& reason = "") {
  return std::string{static_cast<char>(code >> 8), static_cast<char>(code & 0xFF)} + reason;
}

void check_all(const std::vector<Case>& cases) {
  for (const Case& one : cases) {
    for (const std::size_t step : {std::size_t{1}, std::size_t{3}, std::size_t{1} << 20}) {
      BOOST_TEST_CONTEXT(one.name << ", " << step << " bytes at a time") {
        BOOST_TEST(parse(one.bytes, step) == one.expected);
      }
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(framing)

BOOST_AUTO_TEST_CASE(well_formed_frames_are_read_however_they_arrive) {
  const std::string s125(125, 'a'), s126(126, 'b'), s65535(65535, 'c'), s65536(65536, 'd');
  check_all({
      {"RFC 6455 section 5.7, masked Hello", "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"s, "text(Hello)"},
      {"empty text", raw_frame({}), "text()"},
      {"longest 7-bit length", raw_frame({.payload = s125}), "text(" + s125 + ")"},
      {"shortest 16-bit length", raw_frame({.payload = s126}), "text(" + s126 + ")"},
      {"longest 16-bit length", raw_frame({.payload = s65535}), "text(" + s65535 + ")"},
      {"shortest 64-bit length", raw_frame({.payload = s65536}), "text(" + s65536 + ")"},
      {"two in one piece", raw_frame({.payload = "a"}) + raw_frame({.payload = "b"}), "text(a) text(b)"},
      {"ping", raw_frame({.opcode = 9, .payload = s125}), "ping(" + s125 + ")"},
      {"pong", raw_frame({.opcode = 10}), "pong()"},
      {"text with every UTF-8 length", raw_frame({.payload = "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x8E\xB2"}),
       "text(\xC3\xA4\xE2\x82\xAC\xF0\x9F\x8E\xB2)"},
  });
}

BOOST_AUTO_TEST_CASE(fragments_are_joined_and_control_frames_may_stand_between_them) {
  check_all({
      {"three fragments",
       raw_frame({.payload = "a", .final = false}) + raw_frame({.opcode = 0, .payload = "b", .final = false}) +
           raw_frame({.opcode = 0, .payload = "c"}),
       "text(abc)"},
      {"empty fragments",
       raw_frame({.final = false}) + raw_frame({.opcode = 0, .final = false}) + raw_frame({.opcode = 0}), "text()"},
      {"ping and pong inside",
       raw_frame({.payload = "a", .final = false}) + raw_frame({.opcode = 9, .payload = "p"}) +
           raw_frame({.opcode = 0, .payload = "b", .final = false}) + raw_frame({.opcode = 10, .payload = "q"}) +
           raw_frame({.opcode = 0, .payload = "c"}) + raw_frame({.payload = "d"}),
       "ping(p) pong(q) text(abc) text(d)"},
      {"close inside", raw_frame({.payload = "a", .final = false}) + raw_frame({.opcode = 8}), "close 1005()"},
      {"a character split over fragments",
       raw_frame({.payload = "\xE2", .final = false}) + raw_frame({.opcode = 9}) +
           raw_frame({.opcode = 0, .payload = "\x82", .final = false}) + raw_frame({.opcode = 0, .payload = "\xAC"}),
       "ping() text(\xE2\x82\xAC)"},
  });
}

BOOST_AUTO_TEST_CASE(protocol_errors_are_named) {
  std::vector<Case> cases = {
      {"not masked", raw_frame({.payload = "a", .masked = false}), "violation 1002"},
      {"continuation not masked", raw_frame({.final = false}) + raw_frame({.opcode = 0, .masked = false}),
       "violation 1002"},
      {"ping not masked", raw_frame({.opcode = 9, .masked = false}), "violation 1002"},
      {"close not masked", raw_frame({.opcode = 8, .masked = false}), "violation 1002"},
      {"not masked, by its second byte", "\x81\x05", "violation 1002"},
      {"16-bit length of a ping that is short", raw_frame({.opcode = 9, .payload = "a", .length_bytes = 2}),
       "violation 1002"},
      {"64-bit length of a close that is short", raw_frame({.opcode = 8, .length_bytes = 8}), "violation 1002"},
      {"the longest 7-bit length in 16 bits", raw_frame({.payload = std::string(125, 'a'), .length_bytes = 2}),
       "violation 1002"},
      {"the longest 16-bit length in 64 bits", raw_frame({.payload = std::string(65535, 'a'), .length_bytes = 8}),
       "violation 1002"},
      {"all bits of a 64-bit length", "\x81\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\1\2\3\4"s, "violation 1002"},
      {"16-bit length where 7 bits do", raw_frame({.payload = "a", .length_bytes = 2}), "violation 1002"},
      {"64-bit length where 7 bits do", raw_frame({.payload = "a", .length_bytes = 8}), "violation 1002"},
      {"64-bit length where 16 bits do", raw_frame({.payload = std::string(300, 'a'), .length_bytes = 8}),
       "violation 1002"},
      {"top bit of a 64-bit length", "\x81\xFF\x80\0\0\0\0\1\0\0\1\2\3\4"s, "violation 1002"},
      {"nothing to continue", raw_frame({.opcode = 0, .payload = "a"}), "violation 1002"},
      {"continuing what is complete", raw_frame({.payload = "a"}) + raw_frame({.opcode = 0}), "text(a) violation 1002"},
      {"message inside a message", raw_frame({.payload = "a", .final = false}) + raw_frame({.payload = "b"}),
       "violation 1002"},
      {"fragmented ping", raw_frame({.opcode = 9, .final = false}), "violation 1002"},
      {"ping of 126 bytes", raw_frame({.opcode = 9, .payload = std::string(126, 'a')}), "violation 1002"},
      {"close of one byte", raw_frame({.opcode = 8, .payload = "a"}), "violation 1002"},
      {"close with a reason that is not UTF-8", raw_frame({.opcode = 8, .payload = close_payload(1000, "\xFF")}),
       "violation 1007"},
      {"close with half a character", raw_frame({.opcode = 8, .payload = close_payload(1000, "\xE2\x82")}),
       "violation 1007"},
      {"binary", raw_frame({.opcode = 2, .payload = "a"}), "violation 1003"},
  };
  for (int reserved = 1; reserved < 8; ++reserved) {
    cases.push_back({"reserved bits", raw_frame({.reserved = reserved}), "violation 1002"});
  }
  for (const int opcode : {3, 4, 5, 6, 7, 11, 12, 13, 14, 15}) {
    cases.push_back({"unknown opcode", raw_frame({.opcode = opcode}), "violation 1002"});
  }
  check_all(cases);
}

BOOST_AUTO_TEST_CASE(only_close_codes_that_may_travel_are_accepted) {
  const std::pair<int, int> allowed[] = {{1000, 1003}, {1007, 1014}, {3000, 4999}};
  for (int code = 0; code < 65536; ++code) {
    const bool may = std::any_of(std::begin(allowed), std::end(allowed),
                                 [&](const auto& range) { return range.first <= code && code <= range.second; });
    const std::string text = std::to_string(code);
    BOOST_TEST_CONTEXT(text) {
      BOOST_TEST(parse(raw_frame({.opcode = 8, .payload = close_payload(code, "why")}), 200) ==
                 (may ? "close " + text + "(why)" : "violation 1002"));
      BOOST_TEST(parse(raw_frame({.opcode = 8, .payload = close_payload(code)}), 1) ==
                 (may ? "close " + text + "()" : "violation 1002"));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_message_too_big_is_refused_by_its_header) {
  // Only the header is there: not a byte of the payload is needed, or waited for.
  const std::string header_64k1 = "\x81\xFF\0\0\0\0\0\1\0\1\1\2\3\4"s;
  const std::string header_exabyte = "\x81\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\1\2\3\4"s;
  const std::string half(40000, 'a');
  check_all({
      {"64 KiB and one byte", header_64k1, "violation 1009"},
      {"the largest length there is", header_exabyte, "violation 1009"},
      {"fragments together",
       raw_frame({.payload = half, .final = false}) + raw_frame({.opcode = 0, .payload = half}).substr(0, 8),
       "violation 1009"},
  });
}

BOOST_AUTO_TEST_CASE(a_message_has_no_more_fragments_than_it_may_have_bytes) {
  const std::string first = raw_frame({.payload = "", .final = false});
  const std::string next = raw_frame({.opcode = 0, .payload = "", .final = false});
  const std::string last = raw_frame({.opcode = 0, .payload = "abc"});
  const FrameParser::Options three{.max_message = 3};
  BOOST_TEST(parse(first + next + last + first + next + last, 1, three) == "text(abc) text(abc)");
  BOOST_TEST(parse(first + next + next + last, 1, three) == "violation 1009");
}

BOOST_AUTO_TEST_CASE(invalid_utf8_is_refused_at_the_first_wrong_byte) {
  const std::vector<std::string> invalid = {"\x80",
                                            "\xC0\x80",
                                            "\xC1\xBF",
                                            "\xE0\x80\x80",
                                            "\xE0\x9F\xBF",
                                            "\xED\xA0\x80",
                                            "\xED\xBF\xBF",
                                            "\xF0\x80\x80\x80",
                                            "\xF0\x8F\xBF\xBF",
                                            "\xF4\x90\x80\x80",
                                            "\xF5\x80\x80\x80",
                                            "\xFE",
                                            "\xFF",
                                            "\xC3(",
                                            "\xE2\x82(",
                                            "a\xE2\x28\xA1"};
  for (const std::string& text : invalid) {
    check_all({{"whole", raw_frame({.payload = text}), "violation 1007"},
               // Unfinished message: refused before the rest is there.
               {"unfinished", raw_frame({.payload = text, .final = false}), "violation 1007"}});
  }
  check_all({{"ends inside a character", raw_frame({.payload = "\xF0\x9F\x8E"}), "violation 1007"},
             {"ends inside a character, in fragments",
              raw_frame({.payload = "\xF0\x9F", .final = false}) + raw_frame({.opcode = 0}), "violation 1007"},
             {"highest code point", raw_frame({.payload = "\xF4\x8F\xBF\xBF"}), "text(\xF4\x8F\xBF\xBF)"},
             {"around the surrogates", raw_frame({.payload = "\xED\x9F\xBF\xEE\x80\x80"}),
              "text(\xED\x9F\xBF\xEE\x80\x80)"}});
}

BOOST_AUTO_TEST_CASE(utf8_is_checked_across_fragments_and_not_across_messages) {
  const std::string text = "a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x8E\xB2";
  const std::string between = raw_frame({.opcode = 9, .payload = "\xFF"});  // a ping is no text
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    const std::string name = "cut at " + std::to_string(cut);
    check_all({{name.c_str(),
                raw_frame({.payload = text.substr(0, cut), .final = false}) + between +
                    raw_frame({.opcode = 0, .payload = text.substr(cut)}),
                "ping(\xFF) text(" + text + ")"}});
  }
  const auto in_two = [](const std::string& first, const std::string& second) {
    return raw_frame({.payload = first, .final = false}) + raw_frame({.opcode = 0, .payload = second, .final = false});
  };
  check_all({
      {"a surrogate over two", in_two("\xED", "\xA0"), "violation 1007"},
      {"an overlong form over two", in_two("\xE0", "\x9F"), "violation 1007"},
      {"beyond the last over two", in_two("\xF4", "\x90"), "violation 1007"},
      {"a letter inside a character", in_two("\xE2\x82", "a"), "violation 1007"},
      {"a character over two messages", raw_frame({.payload = "\xE2"}) + raw_frame({.payload = "\x82\xAC"}),
       "violation 1007"},
      {"each message starts anew", raw_frame({.payload = "\xC3\xA4"}) + raw_frame({.payload = "\xA4"}),
       "text(\xC3\xA4) violation 1007"},
  });
}

BOOST_AUTO_TEST_CASE(a_violation_is_final) {
  FrameParser parser;
  std::string bytes = raw_frame({.opcode = 3});
  std::string_view input = bytes;
  BOOST_TEST(describe(parser.next(input)) == "violation 1002");
  bytes = raw_frame({.payload = "a"});
  input = bytes;
  BOOST_TEST(describe(parser.next(input)) == "violation 1002");
}

BOOST_AUTO_TEST_CASE(binary_and_large_messages_are_read_where_they_are_allowed) {
  const std::string large(1 << 20, '\xFF');
  const std::string bytes = raw_frame({.opcode = 2, .payload = large});
  BOOST_TEST(parse(bytes, 4096, {.max_message = 1 << 24, .accept_binary = true}) == "binary(" + large + ")");
}

BOOST_AUTO_TEST_CASE(server_frames_use_the_shortest_length_and_no_mask) {
  BOOST_TEST(encode_text_frame("Hello") == "\x81\x05Hello"s);
  BOOST_TEST(encode_text_frame("") == "\x81\0"s);
  BOOST_TEST(encode_frame(Opcode::ping, "x") == "\x89\x01x"s);
  BOOST_TEST(encode_text_frame(std::string(125, 'a')).substr(0, 2) == "\x81\x7D"s);
  BOOST_TEST(encode_text_frame(std::string(126, 'a')).substr(0, 4) == "\x81\x7E\0\x7E"s);
  BOOST_TEST(encode_text_frame(std::string(65535, 'a')).substr(0, 4) == "\x81\x7E\xFF\xFF"s);
  BOOST_TEST(encode_text_frame(std::string(65536, 'a')).substr(0, 10) == "\x81\x7F\0\0\0\0\0\1\0\0"s);
  BOOST_TEST(encode_text_frame(std::string(65536, 'a')).size() == 65546u);
  BOOST_TEST(encode_close_frame(4401, "no") == "\x88\x04\x11\x31no"s);
  BOOST_TEST(encode_close_frame(close_code::none, "") == "\x88\0"s);
  BOOST_TEST(encode_close_frame(1000, std::string(200, 'a')).size() == 127u);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker
