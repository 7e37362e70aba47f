#pragma once

#include <chrono>

#include "relay/attempt_recorder.hpp"
#include "relay/webhook_queue.hpp"
#include "relay/webhook_sender.hpp"
#include "shared/config.hpp"
#include "shared/secret_box.hpp"

namespace gamepicker {

/// What the sender needs for one attempt of a claimed delivery, with the webhook's secrets and headers opened.
/// `timeout` is for webhooks that have none of their own. Throws what SecretBox and JsonObject throw when what is
/// stored cannot be read.
WebhookRequest delivery_request(const ClaimedDelivery& delivery, const SecretBox& box,
                                std::chrono::milliseconds timeout);

/// One attempt. What cannot be opened is an error in the response.
WebhookResponse send_delivery(const ClaimedDelivery& delivery, WebhookSender& sender, const SecretBox& box,
                              std::chrono::milliseconds timeout);

/// What the answer makes of the delivery, by the webhook's own schedule or the server's; without the endpoint's health.
/// `random` is uniform in [0, 1).
AttemptOutcome delivery_outcome(const ClaimedDelivery& delivery, const WebhookResponse& response,
                                const Config::Durations& server_schedule, double random);

}  // namespace gamepicker
