#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "tests/chaos/report.hpp"
#include "tests/support/connection.hpp"
#include "tests/support/sink.hpp"

namespace chaos {

/// One request that came to a webhook.
struct Receipt {
  std::uint32_t webhook = 0;
  std::uint32_t attempt = 0;
  std::uint64_t delivery = 0;
  std::uint64_t event = 0;  ///< who wrote it, and its number
  std::uint32_t body = 0;   ///< hash
  bool accepted = false;    ///< answered with a 2xx
  std::chrono::steady_clock::time_point at;
};

/// The receiver of all webhooks, /1 to /N, and what it got, in that order.
class Ledger {
 public:
  explicit Ledger(std::uint64_t seed) : seed_(seed), sink_([this](const auto& request) { return note(request); }) {}

  std::string url(std::uint32_t webhook) const { return sink_.url("/" + std::to_string(webhook)); }
  /// So many of a hundred attempts are answered with a 500, of deliveries that have not come yet: the same attempt is
  /// given the same answer whenever it comes.
  void fail(unsigned percent);
  /// Answers come that much later from now on.
  void slow_down(std::chrono::milliseconds delay) { delay_ = delay; }
  std::size_t size() const { return size_; }
  std::vector<Receipt> receipts() const {
    const std::lock_guard lock(mutex_);
    return receipts_;
  }

 private:
  gamepicker::test::Sink::Reply note(const gamepicker::test::Sink::Request& request);

  const std::uint64_t seed_;
  std::atomic<std::chrono::milliseconds> delay_{};
  std::atomic<std::size_t> size_ = 0;
  mutable std::mutex mutex_;
  std::vector<Receipt> receipts_;
  std::uint64_t newest_ = 0;  ///< delivery
  unsigned failing_ = 0;
  std::uint64_t failing_after_ = 0;  ///< a delivery's id
  gamepicker::test::Sink sink_;      ///< last: it calls what stands before it
};

/// The deliveries as the database has them in the end.
struct Deliveries {
  struct Event {
    std::uint64_t key = 0;  ///< who wrote it, and its number
    std::uint32_t body = 0;
    std::uint64_t seq = 0;
    std::string channel;
  };
  struct Delivery {
    std::uint64_t event = 0;  ///< its id
    std::uint32_t webhook = 0;
    bool succeeded = false, ended = false;
    std::uint64_t attempts = 0;
  };

  std::unordered_map<std::uint64_t, Event> events;
  std::unordered_map<std::uint64_t, Delivery> all;
  std::uint64_t queued = 0;  ///< still in the queue
  std::uint64_t misfitted =
      0;  ///< deliveries whose log does not have each attempt once, and only the last as a success

  static Deliveries read(gamepicker::test::Connection& connection);
};

/// Which deliveries a relay had in flight when it was killed.
using Deaths = std::vector<std::unordered_set<std::uint64_t>>;
/// Asks the database, which may be away for a while.
std::unordered_set<std::uint64_t> in_flight(gamepicker::test::Connection& connection);

/// Reports on all promises. Before the receipt number `quiet` nothing had gone wrong; webhooks from `concurrent` on
/// have several requests at a time.
void judge(const std::vector<Receipt>& receipts, const Deliveries& deliveries, const Deaths& deaths,
           std::uint32_t webhooks, std::uint32_t concurrent, std::size_t quiet);

}  // namespace chaos
