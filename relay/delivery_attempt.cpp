#include "relay/delivery_attempt.hpp"

#include <optional>

#include "relay/retry_schedule.hpp"
#include "shared/json_reader.hpp"

namespace gamepicker {

WebhookRequest delivery_request(const ClaimedDelivery& delivery, const SecretBox& box,
                                std::chrono::milliseconds timeout) {
  const WebhookSettings& settings = *delivery.settings;
  WebhookRequest request{.delivery_id = delivery.delivery_id,
                         .webhook_id = delivery.webhook_id,
                         .attempt = delivery.attempt,
                         .method = settings.method,
                         .url = settings.url,
                         .headers = {},
                         .secrets = {box.open(settings.sealed_secret)},
                         .event_type = delivery.event_type,
                         .body = delivery.body,
                         .timeout = settings.timeout.value_or(timeout)};
  if (!settings.previous_sealed_secret.empty()) request.secrets.push_back(box.open(settings.previous_sealed_secret));
  if (!settings.sealed_headers.empty()) {
    const JsonObject headers = JsonObject::parse(box.open(settings.sealed_headers));
    for (const std::string& name : headers.names()) {
      request.headers.emplace_back(name, headers.text(name, SIZE_MAX).value_or(""));
    }
  }
  return request;
}

WebhookResponse send_delivery(const ClaimedDelivery& delivery, WebhookSender& sender, const SecretBox& box,
                              std::chrono::milliseconds timeout) {
  std::optional<WebhookRequest> request;
  try {
    request = delivery_request(delivery, box, timeout);
  } catch (const std::exception&) {
    WebhookResponse response;
    response.error = "What is stored of the webhook cannot be decrypted";
    return response;
  }
  return sender.send(*request);
}

AttemptOutcome delivery_outcome(const ClaimedDelivery& delivery, const WebhookResponse& response,
                                const Config::Durations& server_schedule, double random) {
  AttemptOutcome outcome{.delivery_id = delivery.delivery_id,
                         .webhook_id = delivery.webhook_id,
                         .attempt = delivery.attempt,
                         .lease_token = delivery.lease_token,
                         .kind = AttemptOutcome::Kind::succeeded,
                         .retry_in = std::chrono::milliseconds{0},
                         .response_status = response.status,
                         .error = response.error,
                         .duration = response.duration,
                         .response_body = response.body,
                         .phases = response.phases,
                         .peer_address = response.peer_address,
                         .health = {}};
  if (response.error.empty()) return outcome;
  const WebhookSettings& settings = *delivery.settings;
  const auto schedule = schedule_of(settings.retry_attempts, settings.retry_delay, server_schedule);
  const auto wait = retry_delay(schedule, delivery.scheduled, random, response.retry_after);
  outcome.kind = wait ? AttemptOutcome::Kind::retry : AttemptOutcome::Kind::failed;
  if (response.status == 410) outcome.kind = AttemptOutcome::Kind::gone;
  outcome.retry_in = wait.value_or(std::chrono::milliseconds{0});
  return outcome;
}

}  // namespace gamepicker
