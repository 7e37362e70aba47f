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

/// (type) Whether an enabled webhook takes events of this type. Events for webhooks alone are not written when none
/// does.
inline constexpr char kIsWanted[] =
    "SELECT 1 FROM webhook_patterns p JOIN webhooks w ON w.id = p.webhook_id "
    "WHERE p.pattern IN (?, '*') AND w.enabled = 1 LIMIT 1";

}  // namespace gamepicker::outbox
