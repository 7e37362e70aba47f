#include "relay/presence_keeper.hpp"

#include <algorithm>
#include <utility>

#include <Poco/UUIDGenerator.h>

#include "shared/clock.hpp"
#include "shared/events.hpp"
#include "shared/json_writer.hpp"
#include "shared/outbox.hpp"

namespace gamepicker {
namespace {

/// Between two looks at the lease: at a flush of 10 ms each they take a tenth of it.
constexpr std::size_t kChannelsAtOnce = 200;

std::shared_ptr<const std::string> members_json(const auto& members) {
  JsonWriter json;
  json.begin_object().field("count", members.size()).key("ids").begin_array();
  for (const auto& [user, row] : members) json.value(user);
  json.end_array().key("hash").begin_object();
  for (const auto& [user, row] : members) json.text_key(user).raw(row.info);
  json.end_object().end_object();
  return std::make_shared<const std::string>(json.take());
}

}  // namespace

PresenceKeeper::PresenceKeeper(const Config& config, Feed& feed, const WantedRelayEvents& wanted,
                               Counter& database_errors, Timing timing)
    : feed_(feed),
      wanted_(wanted),
      relay_id_(Poco::UUIDGenerator::defaultGenerator().createRandom().toString()),
      timing_(timing),
      database_(config),
      nudge_(config.relay_nudge),
      worker_(database_errors) {}

void PresenceKeeper::start() {
  worker_.start([this] { run(); });
}

void PresenceKeeper::ask(PresenceRequest request) {
  {
    const std::lock_guard lock(worker_.mutex());
    Channel& channel = channels_[request.channel];
    if (request.enters) {
      User& user = channel.users[request.user];
      if (++user.connections == 1) {
        user.info = request.info;
        user.due = Clock::now();
      }
    }
    look_at(request.channel, channel, Clock::now());
    channel.asking.push_back(std::move(request));
  }
  worker_.notify();
}

// While the database is away others come and go: whatever waits for it is of those who are there.
void PresenceKeeper::leave(std::string name, std::string user, const std::string& socket_id) {
  {
    const std::lock_guard lock(worker_.mutex());
    Channel& channel = channels_[name];
    std::erase_if(channel.asking, [&](const PresenceRequest& request) { return request.socket_id == socket_id; });
    User& state = channel.users[user];
    if (--state.connections > 0) return;
    state.due = Clock::now() + kLeaveGrace;
    look_at(name, channel, *state.due);
  }
  worker_.notify();
}

void PresenceKeeper::look_at(const std::string& name, Channel& channel, Clock::time_point when) {
  if (channel.looked_at && *channel.looked_at <= when) return;
  if (channel.looked_at) agenda_.erase({*channel.looked_at, name});
  agenda_.emplace(when, name);
  channel.looked_at = when;
}

// ---- the thread ----

PresenceKeeper::Clock::time_point PresenceKeeper::next_due() const {
  const auto next = std::min(renew_at_, bury_at_);
  return agenda_.empty() ? next : std::min(next, agenda_.begin()->first);
}

/// Returns the channels to look at, maybe none; empty too when it is to stop.
std::vector<std::string> PresenceKeeper::wait_for_work() {
  std::unique_lock lock(worker_.mutex());
  for (auto at = next_due(); at > Clock::now(); at = next_due()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(at - Clock::now());
    if (!worker_.wait_for(lock, left, [&] { return next_due() < at; })) return {};
  }
  std::set<std::string> due;
  while (!agenda_.empty() && agenda_.begin()->first <= Clock::now() && due.size() < kChannelsAtOnce) {
    due.insert(agenda_.begin()->second);
    channels_[agenda_.begin()->second].looked_at.reset();
    agenda_.erase(agenda_.begin());
  }
  return {due.begin(), due.end()};
}

/// What is due in a channel, which counts as done from here on.
PresenceKeeper::Channel PresenceKeeper::take(const std::string& name) {
  const std::lock_guard lock(worker_.mutex());
  Channel& channel = channels_[name];
  Channel due;
  due.asking.swap(channel.asking);
  const auto now = Clock::now();
  for (auto& [user, state] : channel.users) {
    if (!state.due || *state.due > now) continue;
    due.users.emplace(user, state);
    state.due.reset();
  }
  std::erase_if(channel.users, [](const auto& user) { return user.second.connections == 0 && !user.second.due; });
  for (const auto& [user, state] : channel.users) {
    if (state.due) look_at(name, channel, *state.due);
  }
  if (!channel.users.empty()) return due;
  if (channel.looked_at) agenda_.erase({*channel.looked_at, name});
  channels_.erase(name);
  return due;
}

void PresenceKeeper::run() {
  while (worker_.pause(std::chrono::milliseconds(0))) {
    const auto channels = wait_for_work();
    const auto now = Clock::now();
    if (now >= renew_at_ && !worker_.persist("presence", [&] { hold_lease(); })) return;
    if (now >= bury_at_ && !worker_.persist("presence", [&] { bury_dead_relays(); })) return;
    for (const std::string& name : channels) {
      Channel due = take(name);
      if (due.users.empty() && due.asking.empty()) continue;
      if (!worker_.persist("presence", [&] { update(name, due); })) return;
    }
  }
}

constexpr char kRenewLease[] =
    "UPDATE relays SET lease_until = UTC_TIMESTAMP(3) + INTERVAL ? MICROSECOND "
    "WHERE id = ? AND lease_until >= UTC_TIMESTAMP(3)";
constexpr char kTakeLease[] =
    "INSERT INTO relays (id, lease_until) VALUES (?, UTC_TIMESTAMP(3) + INTERVAL ? MICROSECOND) "
    "ON DUPLICATE KEY UPDATE lease_until = VALUES(lease_until)";

void PresenceKeeper::hold_lease() {
  const std::int64_t lease = std::chrono::microseconds(timing_.lease).count();
  if (database_.execute(kRenewLease, {lease, relay_id_}) == 0) {
    database_.execute(kTakeLease, {relay_id_, lease});
    declare_all_due();  // others may have removed our rows meanwhile
  }
  renew_at_ = Clock::now() + timing_.renewal;
  if (generation_ != database_.generation()) {
    generation_ = database_.generation();
    bury_at_ = Clock::now() + timing_.patience;
  }
}

void PresenceKeeper::declare_all_due() {
  const std::lock_guard lock(worker_.mutex());
  const auto now = Clock::now();
  for (auto& [name, channel] : channels_) {
    for (auto& [user, state] : channel.users) state.due = now;
    look_at(name, channel, now);
  }
}

constexpr char kReadHead[] = "SELECT head FROM channels WHERE name = ?";

void PresenceKeeper::update(const std::string& channel, Channel& due) {
  Members members;
  std::uint64_t offset = 0;
  database_.transaction([&] {
    told_.clear();
    lock(channel);
    members = read_members(channel);
    for (const auto& [user, state] : due.users) {
      if (state.connections > 0) {
        add(channel, user, state, members);
      } else {
        remove(channel, user, members);
      }
    }
    offset = database_.query(kReadHead, {channel}).at(0).id(0);
    tell_webhooks(channel);
  });
  // The offset was read; a transaction that wrote is on the disk, and all that it saw.
  if (told_.empty()) {
    database_.settle();
  } else {
    nudge_.send();
  }
  const auto list = members_json(members);
  for (PresenceRequest& request : due.asking) {
    const bool present = members.contains(request.user);
    feed_.present(
        {request.socket, std::move(request.socket_id), channel, request.ticket, offset, present ? list : nullptr});
  }
}

// Nothing changes in a row that is there, but it is locked.
constexpr char kLockChannel[] = "INSERT INTO channels (name, head) VALUES (?, 0) ON DUPLICATE KEY UPDATE head = head";

void PresenceKeeper::lock(const std::string& channel) {
  database_.execute(kLockChannel, {channel});
}

constexpr char kReadMembers[] =
    "SELECT user_id, info, relay_id = ? FROM presence_members WHERE channel = ? ORDER BY user_id, joined_at";

PresenceKeeper::Members PresenceKeeper::read_members(const std::string& channel) {
  Members members;
  for (const SqlRow& row : database_.query(kReadMembers, {relay_id_, channel})) {
    Row& member = members[row.text(0)];
    if (member.info.empty()) member.info = row.text(1);  // of the first
    (row.integer(2) != 0 ? member.ours : member.others) = true;
  }
  return members;
}

constexpr char kInsertMember[] = "INSERT INTO presence_members (channel, user_id, relay_id, info) VALUES (?, ?, ?, ?)";

void PresenceKeeper::add(const std::string& channel, const std::string& user, const User& state, Members& members) {
  const bool known = members.contains(user);
  if (!known && members.size() >= kMaxMembers) return;
  Row& member = members[user];
  if (member.ours) return;
  if (!known) member.info = state.info;
  database_.execute(kInsertMember, {channel, user, relay_id_, member.info});
  member.ours = true;
  if (!known) tell(channel, RelayEventType::presence_join, user, member.info);
}

constexpr char kDeleteMember[] = "DELETE FROM presence_members WHERE channel = ? AND user_id = ? AND relay_id = ?";

void PresenceKeeper::remove(const std::string& channel, const std::string& user, Members& members) {
  const auto member = members.find(user);
  if (member == members.end() || !member->second.ours) return;
  database_.execute(kDeleteMember, {channel, user, relay_id_});
  member->second.ours = false;
  if (member->second.others) return;
  tell(channel, RelayEventType::presence_leave, user, member->second.info);
  members.erase(member);
}

/// A newcomer does not hear of itself: its list is as of an offset behind this event. One that resumes from an earlier
/// offset does, behind what else it has missed of itself.
void PresenceKeeper::tell(const std::string& channel, RelayEventType what, const std::string& user,
                          const std::string& info) {
  const std::string type = what == RelayEventType::presence_join ? "presence.joined" : "presence.left";
  const Timestamp at = now();
  JsonWriter data;
  data.begin_object().field("id", user).raw_field("info", info).end_object();
  // Webhooks hear of it in a form of their own.
  database_.execute(
      outbox::kEnqueueEvent,
      {channel, type, event_family(type), event_body(type, format_iso(at), data.text()), nullptr, outbox::kNoWebhook});
  told_.push_back({what, at, user, info});
}

/// Last of all: behind the events of other channels.
void PresenceKeeper::tell_webhooks(const std::string& channel) {
  for (const Move& move : told_) {
    if (!wanted_.contains(move.type)) continue;
    JsonWriter data;
    data.begin_object().field("channel", channel).field("id", move.user).raw_field("info", move.info).end_object();
    const std::string type(name_of(move.type));
    database_.execute(outbox::kEnqueueWebhookEvent,
                      {channel, type, event_family(type), relay_event_body(type, move.at, data.text())});
  }
}

constexpr char kReadAbandoned[] =
    "SELECT DISTINCT p.relay_id, p.channel FROM presence_members p LEFT JOIN relays r ON r.id = p.relay_id "
    "WHERE r.id IS NULL OR r.lease_until < UTC_TIMESTAMP(3) LIMIT 20";
constexpr std::size_t kBuryAtOnce = 20;
constexpr char kReadForgotten[] = "SELECT id FROM relays WHERE lease_until < UTC_TIMESTAMP(3) - INTERVAL 1 HOUR";
constexpr char kDeleteRelay[] = "DELETE FROM relays WHERE id = ?";

/// Some channels at a time: newcomers, and our own lease, do not wait for the end.
void PresenceKeeper::bury_dead_relays() {
  const auto abandoned = database_.query(kReadAbandoned);
  for (const SqlRow& row : abandoned) bury(row.text(0), row.text(1));
  if (abandoned.size() == kBuryAtOnce) return;
  // One by one: a DELETE that looks at all rows would wait for those that are just being renewed.
  for (const SqlRow& row : database_.query(kReadForgotten)) database_.execute(kDeleteRelay, {row.text(0)});
  bury_at_ = Clock::now() + timing_.renewal;
}

constexpr char kReadAlive[] = "SELECT 1 FROM relays WHERE id = ? AND lease_until >= UTC_TIMESTAMP(3)";
constexpr char kReadOnlyThere[] =
    "SELECT p.user_id, p.info FROM presence_members p WHERE p.channel = ? AND p.relay_id = ? AND NOT EXISTS "
    "(SELECT 1 FROM presence_members o WHERE o.channel = p.channel AND o.user_id = p.user_id AND o.relay_id <> p.relay_id)";
constexpr char kDeleteRelayMembers[] = "DELETE FROM presence_members WHERE channel = ? AND relay_id = ?";

void PresenceKeeper::bury(const std::string& relay, const std::string& channel) {
  database_.transaction([&] {
    told_.clear();
    lock(channel);
    if (!database_.query(kReadAlive, {relay}).empty()) return;  // it is back
    const auto gone = database_.query(kReadOnlyThere, {channel, relay});
    database_.execute(kDeleteRelayMembers, {channel, relay});
    for (const SqlRow& row : gone) tell(channel, RelayEventType::presence_leave, row.text(0), row.text(1));
    tell_webhooks(channel);
  });
  if (!told_.empty()) nudge_.send();
}

}  // namespace gamepicker
