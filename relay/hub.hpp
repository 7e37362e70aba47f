#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "relay/client.hpp"
#include "relay/feed.hpp"

namespace gamepicker {

/// One channel with local subscribers. `asking`: the event reader has not answered yet, so all members are
/// waiting for their reply and nothing is delivered.
struct Channel {
  struct Member {
    Client* client = nullptr;
    std::uint64_t since = 0;  ///< it has, or was told of, everything up to here
  };

  std::string name;
  std::optional<std::int64_t> session_id;
  bool asking = true;
  std::uint64_t head = 0;  ///< offset of the newest event taken over
  std::vector<Member> members;
  std::deque<FramePtr> pending;  ///< not yet queued for every member
  std::size_t batch = 0;         ///< how many of them this pass hands out
  std::size_t cursor = 0;        ///< members before this one have had the pass
};

/// Who hears what. Events are queued for subscribers in passes that can be interrupted, so that one large
/// channel delays nobody else. Used by the I/O thread alone.
class Hub {
 public:
  static constexpr std::size_t kSlice = 512;
  static constexpr std::size_t kMaxSubscriptions = 100;
  enum class Outcome { done, too_many, not_subscribed };

  /// Asks for the channel of all clients at once. `tracker` outlives the hub.
  explicit Hub(ChannelTracker& tracker);

  /// Every authenticated client hears `sessions`.
  void join_everybody(Client& client);

  /// Replies `subscribed` or `Session not found` as soon as that is known; immediately when the channel is
  /// followed already. When the database is away, that is when it is back.
  Outcome subscribe(Client& client, std::int64_t session_id, std::string ack);
  /// Removes the client; the reply is the caller's.
  Outcome unsubscribe(Client& client, std::int64_t session_id);
  /// Takes the client out of everything.
  void leave(Client& client);

  void publish(const std::vector<FramePtr>& frames);
  void tracked(const std::string& name, std::optional<std::uint64_t> head);

  /// Queues pending events for up to kSlice subscribers. Returns whether there is more to do.
  bool deliver_slice();
  bool has_backlog() const { return !active_.empty(); }

 private:
  Channel& channel_for(const std::string& name, std::optional<std::int64_t> session_id);
  Membership& join(Client& client, Channel& channel);
  void remove(Client& client, std::size_t membership);
  void drop_if_unused(Channel& channel);
  void forget(Channel& channel);
  void refuse_all(Channel& channel);
  std::size_t deliver_pass(Channel& channel, std::size_t budget);

  ChannelTracker& tracker_;
  std::unordered_map<std::string, std::unique_ptr<Channel>> channels_;
  std::deque<Channel*> active_;  ///< channels with pending events
};

}  // namespace gamepicker
