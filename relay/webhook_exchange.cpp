#include "relay/webhook_exchange.hpp"

#include <istream>
#include <ostream>

#include <Poco/Exception.h>
#include <Poco/Net/HTTPRequest.h>
#include <Poco/Net/HTTPResponse.h>

namespace gamepicker {
namespace {

using Poco::Net::HTTPResponse;

constexpr int kMaxFields = 100;

/// 101 is final, for nobody asked to switch.
bool is_final(const HTTPResponse& response) {
  return response.getStatus() >= 200 || response.getStatus() == HTTPResponse::HTTP_SWITCHING_PROTOCOLS;
}

/// Reads up to the body of the final answer; interim ones are skipped. Returns an error, or nothing when there is a
/// status. `body` stays null when the head announces none that can be read.
std::string receive_head(WebhookConnection& connection, HTTPResponse& response, std::istream*& body) {
  const Intake& intake = connection.intake();
  std::string why;
  try {
    do {
      response.setStatus(HTTPResponse::HTTP_CONTINUE);  // as long as no other has been read
      body = &connection.receiveResponse(response);
    } while (!is_final(response) && response.getStatus() >= 100 && !intake.ended && !intake.full());
  } catch (const Poco::Exception& error) {
    body = nullptr;
    why = ": " + error.message();
  }
  // Poco takes a head that the end of the connection cut off for a whole one.
  if (intake.full()) return "The answer's headers are too long";
  if (intake.ended) {
    return intake.bytes == 0 ? "Connection closed without an answer" : "Connection closed within the answer's headers";
  }
  if (!is_final(response) || !response.getVersion().starts_with("HTTP/1.")) return "The answer is not HTTP" + why;
  return {};
}

struct Body {
  std::string text;
  bool ended = false;  ///< where the answer said it would, or the connection's end
};

Body read_body(std::istream& stream) {
  Body body;
  char buffer[8192];
  while (stream) {
    stream.read(buffer, sizeof buffer);
    body.text.append(buffer, static_cast<std::size_t>(stream.gcount()));
  }
  body.ended = stream.eof();
  return body;
}

/// Whether the connection may carry another request.
bool reusable(const WebhookConnection& connection, const HTTPResponse& response, const Body& body) {
  if (!body.ended || !connection.clean() || response.getStatus() < 200) return false;
  if (!response.getKeepAlive() || response.getVersion() != HTTPResponse::HTTP_1_1) return false;
  // Poco reads one line behind the last chunk; with trailers there are more, which may still be on their way.
  if (response.getChunkedTransferEncoding() && !connection.intake().last.ends_with("\r\n\r\n")) return false;
  return !response.hasContentLength() || response.getContentLength64() == static_cast<Poco::Int64>(body.text.size());
}

}  // namespace

WebhookAnswer exchange(WebhookConnection& connection, Poco::Net::HTTPRequest& request, const std::string& body) {
  WebhookAnswer answer;
  HTTPResponse response;
  response.setFieldLimit(kMaxFields);
  std::istream* stream = nullptr;
  try {
    auto& out = connection.sendRequest(request);
    out.write(body.data(), static_cast<std::streamsize>(body.size()));
    out.flush();
    answer.error = receive_head(connection, response, stream);
  } catch (const Poco::Exception& error) {
    answer.error = "Network error: " + error.displayText();
  }
  if (!answer.error.empty()) return answer;
  answer.status = response.getStatus();
  answer.retry_after = response.get("Retry-After", "");
  if (stream != nullptr) {
    Body read = read_body(*stream);
    answer.reusable = reusable(connection, response, read);
    answer.body = std::move(read.text);
  }
  return answer;
}

}  // namespace gamepicker
