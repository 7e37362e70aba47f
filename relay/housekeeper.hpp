#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "relay/database.hpp"
#include "shared/config.hpp"
#include "shared/nudge.hpp"

namespace gamepicker {

/// Does what is due at a time rather than asked for: ends polls whose delayed end has come, and removes what has
/// outlived its use. Everything it goes by is in the database, so a restart forgets nothing, and several relays may do
/// it side by side: a row's lock decides which of them does it.
class Housekeeper {
 public:
  explicit Housekeeper(const Config& config);
  ~Housekeeper();
  Housekeeper(const Housekeeper&) = delete;
  Housekeeper& operator=(const Housekeeper&) = delete;

  void start();
  /// Waits for the statement that is running, not for anything else.
  void stop();

 private:
  using Milliseconds = std::chrono::milliseconds;

  void run();
  /// Ends the polls that are due, and returns the time until something may be due again.
  Milliseconds end_due_polls();
  void end_poll(std::int64_t session_id);
  void remove_expired();
  bool pause(Milliseconds time);  ///< false when it is to stop

  Database database_;
  Nudge nudge_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable stop_asked_;
  bool stopping_ = false;
};

}  // namespace gamepicker
