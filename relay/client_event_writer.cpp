#include "relay/client_event_writer.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "relay/replies.hpp"
#include "shared/events.hpp"
#include "shared/json_writer.hpp"
#include "shared/outbox.hpp"
#include "shared/polls.hpp"

namespace gamepicker {
namespace {

constexpr std::size_t kMaxWaiting = 10'000;
constexpr std::size_t kMaxWaitingBytes = 4u << 20;  // one event may have 64 KiB, and be there often
constexpr std::size_t kPerTransaction = 100;

}  // namespace

ClientEventWriter::ClientEventWriter(const Config& config, Feed& feed, const WantedRelayEvents& wanted,
                                     Counter& database_errors)
    : feed_(feed), wanted_(wanted), database_(config), nudge_(config.relay_nudge), worker_(database_errors) {}

void ClientEventWriter::start() {
  worker_.start([this] { run(); });
}

bool ClientEventWriter::write(ClientEvent event) {
  {
    const std::lock_guard lock(worker_.mutex());
    if (events_.size() >= kMaxWaiting || bytes_ + event.body.size() > kMaxWaitingBytes) return false;
    bytes_ += event.body.size();
    events_.push_back(std::move(event));
  }
  worker_.notify();
  return true;
}

std::vector<ClientEvent> ClientEventWriter::wait_for_events() {
  std::unique_lock lock(worker_.mutex());
  if (!worker_.wait(lock, [this] { return !events_.empty(); })) return {};
  const auto end = events_.begin() + static_cast<std::ptrdiff_t>(std::min(events_.size(), kPerTransaction));
  std::vector<ClientEvent> taken(std::make_move_iterator(events_.begin()), std::make_move_iterator(end));
  events_.erase(events_.begin(), end);
  for (const ClientEvent& event : taken) bytes_ -= event.body.size();
  return taken;
}

void ClientEventWriter::run() {
  for (auto events = wait_for_events(); !events.empty(); events = wait_for_events()) {
    if (!worker_.persist("client events", [&] { write_all(events); })) return;
  }
}

// In the order of the channels' names, as every transaction with several of them: their row locks cannot cross; the
// webhooks' channel comes last. The order within a channel stays. After a COMMIT whose outcome is unknown all are
// written again: an event may come twice then, but none is lost.
void ClientEventWriter::write_all(const std::vector<ClientEvent>& events) {
  std::vector<const ClientEvent*> by_channel;
  for (const ClientEvent& event : events) by_channel.push_back(&event);
  std::ranges::stable_sort(by_channel, {}, &ClientEvent::channel);
  std::vector<ClientEventResult> results;
  database_.transaction([&] {
    results.clear();
    for (const ClientEvent* event : by_channel) {
      results.push_back({event->socket, event->socket_id, event->ack, write_one(*event)});
    }
    if (!wanted_.contains(RelayEventType::client_event)) return;
    for (const ClientEvent& event : events) tell_webhooks(event);
  });
  nudge_.send();
  for (ClientEventResult& result : results) feed_.written(std::move(result));
}

std::string ClientEventWriter::write_one(const ClientEvent& event) {
  if (event.session_id) {
    if (database_.query(polls::kLockSession, {*event.session_id}).empty())
      return std::string(replies::kSessionNotFound);
    database_.execute(polls::kKeepLeading, {event.game_id, event.label, event.votes, *event.session_id});
  }
  SqlValue except = nullptr;
  if (!event.except.empty()) except = event.except;
  database_.execute(outbox::kEnqueueEvent,
                    {event.channel, event.type, event_family(event.type), event.body, except, outbox::kNoWebhook});
  return {};
}

void ClientEventWriter::tell_webhooks(const ClientEvent& event) {
  if (event.session_id) return;  // poll.leading is for subscribers
  JsonWriter data;
  data.begin_object().field("socketId", event.socket_id).field("channel", event.channel).field("event", event.type);
  data.raw_field("data", event_data(event.body).substr(0, event.data_bytes)).end_object();
  const std::string type(name_of(RelayEventType::client_event));
  database_.execute(outbox::kEnqueueWebhookEvent,
                    {event.channel, type, event_family(type), relay_event_body(type, event.at, data.text())});
}

}  // namespace gamepicker
