#pragma once

#include "relay/database.hpp"
#include "relay/worker.hpp"

namespace gamepicker {

/// Queues the failed deliveries of a webhook again, as its owner asked for (POST /api/webhooks/{id}/recover): a job in
/// the database, done in small steps by whichever relay comes first, in a thread and over a session of its own. A step
/// that breaks off is done again.
class WebhookRecovery {
 public:
  /// `on_queued` is called after each step that queued something. All outlive it.
  WebhookRecovery(const Config& config, std::function<void()> on_queued, Counter& database_errors);

  void start();
  void stop() { worker_.stop(); }
  /// A job may have come. Thread-safe.
  void wake();

 private:
  void run();
  /// Returns whether there was something to do.
  bool step();

  Database database_;
  const std::function<void()> on_queued_;
  bool woken_ = false;  ///< under the worker's mutex
  bool queued_ = false;
  Worker worker_;  ///< last, so that its thread ends first
};

}  // namespace gamepicker
