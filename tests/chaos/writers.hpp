#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/chaos/log.hpp"
#include "tests/support/connection.hpp"

namespace chaos {

struct WriterSettings {
  gamepicker::test::DatabaseAddress database;
  std::string nudge;
  std::uint64_t events = 0;      ///< to be committed; a few more may be
  std::uint64_t per_second = 0;  ///< at the most
  std::uint64_t seed = 0;
  bool for_webhooks = false;  ///< whether those that want the type "chaos" get them
};

/// What the event log holds in the end.
struct Truth {
  std::array<std::vector<std::uint32_t>, kChannels> hashes;  ///< of the data, by offset - 1
  std::vector<std::string> complaints;                       ///< where it is not what the writers committed
};

/// Connections that commit events, several on several channels at a time. Some are rolled back, some are kept waiting
/// before their COMMIT. What fails is done again; of a COMMIT whose outcome is unknown the log is asked, so that
/// what was committed is known exactly.
class Writers {
 public:
  explicit Writers(WriterSettings settings);
  ~Writers();
  Writers(const Writers&) = delete;
  Writers& operator=(const Writers&) = delete;

  void start();
  /// No more than what is under way, however many were asked for.
  void enough() { shared_.enough = true; }
  std::uint64_t committed() const { return shared_.committed; }
  bool done() const { return shared_.running == 0; }
  /// After done(): one more event on each channel. Waits for the database if need be.
  void mark_ends();
  /// After done(). Compares the log with what was committed.
  Truth read_truth();
  std::string figures() const;

  /// What the writers count together.
  struct Shared {
    std::atomic<std::uint64_t> planned = 0, committed = 0, rolled_back = 0, held = 0, retried = 0, unknown = 0,
                               torn = 0;
    std::atomic<int> running = 0;
    std::atomic<bool> stopping = false, enough = false;
  };

 private:
  class Writer;

  const WriterSettings settings_;
  Shared shared_;
  std::vector<std::unique_ptr<Writer>> writers_;
  std::vector<std::thread> threads_;
};

}  // namespace chaos
