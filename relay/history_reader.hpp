#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "relay/database.hpp"
#include "relay/feed.hpp"

namespace gamepicker {

/// Reads missed events in a thread and over a session of its own, so that a thousand clients who come back do not hold
/// up what is live.
class HistoryReader final : public History {
 public:
  /// Both outlive it.
  HistoryReader(const Config& config, Feed& feed);
  ~HistoryReader() override;

  void start();
  /// What was not answered stays so.
  void stop();

  void read(std::string channel, std::uint64_t after) override;

 private:
  using Question = std::pair<std::string, std::uint64_t>;
  void run();
  bool wait_for_question(Question& question);
  HistoryPage answer(const Question& question);

  Feed& feed_;
  Database database_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Question> questions_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace gamepicker
