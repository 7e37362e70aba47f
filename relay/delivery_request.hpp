#pragma once

#include <chrono>

#include "relay/webhook_queue.hpp"
#include "relay/webhook_sender.hpp"
#include "shared/secret_box.hpp"

namespace gamepicker {

/// What the sender needs for one attempt of a claimed delivery, with the webhook's secrets and headers opened.
/// `timeout` is for webhooks that have none of their own. Throws what SecretBox and JsonObject throw when what is
/// stored cannot be read.
WebhookRequest delivery_request(const ClaimedDelivery& delivery, const SecretBox& box,
                                std::chrono::milliseconds timeout);

}  // namespace gamepicker
