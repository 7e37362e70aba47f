#pragma once

/// The SQL of the event log, once for both programs; each executes it with its own library. All of it runs in the
/// transaction of the change it tells of, and last of all before COMMIT: the channel's row lock is then held for one
/// flush, and offset order equals commit order.
namespace gamepicker::outbox {

/// (channel) Takes the channel's lock and its next offset.
inline constexpr char kAdvanceChannel[] =
    "INSERT INTO channels (name, head) VALUES (?, LAST_INSERT_ID(1)) "
    "ON DUPLICATE KEY UPDATE head = LAST_INSERT_ID(head + 1)";

/// (channel, type, body) The offset comes from the statement before, in the same statement that uses it: MySQL's
/// first insert into an AUTO_INCREMENT table overwrites LAST_INSERT_ID().
inline constexpr char kInsertEvent[] =
    "INSERT INTO events (channel, seq, type, body) VALUES (?, LAST_INSERT_ID(), ?, ?)";

/// (type, family) One delivery for every enabled webhook with a matching pattern. No match, no row.
inline constexpr char kInsertDeliveries[] =
    "INSERT INTO webhook_deliveries (event_id, webhook_id) "
    "SELECT DISTINCT LAST_INSERT_ID(), w.id FROM webhook_patterns p JOIN webhooks w ON w.id = p.webhook_id "
    "WHERE p.pattern IN (?, ?, '*') AND w.enabled = 1";

/// (webhook id) One delivery of the event just inserted, whether its webhook is enabled or not: a test.
inline constexpr char kInsertTestDelivery[] =
    "INSERT INTO webhook_deliveries (event_id, webhook_id) VALUES (LAST_INSERT_ID(), ?)";

/// () Queues what the statement before inserted; run it only when that was at least one row.
inline constexpr char kQueueDeliveries[] =
    "INSERT INTO webhook_queue (delivery_id, webhook_id, due_at) "
    "SELECT d.id, d.webhook_id, UTC_TIMESTAMP(3) FROM webhook_deliveries d "
    "WHERE d.event_id = (SELECT f.event_id FROM webhook_deliveries f WHERE f.id = LAST_INSERT_ID())";

}  // namespace gamepicker::outbox
