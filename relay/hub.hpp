#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "relay/client.hpp"
#include "relay/client_reports.hpp"
#include "relay/feed.hpp"

namespace gamepicker {

/// One channel with local subscribers. `asking`: the event reader has not answered yet, so all members are
/// waiting for their reply and nothing is delivered.
struct Channel {
  /// `since` of a member whose live events are held back while it gets what it has missed.
  static constexpr std::uint64_t kHeld = std::numeric_limits<std::uint64_t>::max();

  struct Member {
    Client* client = nullptr;
    std::uint64_t since = 0;  ///< it has, or was told of, everything up to here
  };

  std::string name;
  bool permanent = false;  ///< followed without members too
  bool asking = true;
  bool abandoned = false;  ///< and has no members any more
  std::uint64_t head = 0;  ///< offset of the newest event taken over
  std::vector<Member> members;
  std::deque<FramePtr> pending;  ///< not yet queued for every member
  std::size_t batch = 0;         ///< how many of them this pass hands out
  FramePtr joined;               ///< the batch in one piece, for members who get all of it; none for large ones
  std::size_t cursor = 0;        ///< members before this one have had the pass

  std::deque<FramePtr> recent;  ///< the newest events without a gap, up to head
  std::size_t recent_bytes = 0;
  std::vector<Client*> recovering;       ///< whose membership has a Recovery
  std::optional<std::uint64_t> reading;  ///< history after this offset was asked for
};

/// Who hears what. Events are queued for subscribers in passes that can be interrupted, so that one large
/// channel delays nobody else. Used by the I/O thread alone.
///
/// A subscriber that names the offset it has seen gets everything behind it first: from the channel's recent events if
/// they reach so far, else from the event log, page by page, as fast as it takes them. Its live events are held back
/// meanwhile; whatever its pages do not hold is in the recent events, or in one more page.
class Hub {
 public:
  static constexpr std::size_t kSlice = 512;
  static constexpr std::size_t kMaxSubscriptions = 100;
  /// Channels whose members have left before the answer came, as happens in numbers only while the database is away.
  static constexpr std::size_t kMaxAbandoned = 5'000;
  enum class Outcome { done, too_many, not_subscribed };

  /// Asks for the channel of all clients at once. All outlive the hub.
  Hub(ChannelTracker& tracker, History& history, Presence& presence, ClientReports& reports, IoMetrics& metrics);

  /// Every authenticated client hears `sessions`.
  void join_everybody(Client& client);

  /// Replies `subscribed` or `Session not found` as soon as that is known; immediately when the channel is
  /// followed already and nothing has to be read. When the database is away, that is when it is back.
  Outcome subscribe(Client& client, Subscribe subscribe);
  /// Removes the client; the reply is the caller's.
  Outcome unsubscribe(Client& client, const std::string& channel);
  static std::vector<std::string> channels_of(const Client& client);
  /// Whether it is a member, and was told so.
  bool is_subscribed(Client& client, const std::string& channel) const;
  /// Takes the client out of everything.
  void leave(Client& client);

  void publish(const std::vector<FramePtr>& frames);
  void tracked(const std::string& name, std::optional<std::uint64_t> head);
  void history(const HistoryPage& page);
  void present(Client& client, const PresenceAnswer& answer);
  /// The client has taken all that was queued for it.
  void drained(Client& client);
  /// The relay is stopping: who leaves now is expected back at another one, and stays a member until its lease ends.
  void keep_seats() { keep_seats_ = true; }

  /// Queues pending events for up to kSlice subscribers. Returns whether there is more to do.
  bool deliver_slice();
  /// Everything queued by deliver_slice() has been offered to the sockets.
  void flushed();
  bool has_backlog() const { return !active_.empty(); }

 private:
  Channel& channel_for(const std::string& name);
  Membership& join(Client& client, Channel& channel);
  void remove(Client& client, std::size_t membership);
  void drop_if_unused(Channel& channel);
  void abandon(Channel& channel, bool abandoned);
  void forget(Channel& channel);
  void refuse_all(Channel& channel);
  std::size_t deliver_pass(Channel& channel, std::size_t budget);

  void confirm(Client& client, Membership& membership, const Subscribe& subscribe, std::optional<bool> recovered,
               std::uint64_t offset);
  void settle(Client& client, Membership& membership, Subscribe subscribe);
  void take_seat(Client& client, Membership& membership, Subscribe subscribe);
  void give_back_seat(Client& client, Membership& membership);
  void recover(Client& client, Membership& membership, Subscribe subscribe, std::uint64_t seen);
  void serve(Client& client, Membership& membership, const HistoryPage& page);
  bool catch_up(Client& client, Membership& membership);
  void go_live(Client& client, Membership& membership, std::uint64_t since);
  void finish_recovery(Client& client, Membership& membership, std::uint64_t since);
  void end_recovery(Client& client, Membership& membership);
  void ask_for_history(Channel& channel);

  ChannelTracker& tracker_;
  History& history_;
  Presence& presence_;
  ClientReports& reports_;
  std::unordered_map<std::string, std::unique_ptr<Channel>> channels_;
  std::deque<Channel*> active_;  ///< channels with pending events
  std::size_t abandoned_ = 0;
  std::uint64_t tickets_ = 0;
  bool keep_seats_ = false;
  IoMetrics& metrics_;
  std::vector<SteadyTime> delivered_;  ///< when the events were written whose last pass has ended
};

}  // namespace gamepicker
