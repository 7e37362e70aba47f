#pragma once

#include <chrono>

#include "relay/database.hpp"
#include "relay/worker.hpp"
#include "shared/config.hpp"
#include "shared/nudge.hpp"

namespace gamepicker {

/// Ends polls whose delayed end has come. Everything it goes by is in the database, so a restart forgets nothing, and
/// several relays may do it side by side: a row's lock decides which of them does it.
class PollEnder {
 public:
  /// `database_errors` outlives it.
  PollEnder(const Config& config, Counter& database_errors);

  void start();
  void stop() { worker_.stop(); }

 private:
  void run();
  /// Ends the polls that are due, and returns the time until something may be due again.
  std::chrono::milliseconds end_due();
  void end(std::int64_t session_id);

  Database database_;
  Nudge nudge_;
  Worker worker_;  ///< last, so that its thread ends first
};

}  // namespace gamepicker
