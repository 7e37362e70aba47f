#pragma once

#include <cstdint>

/// The SQL of the event log, once for both programs; each executes it with its own library. All of it runs in the
/// transaction of the change it tells of, and last of all before COMMIT: the channel's row lock is then held for one
/// flush, and offset order equals commit order.
namespace gamepicker::outbox {

/// (channel, type, family, body, except socket id or NULL, webhook id) Takes the channel's lock and next offset, writes
/// the event, and one delivery for every enabled webhook with a matching pattern; none when the webhook id is 0, that
/// one's when it is another number. The event's id is in LAST_INSERT_ID() then. See sql/003_votes_and_exact_text.sql.
inline constexpr char kEnqueueEvent[] = "CALL enqueue_event(?, ?, ?, ?, ?, ?)";

/// The webhook id of an event for subscribers only.
inline constexpr std::int64_t kNoWebhook = 0;

/// (channel it tells of or NULL, type, family, body) Writes an event for webhooks alone unless none wants it; behind
/// the events of all other channels of the transaction. See sql/006_webhooks_in_full.sql.
inline constexpr char kEnqueueWebhookEvent[] = "CALL enqueue_webhook_event(?, ?, ?, ?)";

}  // namespace gamepicker::outbox
