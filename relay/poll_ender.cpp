#include "relay/poll_ender.hpp"

#include <algorithm>

#include "shared/clock.hpp"
#include "shared/events.hpp"
#include "shared/outbox.hpp"
#include "shared/polls.hpp"

namespace gamepicker {
namespace {

using std::chrono::milliseconds;

// The shortest delay of a poll's end is 1 s, so looking once a second sees every end before it is due.
constexpr milliseconds kLook{1000};

}  // namespace

PollEnder::PollEnder(const Config& config, Counter& database_errors)
    : database_(config), nudge_(config.relay_nudge), worker_(database_errors) {}

void PollEnder::start() {
  worker_.start([this] { run(); });
}

void PollEnder::run() {
  milliseconds delay{0};
  while (worker_.pause(delay)) {
    if (!worker_.persist("ends of polls", [&] { delay = end_due(); })) return;
  }
}

milliseconds PollEnder::end_due() {
  for (;;) {
    const auto next = database_.query(polls::kNextEnd);
    if (next.empty()) return kLook;
    const std::int64_t wait = next.front().integer(1);
    if (wait > 0) return std::min(milliseconds(wait), kLook);
    end(next.front().integer(0));
  }
}

void PollEnder::end(std::int64_t session_id) {
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

}  // namespace gamepicker
