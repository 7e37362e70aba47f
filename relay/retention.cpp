#include "relay/retention.hpp"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

namespace gamepicker {
namespace {

using std::chrono::milliseconds;

constexpr std::chrono::minutes kEvery{10};
constexpr milliseconds kBreath{50};
constexpr std::size_t kBatch = 500;

// The lock ends with the session, too.
constexpr char kTakeTurn[] = "SELECT COALESCE(GET_LOCK(CONCAT('retention.', LEFT(SHA2(DATABASE(), 256), 32)), 0), 0)";
constexpr char kEndTurn[] = "SELECT COALESCE(RELEASE_LOCK(CONCAT('retention.', LEFT(SHA2(DATABASE(), 256), 32))), 0)";

/// Thrown through a clean-up to end it early.
struct Stopped {};

}  // namespace

Retention::Retention(const Config& config, Counter& database_errors)
    : events_age_(config.retention_events),
      events_per_channel_(config.retention_events_per_channel),
      deliveries_age_(config.retention_webhook_logs),
      chat_age_(config.retention_chat),
      database_(config),
      worker_(database_errors) {}

void Retention::start() {
  worker_.start([this] { run(); });
}

void Retention::run() {
  try {
    do {
      if (!worker_.persist("retention", [this] { remove_all(); })) return;
    } while (worker_.pause(kEvery));
  } catch (const Stopped&) {
    // it goes on where it was the next time
  }
}

void Retention::breathe() {
  if (!worker_.pause(kBreath)) throw Stopped{};
}

void Retention::remove_all() {
  if (database_.query(kTakeTurn).at(0).integer(0) == 0) return;  // another relay is at it
  remove_surplus_events();
  remove_old_events();
  remove_deliveries();
  remove_rows(
      "DELETE FROM chat_messages WHERE sent_at < UTC_TIMESTAMP(3) - INTERVAL ? MICROSECOND "
      "ORDER BY sent_at LIMIT 500",
      chat_age_);
  remove_rows(
      "DELETE FROM idempotency_keys WHERE created_at < UTC_TIMESTAMP(3) - INTERVAL ? MICROSECOND "
      "ORDER BY created_at LIMIT 500",
      std::chrono::hours(24));
  database_.query(kEndTurn);
}

void Retention::remove_rows(std::string_view sql, milliseconds age) {
  while (database_.execute(sql, {microseconds(age)}) > 0) breathe();
}

constexpr char kRaiseTail[] = "UPDATE channels SET tail = GREATEST(tail, ?) WHERE name = ?";

/// Before the events go, so that nobody takes what is left of them for all.
void Retention::raise_tail(const std::string& channel, std::uint64_t offset) {
  database_.execute(kRaiseTail, {offset, channel});
}

constexpr char kReadOldEvents[] =
    "SELECT e.id, e.channel, e.seq, e.created_at < UTC_TIMESTAMP(3) - INTERVAL ? MICROSECOND, "
    "EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.event_id = e.id) FROM events e WHERE e.id > ? "
    "ORDER BY e.id LIMIT 500";

std::string remove_events_sql(std::size_t count) {
  return "DELETE FROM events WHERE id IN (" + placeholders(count) +
         ") AND NOT EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.event_id = events.id)";
}

/// In the order of their ids, up to the first that is too young.
void Retention::remove_old_events() {
  for (bool more = true; more;) {
    std::map<std::string, std::uint64_t> tails;
    std::vector<std::uint64_t> ids;
    std::uint64_t last = looked_at_;
    const auto rows = database_.query(kReadOldEvents, {microseconds(events_age_), looked_at_});
    more = rows.size() == kBatch;
    for (const SqlRow& row : rows) {
      if (row.integer(3) == 0) {
        more = false;
        break;
      }
      last = row.id(0);
      std::uint64_t& tail = tails[row.text(1)];
      tail = std::max(tail, row.id(2));
      if (row.integer(4) == 0) ids.push_back(last);
    }
    for (const auto& [channel, tail] : tails) raise_tail(channel, tail);
    if (!ids.empty()) database_.execute(remove_events_sql(ids.size()), as_values(ids));
    looked_at_ = last;
    if (more) breathe();
  }
}

constexpr char kReadSurplus[] = "SELECT name, tail, CAST(head - ? AS UNSIGNED) FROM channels WHERE head > tail + ?";

constexpr char kRemoveSurplus[] =
    "DELETE FROM events WHERE channel = ? AND seq > ? AND seq <= ? "
    "AND NOT EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.event_id = events.id)";

void Retention::remove_surplus_events() {
  for (const SqlRow& row : database_.query(kReadSurplus, {events_per_channel_, events_per_channel_})) {
    const std::string channel = row.text(0);
    const std::uint64_t end = row.id(2);
    for (std::uint64_t from = row.id(1); from < end; from = std::min<std::uint64_t>(from + kBatch, end)) {
      const std::uint64_t to = std::min<std::uint64_t>(from + kBatch, end);
      raise_tail(channel, to);
      database_.execute(kRemoveSurplus, {channel, from, to});
      breathe();
    }
  }
}

constexpr char kReadFinished[] =
    "SELECT id, event_id FROM webhook_deliveries WHERE finished_at < UTC_TIMESTAMP(3) - INTERVAL ? MICROSECOND "
    "AND status <> 'pending' ORDER BY finished_at LIMIT 500";

/// And the events that nothing refers to any more: behind `looked_at_` nobody else looks.
void Retention::remove_deliveries() {
  for (;;) {
    std::vector<std::uint64_t> deliveries;
    std::vector<std::uint64_t> events;
    for (const SqlRow& row : database_.query(kReadFinished, {microseconds(deliveries_age_)})) {
      deliveries.push_back(row.id(0));
      if (row.id(1) <= looked_at_) events.push_back(row.id(1));
    }
    if (deliveries.empty()) return;
    const std::string list = "(" + placeholders(deliveries.size()) + ")";
    database_.transaction([&] {
      database_.execute("DELETE FROM webhook_logs WHERE delivery_id IN " + list, as_values(deliveries));
      database_.execute("DELETE FROM webhook_deliveries WHERE status <> 'pending' AND id IN " + list,
                        as_values(deliveries));
      if (!events.empty()) database_.execute(remove_events_sql(events.size()), as_values(events));
    });
    breathe();
  }
}

}  // namespace gamepicker
