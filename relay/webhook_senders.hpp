#pragma once

#include <chrono>
#include <cstdint>
#include <set>
#include <vector>

#include "relay/database.hpp"

namespace gamepicker {

/// The relays that send deliveries, this one among them. Each webhook has one owner among those alive, so that its
/// deliveries start in order. A relay that died leaves leases behind: whoever notices gives them back at once.
///
/// Alive means a row with a lease and a lock of the server, which ends with the connection of its holder: a killed
/// relay is noticed within a second, one whose machine is gone when its lease has run out. Not thread-safe; throws
/// DatabaseError.
class WebhookSenders {
 public:
  using Clock = std::chrono::steady_clock;

  /// Keeps the lock on the session of `database`, which outlives it.
  explicit WebhookSenders(Database& database) : database_(database) {}

  /// Registers, renews, notices the dead and gives their leases back. Call it every two seconds, and before anything
  /// else when not registered().
  void look();
  /// Whether others know of this sender; not so any more when the connection was lost.
  bool registered() const;
  /// Whether look() wants to be called again in this short time: somebody seems to be dead.
  bool suspicious() const { return !suspects_.empty(); }
  /// Takes this sender out.
  void leave();

  /// Whether it has just become one, of several: they must be told, for it waits until they have noticed.
  bool new_among_others() const { return number_ != 0 && !settled_ && alive_.size() > 1; }

  /// Whether this relay is the one that sends the deliveries of a webhook. Pure, between two looks.
  bool owns(std::int64_t webhook_id) const;
  /// Of this sender, from 1; what its lease tokens begin with.
  std::int64_t number() const { return number_; }

 private:
  void enter();
  void renew();
  void bury(std::int64_t number);

  Database& database_;
  std::int64_t number_ = 0;
  std::uint64_t generation_ = 0;  ///< of the session that holds the lock
  Clock::time_point entered_at_{};
  bool settled_ = false;  ///< the others have had time to notice it, and it them
  Clock::time_point renew_at_{};
  std::vector<std::int64_t> alive_;
  std::set<std::int64_t> suspects_;
  Clock::time_point suspects_since_{};
};

/// The token of a sender's claim: unique as long as a sender makes no more than 2^32 claims.
std::uint64_t lease_token(std::int64_t sender, std::uint32_t claim);

/// The one of `senders` that owns a webhook: highest random weight, so that a sender that comes or goes moves only its
/// own share. Empty: 0.
std::int64_t owner_of(std::int64_t webhook_id, const std::vector<std::int64_t>& senders);

}  // namespace gamepicker
