#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <vector>

namespace gamepicker {

/// How far the event log has been read by id, and which ids were skipped. An auto-increment id is given at INSERT and
/// seen at COMMIT: a skipped one may still come, or belong to a transaction that was rolled back. Each is asked for
/// again until it is a minute old; what commits even later is found by the comparison of channel heads.
class EventCursor {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::seconds kHoleLifetime{60};
  static constexpr std::size_t kMaxHoles = 4096;

  void reset(std::uint64_t max_seen) {
    max_seen_ = max_seen;
    holes_.clear();
  }

  std::uint64_t max_seen() const { return max_seen_; }

  void saw(std::uint64_t id, Clock::time_point now) {
    if (id <= max_seen_) {
      holes_.erase(id);
      return;
    }
    // Only the newest count when a server skips many ids at once.
    std::uint64_t skipped = max_seen_ + 1;
    if (id - skipped > kMaxHoles) skipped = id - kMaxHoles;
    for (; skipped < id; ++skipped) holes_.emplace_hint(holes_.end(), skipped, now);
    while (holes_.size() > kMaxHoles) holes_.erase(holes_.begin());
    max_seen_ = id;
  }

  /// Forgets the holes that are too old; returns the others.
  std::vector<std::uint64_t> young_holes(Clock::time_point now) {
    std::erase_if(holes_, [&](const auto& hole) { return now - hole.second > kHoleLifetime; });
    std::vector<std::uint64_t> ids;
    ids.reserve(holes_.size());
    for (const auto& hole : holes_) ids.push_back(hole.first);
    return ids;
  }

 private:
  std::uint64_t max_seen_ = 0;
  std::map<std::uint64_t, Clock::time_point> holes_;
};

}  // namespace gamepicker
