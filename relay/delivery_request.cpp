#include "relay/delivery_request.hpp"

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

}  // namespace gamepicker
