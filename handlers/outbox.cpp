#include "handlers/outbox.hpp"

#include "shared/clock.hpp"
#include "shared/outbox.hpp"

namespace gamepicker::outbox {
namespace {

void insert_event(db::Transaction& tx, const Event& event) {
  tx.execute(kAdvanceChannel, event.channel);
  tx.execute(kInsertEvent, event.channel, event.type, event_body(event.type, format_iso(now()), event.data));
  tx.nudge_after_commit();
}

}  // namespace

void enqueue(db::Transaction& tx, const Event& event) {
  insert_event(tx, event);
  if (tx.execute(kInsertDeliveries, event.type, event_family(event.type)) > 0) tx.execute(kQueueDeliveries);
}

void enqueue_test(db::Transaction& tx, const Event& event, std::int64_t webhook_id) {
  insert_event(tx, event);
  tx.execute(kInsertTestDelivery, webhook_id);
  tx.execute(kQueueDeliveries);
}

}  // namespace gamepicker::outbox
