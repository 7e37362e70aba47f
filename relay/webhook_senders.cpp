#include "relay/webhook_senders.hpp"

#include <algorithm>
#include <iterator>

#include "relay/webhook_queue.hpp"

namespace gamepicker {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLease{15'000};
constexpr milliseconds kRenewal{5'000};
/// Who seems dead in two looks this far apart is dead: time for a living one to take its lock again after its
/// connection was lost.
constexpr milliseconds kSuspicion{400};
/// A new sender owns nothing at first: meanwhile those before it notice that it is there, and it those that are dead,
/// whose leases are given back before anybody sends what comes behind them.
constexpr milliseconds kSettling{700};
/// After the server was started all locks are gone; their holders come back within the longest back-off.
constexpr std::int64_t kServerGraceSeconds = 8;

// The lock's name holds the database's: locks are the whole server's. At most 64 characters.
#define SENDER_LOCK "CONCAT(LEFT(SHA2(DATABASE(), 256), 16), '.webhook_sender.', "

constexpr char kInsertSender[] =
    "INSERT INTO webhook_senders (lease_until) VALUES (UTC_TIMESTAMP(3) + INTERVAL ? MICROSECOND)";
constexpr char kReadInserted[] = "SELECT CAST(LAST_INSERT_ID() AS SIGNED)";
constexpr char kTakeLock[] = "SELECT CAST(GET_LOCK(" SENDER_LOCK "?), 0) AS SIGNED)";
constexpr char kRenew[] =
    "UPDATE webhook_senders SET lease_until = UTC_TIMESTAMP(3) + INTERVAL ? MICROSECOND WHERE number = ?";
constexpr char kReadSenders[] =
    "SELECT CAST(number AS SIGNED), CAST(lease_until < UTC_TIMESTAMP(3) AS SIGNED), "
    "CAST(IS_FREE_LOCK(" SENDER_LOCK "number)) AS SIGNED) FROM webhook_senders ORDER BY number";
constexpr char kReadUptime[] = "SHOW GLOBAL STATUS LIKE 'Uptime'";
constexpr char kDeleteSender[] = "DELETE FROM webhook_senders WHERE number = ?";
}  // namespace

bool WebhookSenders::registered() const {
  return number_ != 0 && database_.connected() && generation_ == database_.generation();
}

void WebhookSenders::look() {
  database_.connect();
  if (!registered()) enter();
  if (Clock::now() >= renew_at_) renew();

  alive_.clear();
  std::vector<std::int64_t> expired;
  std::set<std::int64_t> unlocked;
  for (const SqlRow& row : database_.query(kReadSenders)) {
    const std::int64_t number = row.integer(0);
    if (number == number_) {
      alive_.push_back(number);
    } else if (row.integer(1) != 0) {
      expired.push_back(number);
    } else {
      alive_.push_back(number);
      if (row.integer(2) != 0) unlocked.insert(number);
    }
  }
  if (unlocked.empty() || suspects_.empty()) suspects_since_ = Clock::now();
  if (Clock::now() - suspects_since_ >= kSuspicion &&
      std::stoll(database_.query(kReadUptime).at(0).text(1)) >= kServerGraceSeconds) {
    std::ranges::set_intersection(unlocked, suspects_, std::back_inserter(expired));
    suspects_since_ = Clock::now();
  }
  suspects_ = std::move(unlocked);
  for (const std::int64_t dead : expired) bury(dead);
  const bool waited = Clock::now() - entered_at_ >= kSettling && suspects_.empty();
  settled_ = settled_ || waited || alive_.size() == 1;
}

/// With a new number when the old one was taken from us: somebody may have given our leases back.
void WebhookSenders::enter() {
  if (number_ != 0 && database_.execute(kRenew, {microseconds(kLease), number_}) == 0) number_ = 0;
  if (number_ == 0) {
    database_.execute(kInsertSender, {microseconds(kLease)});
    number_ = database_.query(kReadInserted).at(0).integer(0);
    entered_at_ = Clock::now();
    settled_ = false;
  }
  if (database_.query(kTakeLock, {number_}).at(0).integer(0) != 1) {
    throw DatabaseError("the lock of this webhook sender is still held by its last connection");
  }
  generation_ = database_.generation();
  renew_at_ = Clock::now() + kRenewal;
}

void WebhookSenders::renew() {
  if (database_.execute(kRenew, {microseconds(kLease), number_}) == 0) {
    number_ = 0;
    enter();
  }
  renew_at_ = Clock::now() + kRenewal;
}

void WebhookSenders::bury(std::int64_t number) {
  WebhookQueue(database_).give_back(lease_token(number, 0), lease_token(number, UINT32_MAX));
  database_.execute(kDeleteSender, {number});
  std::erase(alive_, number);
  suspects_.erase(number);
}

void WebhookSenders::leave() {
  if (number_ != 0) database_.execute(kDeleteSender, {number_});
  number_ = 0;
}

bool WebhookSenders::owns(std::int64_t webhook_id) const {
  return settled_ && number_ != 0 && owner_of(webhook_id, alive_) == number_;
}

std::uint64_t lease_token(std::int64_t sender, std::uint32_t claim) {
  return (static_cast<std::uint64_t>(sender) << 32) | claim;
}

std::int64_t owner_of(std::int64_t webhook_id, const std::vector<std::int64_t>& senders) {
  // The finalizer of SplitMix64 (Steele, Lea, Flood 2014) as the hash.
  const auto weight = [&](std::int64_t sender) {
    std::uint64_t x = static_cast<std::uint64_t>(webhook_id) * 0x9E3779B97F4A7C15u + static_cast<std::uint64_t>(sender);
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
  };
  const auto owner = std::ranges::max_element(senders, {}, weight);
  return owner == senders.end() ? 0 : *owner;
}

}  // namespace gamepicker
