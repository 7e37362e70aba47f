#include "relay/client_event_writer.hpp"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "relay/replies.hpp"
#include "shared/events.hpp"
#include "shared/log.hpp"
#include "shared/outbox.hpp"
#include "shared/polls.hpp"

namespace gamepicker {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstBackOff{100};
constexpr milliseconds kLongestBackOff{2'000};
constexpr std::size_t kMaxWaiting = 10'000;
constexpr std::size_t kPerTransaction = 100;

}  // namespace

ClientEventWriter::ClientEventWriter(const Config& config, Feed& feed)
    : feed_(feed), database_(config), nudge_(config.relay_nudge) {}

ClientEventWriter::~ClientEventWriter() {
  stop();
}

void ClientEventWriter::start() {
  thread_ = std::thread([this] { run(); });
}

void ClientEventWriter::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool ClientEventWriter::write(ClientEvent event) {
  {
    const std::lock_guard lock(mutex_);
    if (events_.size() >= kMaxWaiting) return false;
    events_.push_back(std::move(event));
  }
  changed_.notify_all();
  return true;
}

std::vector<ClientEvent> ClientEventWriter::wait_for_events() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return stopping_ || !events_.empty(); });
  if (stopping_) return {};
  const auto end = events_.begin() + static_cast<std::ptrdiff_t>(std::min(events_.size(), kPerTransaction));
  std::vector<ClientEvent> taken(std::make_move_iterator(events_.begin()), std::make_move_iterator(end));
  events_.erase(events_.begin(), end);
  return taken;
}

void ClientEventWriter::run() {
  for (auto events = wait_for_events(); !events.empty(); events = wait_for_events()) {
    for (milliseconds delay = kFirstBackOff;; delay = std::min(2 * delay, kLongestBackOff)) {
      try {
        write_all(events);
        break;
      } catch (const DatabaseError& error) {
        log_warning(std::string("client events: ") + error.what());
        std::unique_lock lock(mutex_);
        if (changed_.wait_for(lock, delay, [this] { return stopping_; })) return;
      }
    }
  }
}

// In the order of the channels' names, as every transaction with several of them: their row locks cannot cross. The
// order within a channel stays. After a COMMIT whose outcome is unknown all are written again: an event may come twice
// then, but none is lost.
void ClientEventWriter::write_all(std::vector<ClientEvent>& events) {
  std::ranges::stable_sort(events, {}, &ClientEvent::channel);
  std::vector<ClientEventResult> results;
  database_.transaction([&] {
    results.clear();
    for (const ClientEvent& event : events) {
      results.push_back({event.socket, event.socket_id, event.ack, write_one(event)});
    }
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
  // Webhooks hear of client events in a form of their own.
  database_.execute(outbox::kEnqueueEvent,
                    {event.channel, event.type, event_family(event.type), event.body, except, outbox::kNoWebhook});
  return {};
}

}  // namespace gamepicker
