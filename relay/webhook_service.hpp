#pragma once

#include <memory>

#include "relay/metrics.hpp"
#include "shared/config.hpp"

namespace gamepicker {

/// Sends what webhook_queue owes: a scheduler thread claims, WEBHOOK_WORKERS threads send, a finisher thread records
/// the outcomes in batches.
class WebhookService {
 public:
  /// `metrics` outlives it. Throws std::invalid_argument for a bad SECRET_KEY.
  WebhookService(const Config& config, WebhookMetrics& metrics);
  ~WebhookService();
  WebhookService(const WebhookService&) = delete;
  WebhookService& operator=(const WebhookService&) = delete;

  void start();
  /// Claims nothing more, gives requests under way a few seconds, records what has ended. What is left comes due again
  /// when its lease runs out.
  void stop();

  /// Something may be due: look now. Thread-safe, never blocks.
  void wake();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gamepicker
