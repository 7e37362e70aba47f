#include "relay/handshake.hpp"

#include <string>
#include <variant>

#include <boost/test/unit_test.hpp>

#include "relay/frame.hpp"

namespace gamepicker {
namespace {

struct Line {
  std::string request = "GET /api/sessions/live HTTP/1.1";
  std::string host = "Host: example.org\r\n";
  std::string upgrade = "Upgrade: websocket\r\n";
  std::string connection = "Connection: Upgrade\r\n";
  std::string version = "Sec-WebSocket-Version: 13\r\n";
  std::string key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  std::string more = {};

  std::string head() const { return request + "\r\n" + host + upgrade + connection + version + key + more + "\r\n"; }
};

int status_of(const std::string& head) {
  const auto result = read_live_request(head);
  const auto* refusal = std::get_if<Refusal>(&result);
  return refusal != nullptr ? refusal->status : 101;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(handshake)

BOOST_AUTO_TEST_CASE(the_answer_to_the_key_is_the_one_of_the_rfc) {
  BOOST_TEST(websocket_accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  const auto request = std::get<UpgradeRequest>(read_live_request(Line{}.head()));
  BOOST_TEST(upgrade_response(request) ==
             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
}

BOOST_AUTO_TEST_CASE(what_the_relay_needs_is_read) {
  Line line;
  line.request = "GET /api/sessions/live?x=1 HTTP/1.1";
  line.more = "X-Real-IP: 192.0.2.7\r\nORIGIN: https://a.example\r\nauthorization:bearer  abc.def.ghi \r\n";
  const auto request = std::get<UpgradeRequest>(read_live_request(line.head()));
  BOOST_TEST(request.path == "/api/sessions/live");
  BOOST_TEST(request.address == "192.0.2.7");
  BOOST_TEST(request.origin == "https://a.example");
  BOOST_TEST(request.token.value() == "abc.def.ghi");
  BOOST_TEST(!std::get<UpgradeRequest>(read_live_request(Line{}.head())).token.has_value());
}

BOOST_AUTO_TEST_CASE(who_accepts_an_event_stream_and_asks_for_no_upgrade_gets_one) {
  const auto read = [](const std::string& lines) {
    return read_live_request("GET /api/sessions/live?sessionId=3 HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n");
  };
  for (const char* accept : {"text/event-stream", "Text/Event-Stream;q=0.9", "text/html, text/event-stream ; q=1"}) {
    const auto result = read(std::string("Accept: ") + accept + "\r\nLast-Event-ID: a:1\r\nX-Real-IP: 192.0.2.1\r\n");
    const auto* request = std::get_if<StreamRequest>(&result);
    BOOST_TEST_REQUIRE(request != nullptr, accept);
    BOOST_TEST(request->path == "/api/sessions/live");
    BOOST_TEST(request->query == "sessionId=3");
    BOOST_TEST(request->last_event_id == "a:1");
    BOOST_TEST(request->address == "192.0.2.1");
  }
  for (const char* lines : {"", "Accept: */*\r\n", "Accept: text/event-streams\r\n",
                            "Accept: text/event-stream\r\nUpgrade: websocket\r\n"}) {
    const auto result = read(lines);
    const auto* refusal = std::get_if<Refusal>(&result);
    BOOST_TEST_REQUIRE(refusal != nullptr, lines);
    BOOST_TEST(refusal->status == 426);
  }
}

BOOST_AUTO_TEST_CASE(requests_are_judged_strictly) {
  const struct {
    const char* name;
    Line line;
    int status;
  } cases[] = {
      {"as it should be", {}, 101},
      {"names and values in any case",
       {.upgrade = "UPGRADE: WebSocket\r\n", .connection = "connection: UPGRADE\r\n"},
       101},
      {"lists of tokens",
       {.upgrade = "Upgrade: h2c, websocket\r\n", .connection = "Connection: keep-alive, Upgrade\r\n"},
       101},
      {"lists over several lines", {.connection = "Connection: keep-alive\r\nConnection: Upgrade\r\n"}, 101},
      {"no upgrade", {.upgrade = ""}, 426},
      {"another protocol", {.upgrade = "Upgrade: websockets\r\n"}, 426},
      {"no connection header", {.connection = ""}, 426},
      {"connection without the token", {.connection = "Connection: keep-alive\r\n"}, 426},
      {"an old version", {.version = "Sec-WebSocket-Version: 8\r\n"}, 426},
      {"no version", {.version = ""}, 426},
      {"two versions in one header", {.version = "Sec-WebSocket-Version: 13, 8\r\n"}, 426},
      {"two versions", {.more = "Sec-WebSocket-Version: 8\r\n"}, 400},
      {"POST", {.request = "POST /api/sessions/live HTTP/1.1"}, 405},
      {"HTTP/1.0", {.request = "GET /api/sessions/live HTTP/1.0"}, 400},
      {"no target", {.request = "GET HTTP/1.1"}, 400},
      {"absolute target", {.request = "GET http://example.org/ HTTP/1.1"}, 400},
      {"not HTTP", {.request = "hello"}, 400},
      {"no host", {.host = ""}, 400},
      {"two hosts", {.host = "Host: a\r\nHost: b\r\n"}, 400},
      {"no key", {.key = ""}, 400},
      {"a short key", {.key = "Sec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n"}, 400},
      {"a key of 18 bytes", {.key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTEy\r\n"}, 400},
      {"a key that is not base64", {.key = "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!==\r\n"}, 400},
      {"a key of 17 bytes", {.key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTE=\r\n"}, 400},
      {"an empty key", {.key = "Sec-WebSocket-Key: \r\n"}, 400},
      {"a key with a space in it", {.key = "Sec-WebSocket-Key: dGhlIHNh XBsZSBub25jZQ==\r\n"}, 400},
      {"a key with padding in it", {.key = "Sec-WebSocket-Key: dGhlIHN=bXBsZSBub25jZQ==\r\n"}, 400},
      {"a key of padding", {.key = "Sec-WebSocket-Key: ========================\r\n"}, 400},
      {"a key in the alphabet for URLs", {.key = "Sec-WebSocket-Key: __-lIHNhbXBsZSBub25jZQ==\r\n"}, 400},
      {"two keys", {.more = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"}, 400},
      {"a body", {.more = "Content-Length: 5\r\n"}, 400},
      {"no body", {.more = "Content-Length: 0\r\n"}, 101},
      {"a chunked body", {.more = "Transfer-Encoding: chunked\r\n"}, 400},
      {"a folded line", {.more = "X-A: b\r\n c\r\n"}, 400},
      {"a space before the colon", {.more = "X-A : b\r\n"}, 400},
      {"a line without colon", {.more = "X-A\r\n"}, 400},
      {"a bare line feed in a value", {.more = "X-A: b\nX-B: c\r\n"}, 400},
      {"a zero byte", {.more = std::string("X-A: b\0c\r\n", 10)}, 400},
  };
  for (const auto& one : cases) {
    BOOST_TEST_CONTEXT(one.name) {
      BOOST_TEST(status_of(one.line.head()) == one.status);
    }
  }
}

BOOST_AUTO_TEST_CASE(the_end_of_the_head_is_found_across_pieces) {
  const std::string bytes = "GET / HTTP/1.1\r\n\r\nrest";
  BOOST_TEST(find_head_end(bytes) == 18u);
  for (std::size_t searched = 0; searched < 18; ++searched) BOOST_TEST(find_head_end(bytes, searched) == 18u);
  BOOST_TEST(find_head_end("GET / HTTP/1.1\r\n\r") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(what_stands_behind_the_head_is_frames) {
  const std::string bytes = Line{}.head() + "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
  const std::size_t end = find_head_end(bytes);
  BOOST_TEST_REQUIRE(end == Line{}.head().size());
  BOOST_TEST(status_of(bytes.substr(0, end)) == 101);
  std::string_view surplus = std::string_view(bytes).substr(end);
  BOOST_TEST((FrameParser().next(surplus).kind == FrameParser::Kind::text));
}

BOOST_AUTO_TEST_CASE(a_client_of_another_version_is_told_ours) {
  for (const char* version : {"0", "7", "8", "12", "14", "013", "13.0", "-13", "13 13", "256"}) {
    BOOST_TEST_CONTEXT(version) {
      const auto result =
          read_live_request(Line{.version = std::string("Sec-WebSocket-Version: ") + version + "\r\n"}.head());
      const std::string response = refusal_response(std::get<Refusal>(result));
      BOOST_TEST(response.starts_with("HTTP/1.1 426 Upgrade Required\r\n"));
      BOOST_TEST(response.find("\r\nSec-WebSocket-Version: 13\r\n") != std::string::npos);
    }
  }
}

BOOST_AUTO_TEST_CASE(refusals_are_json_and_end_the_connection) {
  BOOST_TEST(
      refusal_response({503, "Too many connections"}) ==
      "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 32\r\n"
      "Cache-Control: no-store\r\nRetry-After: 5\r\nConnection: close\r\n\r\n"
      "{\"error\":\"Too many connections\"}");
  const std::string upgrade = refusal_response({426, "WebSocket upgrade required"});
  BOOST_TEST(upgrade.find("Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nConnection: Upgrade, close\r\n") !=
             std::string::npos);
  BOOST_TEST(refusal_response({405, "Method not allowed"}).find("Allow: GET\r\n") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker
