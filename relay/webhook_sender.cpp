#include "relay/webhook_sender.hpp"

#include <algorithm>

#include <Poco/Exception.h>
#include <Poco/Net/HTTPRequest.h>

#include "relay/retry_schedule.hpp"
#include "relay/webhook_connection.hpp"
#include "relay/webhook_exchange.hpp"
#include "shared/clock.hpp"
#include "shared/json_reader.hpp"
#include "shared/signature.hpp"
#include "shared/webhook_headers.hpp"

namespace gamepicker {
namespace {

using Clock = std::chrono::steady_clock;
using Poco::Net::HTTPRequest;
using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::size_t kKeptAnswer = 1024;
constexpr char kUserAgent[] = "Jackbox-Game-Picker-Webhook/1.0";

/// A reused connection was closed by the peer before it answered: nobody's fault, worth one more try.
struct StaleConnection {};

/// Signed with every secret, so that a receiver that knows any of them can verify.
std::string standard_signatures(const WebhookRequest& delivery, const std::string& id, const std::string& timestamp) {
  std::string entries;
  for (const std::string& secret : delivery.secrets) {
    if (!entries.empty()) entries += ' ';
    entries += standard_webhook_signature(secret, id, timestamp, delivery.body);
  }
  return entries;
}

/// X-Webhook-Signature has room for one value, which receivers compare as a whole: it is made with the current secret.
HTTPRequest make_request(const WebhookRequest& delivery, const WebhookUrl& url) {
  const std::string id = std::to_string(delivery.delivery_id);
  const std::string timestamp =
      std::to_string(std::chrono::floor<std::chrono::seconds>(now()).time_since_epoch().count());
  HTTPRequest request(delivery.method == "PUT" ? HTTPRequest::HTTP_PUT : HTTPRequest::HTTP_POST, url.target,
                      HTTPRequest::HTTP_1_1);
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
  request.set("webhook-signature", standard_signatures(delivery, id, timestamp));
  for (const auto& [name, value] : delivery.headers) {
    // Checked when they were stored; here again, for no row of the database may forge a request.
    if (is_header_name(name) && is_header_value(value) && !is_reserved_webhook_header(name)) request.add(name, value);
  }
  return request;
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
  explicit Impl(const Config& config) : connector_(config, watchdog_) {}

  WebhookResponse send(const WebhookRequest& request);

 private:
  void attempt(const WebhookRequest& delivery, const WebhookUrl& url, Clock::time_point start, WebhookResponse& result);
  bool exchange_on(WebhookConnection& connection, bool reused, HTTPRequest& request, const WebhookRequest& delivery,
                   Clock::time_point start, WebhookResponse& result);

  Watchdog watchdog_;
  WebhookConnector connector_;
  IdleConnections idle_;
};

WebhookResponse WebhookSender::Impl::send(const WebhookRequest& delivery) {
  const auto start = Clock::now();
  WebhookResponse result;
  try {
    const auto url = WebhookUrl::parse(delivery.url);
    if (!url) {
      result.error = "Invalid URL";
    } else if (delivery.secrets.empty()) {
      result.error = "No secret to sign with";
    } else {
      attempt(delivery, *url, start, result);
    }
  } catch (const Poco::Exception& error) {
    result.error = "Network error: " + error.displayText();
  } catch (const std::exception& error) {
    result.error = error.what();
  }
  // What the watchdog cut off looks like anything from a reset to an empty answer.
  if (Clock::now() >= start + delivery.timeout) result.error = timeout_error(delivery.timeout);
  result.error = to_valid_utf8(result.error, 500);
  result.duration = std::chrono::duration_cast<milliseconds>(Clock::now() - start);
  return result;
}

void WebhookSender::Impl::attempt(const WebhookRequest& delivery, const WebhookUrl& url, Clock::time_point start,
                                  WebhookResponse& result) {
  const std::string key = std::to_string(delivery.webhook_id) + (url.secure ? " https " : " http ") + url.host_header();
  auto request = make_request(delivery, url);
  auto connection = idle_.take(key);
  for (bool reused = connection != nullptr;; reused = false) {
    if (!connection) connection = connector_.open(url, start + delivery.timeout, result.phases, result.peer_address);
    result.peer_address = connection->peer();
    try {
      if (exchange_on(*connection, reused, request, delivery, start, result)) idle_.keep(key, std::move(connection));
      return;
    } catch (const StaleConnection&) {
      connection.reset();
      result.peer_address.clear();
    }
  }
}

/// Whether the connection can be kept. What came of an answer is noted even when the time ends before the answer does.
bool WebhookSender::Impl::exchange_on(WebhookConnection& connection, bool reused, HTTPRequest& request,
                                      const WebhookRequest& delivery, Clock::time_point start,
                                      WebhookResponse& result) {
  const auto deadline = start + delivery.timeout;
  connection.begin(kMaxAnswer, deadline);
  const Watchdog::Guard guard(watchdog_, connection.descriptor(), deadline);
  const WebhookAnswer answer = exchange(connection, request, delivery.body);
  const Intake& intake = connection.intake();
  if (intake.first) result.phases.first_byte = std::chrono::duration_cast<microseconds>(*intake.first - start);
  if (!answer.status && reused && intake.bytes == 0 && Clock::now() < deadline) throw StaleConnection();
  result.status = answer.status;
  result.error = answer.status ? status_error(*answer.status) : answer.error;
  result.body = to_valid_utf8(answer.body, kKeptAnswer);
  result.cut = intake.full();
  result.retry_after = parse_retry_after(answer.retry_after, now());
  return answer.reusable;
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
