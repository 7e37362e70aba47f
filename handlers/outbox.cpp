#include "handlers/outbox.hpp"

#include "shared/clock.hpp"
#include "shared/outbox.hpp"

namespace gamepicker::outbox {
namespace {

void call(db::Transaction& tx, const Event& event, const std::string& body,
          const std::optional<std::string>& except_socket_id, std::optional<std::int64_t> webhook_id) {
  tx.execute(kEnqueueEvent, event.channel, event.type, event_family(event.type), body, except_socket_id, webhook_id);
  tx.nudge_after_commit();
}

std::string body_of(const Event& event) {
  return event_body(event.type, format_iso(now()), event.data);
}

}  // namespace

void enqueue(db::Transaction& tx, const Event& event) {
  // Some events are for subscribers alone; "*" must not catch them.
  const bool for_webhooks = is_known_event_pattern(event.type);
  call(tx, event, body_of(event), std::nullopt, for_webhooks ? std::nullopt : std::optional(kNoWebhook));
}

std::int64_t enqueue_push(db::Transaction& tx, const Event& event, const std::optional<std::string>& except_socket_id) {
  call(tx, event, body_of(event), except_socket_id, kNoWebhook);
  return tx.last_insert_id();
}

void enqueue_for_webhooks(db::Transaction& tx, const std::string& channel, const std::string& type,
                          const std::string& data) {
  tx.execute(kEnqueueWebhookEvent, channel, type, event_family(type), relay_event_body(type, now(), data));
  tx.nudge_after_commit();
}

void enqueue_test(db::Transaction& tx, const Event& event, std::int64_t webhook_id) {
  call(tx, event, body_of(event), std::nullopt, webhook_id);
}

}  // namespace gamepicker::outbox
