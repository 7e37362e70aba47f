#pragma once

#include <chrono>
#include <cstdint>

#include "relay/database.hpp"
#include "relay/worker.hpp"
#include "shared/config.hpp"

namespace gamepicker {

/// Removes what has outlived its use: events by age and by number in their channel, finished webhook deliveries with
/// their logs, imported chats, idempotency keys. In small batches with pauses, so that nobody waits long for a lock.
/// One relay at a time does it. An event stays as long as a webhook delivery refers to it, be it owed or only a record.
class Retention {
 public:
  /// `database_errors` outlives it.
  Retention(const Config& config, Counter& database_errors);

  void start();
  void stop() { worker_.stop(); }

 private:
  void run();
  void remove_all();
  void remove_old_events();
  void remove_surplus_events();
  void remove_deliveries();
  void remove_rows(std::string_view sql, std::chrono::milliseconds age);
  void raise_tail(const std::string& channel, std::uint64_t offset);
  void breathe();

  const std::chrono::milliseconds events_age_;
  const std::uint64_t events_per_channel_;
  const std::chrono::milliseconds deliveries_age_;
  const std::chrono::milliseconds chat_age_;
  Database database_;
  std::uint64_t looked_at_ = 0;  ///< events up to this id are gone, or stay for a delivery
  Worker worker_;                ///< last, so that its thread ends first
};

}  // namespace gamepicker
