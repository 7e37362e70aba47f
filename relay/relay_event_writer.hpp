#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <vector>

#include "relay/database.hpp"
#include "relay/metrics.hpp"
#include "relay/relay_events.hpp"
#include "relay/worker.hpp"
#include "shared/nudge.hpp"

namespace gamepicker {

/// Writes what clients do for the webhooks that want it, several events in a transaction, and keeps up with what they
/// want; in a thread and over a session of its own. While the database is away events wait, up to kMaxWaitingBytes;
/// beyond that the newest are dropped, counted and logged, so that what is written is still in order.
class RelayEventWriter final : public RelayEvents {
 public:
  /// More than 100,000 events without much in them.
  static constexpr std::size_t kMaxWaitingBytes = 32u << 20;

  /// All outlive it.
  RelayEventWriter(const Config& config, WantedRelayEvents& wanted, RelayEventMetrics& metrics);

  void start();
  /// Somebody has committed something: maybe a webhook that wants other events.
  void wake();
  /// Writes what waits, if the database is there. What is not written within a second or two is lost, and counted.
  void stop() { worker_.stop(); }

  bool wants(RelayEventType type) const override { return wanted_.contains(type); }
  void write(RelayEvent event) override;

 private:
  using Clock = std::chrono::steady_clock;

  void run();
  bool wait_for_work();
  Clock::time_point look_at() const;
  void look();
  bool take();
  void write_taken();
  void write_rest();

  WantedRelayEvents& wanted_;
  RelayEventMetrics& metrics_;
  Database database_;
  Nudge nudge_;

  // Under the worker's mutex.
  std::deque<RelayEvent> events_;
  std::size_t bytes_ = 0;  ///< of them
  bool woken_ = false;
  bool dropping_ = false;  ///< and it was logged
  Clock::time_point looked_at_{};

  std::vector<RelayEvent> taken_;  ///< the thread's own
  Worker worker_;                  ///< last, so that its thread ends first
};

}  // namespace gamepicker
