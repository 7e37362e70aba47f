#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <utility>

#include "relay/database.hpp"
#include "relay/feed.hpp"
#include "relay/worker.hpp"

namespace gamepicker {

/// Reads missed events in a thread and over a session of its own, so that a thousand clients who come back do not hold
/// up what is live.
class HistoryReader final : public History {
 public:
  /// All outlive it.
  HistoryReader(const Config& config, Feed& feed, Counter& database_errors);

  void start();
  /// What was not answered stays so.
  void stop() { worker_.stop(); }

  void read(std::string channel, std::uint64_t after) override;

 private:
  using Question = std::pair<std::string, std::uint64_t>;
  void run();
  bool wait_for_question(Question& question);
  HistoryPage answer(const Question& question);

  Feed& feed_;
  const std::uint64_t kept_per_channel_;
  const std::size_t page_bytes_;
  Database database_;
  std::deque<Question> questions_;
  Worker worker_;  ///< last, so that its thread ends first
};

}  // namespace gamepicker
