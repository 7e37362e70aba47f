#pragma once

#include "handlers/db.hpp"
#include "shared/events.hpp"

namespace gamepicker::outbox {

/// Writes the event, and a delivery for every webhook that wants it, into the caller's transaction. Call it last: it
/// takes the channel's lock. Several events in one transaction: in channel name order.
void enqueue(db::Transaction& tx, const Event& event);

/// Writes an event that only this webhook receives, be it enabled or not.
void enqueue_test(db::Transaction& tx, const Event& event, std::int64_t webhook_id);

}  // namespace gamepicker::outbox
