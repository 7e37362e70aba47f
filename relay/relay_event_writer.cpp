#include "relay/relay_event_writer.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "shared/events.hpp"
#include "shared/json_writer.hpp"
#include "shared/log.hpp"
#include "shared/outbox.hpp"

namespace gamepicker {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLookEvery{1'000};
/// Between two looks that nudges ask for: at 1,500 commits a second a look for each would be a load of its own.
constexpr milliseconds kLookSpacing{20};
/// The row lock of the webhooks' channel is held that long.
constexpr std::size_t kPerTransaction = 100;
constexpr milliseconds kStopPatience{1'500};  // the I/O loop leaves two seconds

std::size_t size_of(const RelayEvent& event) {
  return sizeof event + event.socket_id.size() + event.channel.size() + event.text.size();
}

std::string data_of(const RelayEvent& event) {
  JsonWriter data;
  data.begin_object().field("socketId", event.socket_id);
  switch (event.type) {
    case RelayEventType::connection:
      data.field("connectedAt", static_cast<std::int64_t>(event.connected_at.time_since_epoch().count()));
      data.key("user").begin_object().field("id", event.text).field("name", event.text);
      data.field("role", role_name(event.role)).end_object();
      break;
    case RelayEventType::disconnection:
      data.field("code", event.code).field("reason", event.text);
      break;
    case RelayEventType::subscribe:
      data.field("channel", event.channel).raw_field("channelData", event.text.empty() ? "null" : event.text);
      break;
    default:
      data.field("channel", event.channel);
  }
  data.end_object();
  return data.take();
}

SqlValue channel_it_tells_of(const RelayEvent& event) {
  if (event.channel.empty()) return nullptr;
  return event.channel;
}

}  // namespace

RelayEventWriter::RelayEventWriter(const Config& config, WantedRelayEvents& wanted, RelayEventMetrics& metrics)
    : wanted_(wanted), metrics_(metrics), database_(config), nudge_(config.relay_nudge), worker_(metrics.errors) {}

void RelayEventWriter::start() {
  worker_.start([this] { run(); });
}

void RelayEventWriter::wake() {
  {
    const std::lock_guard lock(worker_.mutex());
    if (std::exchange(woken_, true)) return;
  }
  worker_.notify();
}

void RelayEventWriter::write(RelayEvent event) {
  bool first_dropped = false;
  {
    const std::lock_guard lock(worker_.mutex());
    const std::size_t size = size_of(event);
    if (bytes_ + size > kMaxWaitingBytes) {
      metrics_.dropped.add();
      first_dropped = !std::exchange(dropping_, true);
    } else {
      bytes_ += size;
      events_.push_back(std::move(event));
    }
  }
  if (first_dropped) log_error("relay events: too many wait for the database; newer ones are lost");
  worker_.notify();
}

RelayEventWriter::Clock::time_point RelayEventWriter::look_at() const {
  return looked_at_ + (woken_ ? kLookSpacing : kLookEvery);
}

/// Until there are events or it is time to look; false when it is to stop.
bool RelayEventWriter::wait_for_work() {
  std::unique_lock lock(worker_.mutex());
  for (auto at = look_at(); events_.empty() && at > Clock::now(); at = look_at()) {
    const auto left = std::chrono::ceil<milliseconds>(at - Clock::now());
    if (!worker_.wait_for(lock, left, [&] { return !events_.empty() || look_at() < at; })) return false;
  }
  return true;
}

void RelayEventWriter::run() {
  while (wait_for_work()) {
    if (!worker_.persist("relay events", [this] { look(); })) break;
    if (take() && !worker_.persist("relay events", [this] { write_taken(); })) break;
  }
  write_rest();
}

constexpr char kReadWanted[] =
    "SELECT DISTINCT p.pattern FROM webhook_patterns p JOIN webhooks w ON w.id = p.webhook_id WHERE w.enabled = 1 "
    "AND p.pattern IN ('*', 'connection', 'disconnection', 'subscribe', 'unsubscribe', 'presence_join', "
    "'presence_leave', 'client_event')";

/// What webhooks want, if it is time.
void RelayEventWriter::look() {
  {
    const std::lock_guard lock(worker_.mutex());
    if (Clock::now() < look_at()) return;
    woken_ = false;  // whatever is committed from here on asks for another look
  }
  std::uint32_t types = 0;
  for (const SqlRow& row : database_.query(kReadWanted)) {
    const auto name = std::ranges::find(kRelayEventNames, row.text(0));
    types |= name == kRelayEventNames.end() ? WantedRelayEvents::kAll : 1u << (name - kRelayEventNames.begin());
  }
  wanted_.set(types);
  const std::lock_guard lock(worker_.mutex());
  looked_at_ = Clock::now();
}

/// Some of those that wait, unless some are taken already; false when there are none.
bool RelayEventWriter::take() {
  const std::lock_guard lock(worker_.mutex());
  while (!events_.empty() && taken_.size() < kPerTransaction) {
    bytes_ -= size_of(events_.front());
    taken_.push_back(std::move(events_.front()));
    events_.pop_front();
  }
  return !taken_.empty();
}

/// After a COMMIT whose outcome is unknown all are written again: an event may come twice then, but none is lost.
void RelayEventWriter::write_taken() {
  // Not all that came before the first look are wanted.
  std::erase_if(taken_, [this](const RelayEvent& event) { return !wants(event.type); });
  if (!taken_.empty()) {
    database_.transaction([this] {
      for (const RelayEvent& event : taken_) {
        const std::string type(name_of(event.type));
        database_.execute(outbox::kEnqueueWebhookEvent, {channel_it_tells_of(event), type, event_family(type),
                                                         relay_event_body(type, event.at, data_of(event))});
      }
    });
    nudge_.send();
  }
  metrics_.written.add(taken_.size());
  taken_.clear();
  const std::lock_guard lock(worker_.mutex());
  dropping_ = false;
}

void RelayEventWriter::write_rest() {
  const auto until = Clock::now() + kStopPatience;
  try {
    while (Clock::now() < until && take()) write_taken();
  } catch (const DatabaseError& error) {
    metrics_.errors.add();
    log_warning(std::string("relay events: ") + error.what());
  }
  const std::lock_guard lock(worker_.mutex());
  const std::size_t lost = taken_.size() + events_.size();
  if (lost > 0) log_error("relay events: " + std::to_string(lost) + " were not written before the end");
  metrics_.dropped.add(lost);
}

}  // namespace gamepicker
