#include "relay/webhook_sender.hpp"

#include <algorithm>
#include <istream>
#include <ostream>

#include <Poco/Exception.h>
#include <Poco/Net/HTTPRequest.h>
#include <Poco/Net/HTTPResponse.h>
#include <Poco/Net/NetException.h>
#include <Poco/Net/SSLException.h>
#include <sys/socket.h>

#include "relay/retry_schedule.hpp"
#include "relay/webhook_connection.hpp"
#include "shared/clock.hpp"
#include "shared/json_reader.hpp"
#include "shared/signature.hpp"

namespace gamepicker {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kMaxAnswer = 65536;
constexpr std::size_t kKeptAnswer = 1024;
constexpr int kMaxHeaders = 100;
constexpr char kUserAgent[] = "Jackbox-Game-Picker-Webhook/1.0";

/// A reused connection was closed by the peer before it answered: nobody's fault, worth one more try.
struct StaleConnection {};

Poco::Net::HTTPRequest make_request(const WebhookRequest& delivery, const WebhookUrl& url) {
  const std::string id = std::to_string(delivery.delivery_id);
  const std::string timestamp =
      std::to_string(std::chrono::floor<std::chrono::seconds>(now()).time_since_epoch().count());
  Poco::Net::HTTPRequest request(Poco::Net::HTTPRequest::HTTP_POST, url.target, Poco::Net::HTTPMessage::HTTP_1_1);
  request.set("Host", url.host_header());
  request.setContentType("application/json");
  request.setContentLength64(static_cast<Poco::Int64>(delivery.body.size()));
  request.set("User-Agent", kUserAgent);
  request.set("X-Webhook-Event", delivery.event_type);
  request.set("X-Webhook-Signature", webhook_signature(delivery.secrets.front(), delivery.body));
  request.set("X-Webhook-Delivery", id);
  request.set("X-Webhook-Attempt", std::to_string(delivery.attempt));
  request.set("webhook-id", id);
  request.set("webhook-timestamp", timestamp);
  request.set("webhook-signature", standard_webhook_signature(delivery.secrets.front(), id, timestamp, delivery.body));
  request.setKeepAlive(true);
  return request;
}

/// A second line behind the watchdog: no single read or write waits longer than what is left.
void limit_socket(int descriptor, Clock::time_point deadline) {
  const auto left =
      std::max(std::chrono::ceil<milliseconds>(deadline - Clock::now()), milliseconds{1}) + milliseconds{50};
  const timeval limit{static_cast<time_t>(left.count() / 1000), static_cast<suseconds_t>(left.count() % 1000 * 1000)};
  ::setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

struct Answer {
  std::string body;
  bool ended = false;  ///< read to its end: the connection can be used again
};

Answer read_answer(std::istream& stream) {
  Answer answer;
  char buffer[8192];
  while (answer.body.size() < kMaxAnswer) {
    const auto wanted = std::min(sizeof buffer, kMaxAnswer - answer.body.size());
    stream.read(buffer, static_cast<std::streamsize>(wanted));
    answer.body.append(buffer, static_cast<std::size_t>(stream.gcount()));
    if (!stream) {
      answer.ended = stream.eof();
      break;
    }
  }
  return answer;
}

bool complete(const Poco::Net::HTTPResponse& response, const Answer& answer) {
  if (!answer.ended) return false;
  return !response.hasContentLength() || static_cast<std::size_t>(response.getContentLength64()) == answer.body.size();
}

std::string timeout_error(milliseconds timeout) {
  return "Timeout after " + std::to_string(timeout.count()) + " ms";
}

std::string status_error(int status) {
  if (status >= 200 && status < 300) return {};
  std::string text = "HTTP " + std::to_string(status);
  if (status >= 300 && status < 400) text += ": redirects are not followed";
  return text;
}

}  // namespace

class WebhookSender::Impl {
 public:
  explicit Impl(const Config& config) : connector_(AddressPolicy(config), watchdog_) {}

  WebhookResponse send(const WebhookRequest& request);

 private:
  void attempt(const WebhookRequest& delivery, const WebhookUrl& url, Clock::time_point deadline,
               WebhookResponse& result);
  void exchange(WebhookConnection& connection, bool reused, Poco::Net::HTTPRequest& request, const std::string& body,
                Poco::Net::HTTPResponse& response, std::istream*& stream);

  Watchdog watchdog_;
  WebhookConnector connector_;
  IdleConnections idle_;
};

WebhookResponse WebhookSender::Impl::send(const WebhookRequest& delivery) {
  const auto start = Clock::now();
  const auto deadline = start + delivery.timeout;
  WebhookResponse result;
  const auto url = WebhookUrl::parse(delivery.url);
  try {
    if (url) {
      attempt(delivery, *url, deadline, result);
    } else {
      result.error = "Invalid URL";
    }
  } catch (const Poco::Net::SSLException& error) {
    result.error = "TLS error: " + error.displayText();
  } catch (const Poco::TimeoutException&) {
    result.error = timeout_error(delivery.timeout);
  } catch (const Poco::Net::NoMessageException&) {
    result.error = "Connection closed without an answer";
  } catch (const Poco::Net::MessageException&) {
    result.error = "The answer is not HTTP";
  } catch (const Poco::Exception& error) {
    result.error = "Network error: " + error.displayText();
  } catch (const std::exception& error) {
    result.error = error.what();
  }
  // What the watchdog cut off looks like anything from a reset to an empty answer.
  if (Clock::now() >= deadline) result.error = timeout_error(delivery.timeout);
  result.error = to_valid_utf8(result.error, 500);
  result.duration = std::chrono::duration_cast<milliseconds>(Clock::now() - start);
  return result;
}

void WebhookSender::Impl::attempt(const WebhookRequest& delivery, const WebhookUrl& url, Clock::time_point deadline,
                                  WebhookResponse& result) {
  const std::string key = std::to_string(delivery.webhook_id) + (url.secure ? " https " : " http ") + url.host_header();
  auto request = make_request(delivery, url);
  auto connection = idle_.take(key);
  for (bool reused = connection != nullptr;; reused = false) {
    if (!connection) connection = connector_.open(url, deadline);
    limit_socket(connection->descriptor(), deadline);
    std::optional<Watchdog::Guard> guard(std::in_place, watchdog_, connection->descriptor(), deadline);
    Poco::Net::HTTPResponse response;
    response.setFieldLimit(kMaxHeaders);
    std::istream* stream = nullptr;
    try {
      exchange(*connection, reused, request, delivery.body, response, stream);
    } catch (const StaleConnection&) {
      guard.reset();
      connection.reset();
      continue;
    }
    const Answer answer = read_answer(*stream);
    guard.reset();  // before anyone else may use the connection
    result.status = response.getStatus();
    result.body = to_valid_utf8(answer.body, kKeptAnswer);
    result.error = status_error(*result.status);
    result.retry_after = parse_retry_after(response.get("Retry-After", ""), now());
    if (complete(response, answer) && response.getKeepAlive() && response.getVersion() == "HTTP/1.1") {
      idle_.keep(key, std::move(connection));
    }
    return;
  }
}

void WebhookSender::Impl::exchange(WebhookConnection& connection, bool reused, Poco::Net::HTTPRequest& request,
                                   const std::string& body, Poco::Net::HTTPResponse& response, std::istream*& stream) {
  try {
    auto& out = connection.sendRequest(request);
    out.write(body.data(), static_cast<std::streamsize>(body.size()));
    out.flush();
    stream = &connection.receiveResponse(response);
  } catch (const Poco::Net::NoMessageException&) {
    if (reused) throw StaleConnection();
    throw;
  } catch (const Poco::Net::NetException&) {
    if (reused && response.empty()) throw StaleConnection();
    throw;
  }
}

WebhookSender::WebhookSender(const Config& config) : impl_(std::make_unique<Impl>(config)) {}
WebhookSender::~WebhookSender() = default;
WebhookResponse WebhookSender::send(const WebhookRequest& request) {
  return impl_->send(request);
}

std::string to_valid_utf8(std::string_view bytes, std::size_t limit) {
  static constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
  std::string text;
  while (!bytes.empty()) {
    const auto lead = static_cast<unsigned char>(bytes.front());
    const std::size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    const bool valid = length <= bytes.size() && is_valid_utf8(bytes.substr(0, length));
    const std::string_view character = valid ? bytes.substr(0, length) : kReplacement;
    if (text.size() + character.size() > limit) break;
    text += character;
    bytes.remove_prefix(valid ? length : 1);
  }
  return text;
}

}  // namespace gamepicker
