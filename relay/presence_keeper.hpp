#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "relay/database.hpp"
#include "relay/feed.hpp"
#include "relay/relay_events.hpp"
#include "relay/worker.hpp"
#include "shared/nudge.hpp"

namespace gamepicker {

/// Keeps presence in the database, in a thread and over a session of its own. A member is a user, however many
/// connections it has to however many relays; it joins with the first and leaves with the last. Each relay keeps rows
/// for its own connections and holds a lease; of a relay whose lease has run out the others remove the rows.
///
/// Whatever happened to a channel since the last look is one transaction under the channel's lock: rows, events and the
/// list that newcomers are told. A user that leaves and is back within kLeaveGrace, as a page that is loaded anew, or
/// that comes back at another relay while this one's rows still stand, has never left.
class PresenceKeeper final : public Presence {
 public:
  static constexpr std::chrono::milliseconds kLeaveGrace{500};
  /// A newcomer is told of all members, and all members of it.
  static constexpr std::size_t kMaxMembers = 1000;

  struct Timing {
    std::chrono::milliseconds lease{20'000};
    /// Between two renewals; also how often the leases of others are looked at.
    std::chrono::milliseconds renewal{5'000};
    /// After the database was away: time for the others to renew theirs first.
    std::chrono::milliseconds patience{5'000};
  };

  /// All outlive it. A relay needs one, even if it has no presence channels: it speaks for those that died.
  PresenceKeeper(const Config& config, Feed& feed, const WantedRelayEvents& wanted, Counter& database_errors)
      : PresenceKeeper(config, feed, wanted, database_errors, Timing{}) {}
  PresenceKeeper(const Config& config, Feed& feed, const WantedRelayEvents& wanted, Counter& database_errors,
                 Timing timing);

  void start();
  /// Leaves the rows: who comes back elsewhere before the lease has run out has never left.
  void stop() { worker_.stop(); }

  void ask(PresenceRequest request) override;
  void leave(std::string channel, std::string user, const std::string& socket_id) override;

 private:
  using Clock = std::chrono::steady_clock;

  struct User {
    std::size_t connections = 0;
    std::string info;
    std::optional<Clock::time_point> due;  ///< when the database is to know of a change
  };
  struct Channel {
    std::map<std::string, User> users;
    std::vector<PresenceRequest> asking;         ///< of connections that have not left since
    std::optional<Clock::time_point> looked_at;  ///< when it will be; its place in the agenda
  };
  struct Row {
    std::string info;
    bool ours = false;
    bool others = false;
  };
  /// A user that joined or left, as webhooks are told of it.
  struct Move {
    RelayEventType type{};
    Timestamp at{};
    std::string user;
    std::string info;
  };
  using Members = std::map<std::string, Row>;

  void run();
  std::vector<std::string> wait_for_work();
  Clock::time_point next_due() const;
  Channel take(const std::string& name);
  void look_at(const std::string& name, Channel& channel, Clock::time_point when);
  void hold_lease();
  void declare_all_due();
  void update(const std::string& channel, Channel& due);
  void lock(const std::string& channel);
  Members read_members(const std::string& channel);
  void add(const std::string& channel, const std::string& user, const User& state, Members& members);
  void remove(const std::string& channel, const std::string& user, Members& members);
  void tell(const std::string& channel, RelayEventType type, const std::string& user, const std::string& info);
  void tell_webhooks(const std::string& channel);
  void bury_dead_relays();
  void bury(const std::string& relay, const std::string& channel);

  Feed& feed_;
  const WantedRelayEvents& wanted_;
  const std::string relay_id_;
  const Timing timing_;
  Database database_;
  Nudge nudge_;
  std::vector<Move> told_;  ///< in the present transaction

  // Under the worker's mutex.
  std::map<std::string, Channel> channels_;
  std::set<std::pair<Clock::time_point, std::string>> agenda_;  ///< when to look at which channel, the earliest

  Clock::time_point renew_at_{};
  Clock::time_point bury_at_{};
  std::uint64_t generation_ = 0;
  Worker worker_;  ///< last, so that its thread ends first
};

}  // namespace gamepicker
