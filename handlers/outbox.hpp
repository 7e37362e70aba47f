#pragma once

#include "handlers/db.hpp"
#include "shared/events.hpp"

namespace gamepicker::outbox {

/// Writes the event, and a delivery for every webhook that wants it, into the caller's transaction. Call it last: it
/// takes the channel's lock. Several events in one transaction: in channel name order.
void enqueue(db::Transaction& tx, const Event& event);

/// Writes an event for the channel's subscribers alone, leaving out the socket of this id when one is given. Returns
/// the event's id.
std::int64_t enqueue_push(db::Transaction& tx, const Event& event, const std::optional<std::string>& except_socket_id);

/// Writes one of the relay events of webhooks.md, which tells of `channel` and no client hears, unless no webhook wants
/// it. Call it after the events of other channels.
void enqueue_for_webhooks(db::Transaction& tx, const std::string& channel, const std::string& type,
                          const std::string& data);

/// Writes an event that only this webhook receives, be it enabled or not.
void enqueue_test(db::Transaction& tx, const Event& event, std::int64_t webhook_id);

}  // namespace gamepicker::outbox
