#pragma once

#include <functional>
#include <memory>
#include <string>

#include "relay/feed.hpp"
#include "relay/metrics.hpp"
#include "shared/config.hpp"

namespace gamepicker {

/// Follows the event log in one thread and hands the events of tracked channels to the feed: in offset order, nothing
/// twice, nothing lost. Auto-increment ids become visible out of order, so three things hold together (design.md,
/// "The event log"): ids that were skipped are asked for again for a minute, a channel's missing offsets are fetched
/// before newer ones go out, and every 10 s and after every reconnect the heads are compared with what was sent.
class EventReader : public ChannelTracker {
 public:
  /// `on_activity` is called from the reader's thread whenever something may have been committed. All must outlive
  /// stop(). Throws std::system_error when the nudge address cannot be bound.
  EventReader(const Config& config, Feed& feed, std::function<void()> on_activity, ReaderMetrics& metrics);
  ~EventReader() override;

  void start();
  /// Ends the thread; waits for a statement that is running, not for anything else.
  void stop();

  void track(std::string channel) override;
  void untrack(std::string channel) override;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gamepicker
