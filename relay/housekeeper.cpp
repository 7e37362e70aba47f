#include "relay/housekeeper.hpp"

#include <algorithm>
#include <chrono>

#include "shared/clock.hpp"
#include "shared/events.hpp"
#include "shared/log.hpp"
#include "shared/outbox.hpp"
#include "shared/polls.hpp"

namespace gamepicker {
namespace {

using std::chrono::milliseconds;

// The shortest delay of a poll's end is 1 s, so looking once a second sees every end before it is due.
constexpr milliseconds kLook{1000};
constexpr milliseconds kLongestBackOff{10'000};
constexpr std::chrono::minutes kCleanUp{10};

// Small batches: nobody waits long for the locks.
constexpr char kRemoveKeys[] =
    "DELETE FROM idempotency_keys WHERE created_at < UTC_TIMESTAMP(3) - INTERVAL 24 HOUR ORDER BY created_at LIMIT 500";

}  // namespace

Housekeeper::Housekeeper(const Config& config) : database_(config), nudge_(config.relay_nudge) {}

Housekeeper::~Housekeeper() {
  stop();
}

void Housekeeper::start() {
  thread_ = std::thread([this] { run(); });
}

void Housekeeper::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_asked_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool Housekeeper::pause(Milliseconds time) {
  std::unique_lock lock(mutex_);
  return !stop_asked_.wait_for(lock, time, [this] { return stopping_; });
}

void Housekeeper::run() {
  auto cleaned_up = std::chrono::steady_clock::now() - kCleanUp;
  milliseconds delay{0};
  milliseconds back_off = kLook;
  while (pause(delay)) {
    try {
      delay = end_due_polls();
      if (std::chrono::steady_clock::now() - cleaned_up >= kCleanUp) {
        remove_expired();
        cleaned_up = std::chrono::steady_clock::now();
      }
      back_off = kLook;
    } catch (const DatabaseError& error) {
      log_warning(std::string("housekeeping: ") + error.what());
      delay = back_off;
      back_off = std::min(2 * back_off, kLongestBackOff);
    }
  }
}

milliseconds Housekeeper::end_due_polls() {
  for (;;) {
    const auto next = database_.query(polls::kNextEnd);
    if (next.empty()) return kLook;
    const std::int64_t wait = next.front().integer(1);
    if (wait > 0) return std::min(milliseconds(wait), kLook);
    end_poll(next.front().integer(0));
  }
}

void Housekeeper::end_poll(std::int64_t session_id) {
  database_.transaction([&] {
    if (database_.query(polls::kLockDue, {session_id}).empty()) return;
    polls::Leading winner;
    const auto leading = database_.query(polls::kReadLeading, {session_id});
    database_.execute(polls::kClear, {session_id});
    if (leading.empty()) return;
    const SqlRow& row = leading.front();
    if (!row.is_null(0)) winner.game_id = row.integer(0);
    if (!row.is_null(1)) winner.label = row.text(1);
    if (!row.is_null(2)) winner.votes = row.integer(2);
    const std::string type = "voting.ended";
    const std::string body = event_body(type, format_iso(now()), polls::voting_ended_data(session_id, winner));
    database_.execute(outbox::kEnqueueEvent,
                      {session_channel(session_id), type, event_family(type), body, nullptr, nullptr});
  });
  nudge_.send();
}

void Housekeeper::remove_expired() {
  while (database_.execute(kRemoveKeys) > 0) {
    if (!pause(milliseconds(50))) return;
  }
}

}  // namespace gamepicker
