#include "relay/client_reports.hpp"

#include <utility>

#include "relay/hub.hpp"
#include "shared/clock.hpp"

namespace gamepicker {
namespace {

RelayEvent event_of(RelayEventType type, const Client& client) {
  RelayEvent event;
  event.type = type;
  event.at = now();
  event.socket_id = client.socket_id;
  return event;
}

}  // namespace

void ClientReports::connected(Client& client) {
  if (std::exchange(client.reported, true) || !events_.wants(RelayEventType::connection)) return;
  RelayEvent event = event_of(RelayEventType::connection, client);
  event.connected_at = client.connected_at;
  event.text = client.subject;
  event.role = *client.role;
  events_.write(std::move(event));
}

void ClientReports::subscribed(Client& client, Membership& membership, const Subscribe& subscribe) {
  connected(client);  // of a stream this is the beginning
  if (std::exchange(membership.reported, true) || !events_.wants(RelayEventType::subscribe)) return;
  RelayEvent event = event_of(RelayEventType::subscribe, client);
  event.channel = membership.channel->name;
  event.text = subscribe.info;
  events_.write(std::move(event));
}

void ClientReports::unsubscribed(const Client& client, Membership& membership) {
  if (!std::exchange(membership.reported, false) || !events_.wants(RelayEventType::unsubscribe)) return;
  RelayEvent event = event_of(RelayEventType::unsubscribe, client);
  event.channel = membership.channel->name;
  events_.write(std::move(event));
}

void ClientReports::disconnected(Client& client) {
  if (!std::exchange(client.reported, false) || !events_.wants(RelayEventType::disconnection)) return;
  RelayEvent event = event_of(RelayEventType::disconnection, client);
  event.code = client.end_code;
  event.text = client.end_reason;
  events_.write(std::move(event));
}

}  // namespace gamepicker
