// Upgrade requests: their end is found however they arrive, and whatever they say, the answer is one well-formed
// response. The first byte of an input says in what pieces the rest arrives.

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <variant>

#include <Poco/JSON/Parser.h>

#include "relay/handshake.hpp"
#include "tests/fuzz/expect.hpp"

using namespace gamepicker;

namespace {

std::size_t end_in_pieces(std::string_view bytes, std::size_t step) {
  std::string inbox;
  while (!bytes.empty()) {
    const std::size_t searched = inbox.size();
    inbox.append(bytes.substr(0, step));
    bytes.remove_prefix(std::min(step, bytes.size()));
    if (const std::size_t end = find_head_end(inbox, searched); end != std::string::npos) return end;
  }
  return std::string::npos;
}

bool is_one_line(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos;
}

void check_response(const std::string& response) {
  const std::size_t end = find_head_end(response);
  expect(end != std::string::npos, "a response has a head", response);
  const std::string_view head = std::string_view(response).substr(0, end);
  for (std::size_t i = 0; i < head.size(); ++i) {
    expect((head[i] == '\n') == (i > 0 && head[i - 1] == '\r'), "its lines end in CR LF and hold neither", response);
  }
}

void check_request(const LiveRequest& request) {
  expect(request.path.starts_with('/') && request.path.find('?') == std::string::npos, "a path is one", request.path);
  for (const std::string& text : {request.path, request.address, request.origin, request.token.value_or("")}) {
    expect(is_one_line(text), "what is read is one line", text);
  }
}

void check_upgrade(const UpgradeRequest& request) {
  check_request(request);
  const std::string response = upgrade_response(request);
  check_response(response);
  expect(response.starts_with("HTTP/1.1 101 ") && find_head_end(response) == response.size(), "101 is a head",
         response);
  expect(request.accept.size() == 28, "20 bytes of SHA-1 in base64", request.accept);
}

void check_refusal(const Refusal& refusal) {
  static const std::set<int> statuses = {400, 405, 426};
  expect(statuses.contains(refusal.status), "a status of the handshake", refusal.error);
  const std::string response = refusal_response(refusal);
  check_response(response);
  const std::string body = response.substr(find_head_end(response));
  expect(response.find("\r\nContent-Length: " + std::to_string(body.size()) + "\r\n") != std::string::npos,
         "the length is right", response);
  try {
    Poco::JSON::Parser().parse(body);
  } catch (const std::exception&) {
    expect(false, "the body is JSON", response);
  }
}

std::string answer(std::string_view head) {
  const auto result = read_live_request(head);
  if (const auto* refusal = std::get_if<Refusal>(&result)) {
    check_refusal(*refusal);
    return refusal_response(*refusal);
  }
  if (const auto* stream = std::get_if<StreamRequest>(&result)) {
    check_request(*stream);
    expect(is_one_line(stream->query) && is_one_line(stream->last_event_id), "what is read is one line");
    return stream_response();
  }
  check_upgrade(std::get<UpgradeRequest>(result));
  return upgrade_response(std::get<UpgradeRequest>(result));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t end = find_head_end(bytes);
  expect(end_in_pieces(bytes, 1 + data[0]) == end, "the end is found in any pieces");
  const std::string_view head = bytes.substr(0, end);
  const std::string said = answer(head);
  if (end == std::string_view::npos) {
    expect(!said.starts_with("HTTP/1.1 101") && !said.starts_with("HTTP/1.1 200"), "what has no end is no request");
    return 0;
  }
  // Not at the front, where it would be the request line.
  if (head.size() > 4) {
    const std::string longer = std::string(head.substr(0, head.size() - 2)) + "X-Unknown: a\r\n\r\n";
    expect(answer(longer) == said, "a header nobody knows changes nothing", longer);
  }
  return 0;
}
