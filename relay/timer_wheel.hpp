#pragma once

#include <array>
#include <chrono>
#include <cstdint>

namespace gamepicker {

using SteadyTime = std::chrono::steady_clock::time_point;

/// One deadline per entry, thousands of entries, cheap to move: entries hang in intrusive lists, one list a
/// tick. A deadline beyond the horizon fires at the horizon, and any deadline up to one tick late: whoever is
/// called looks at its own clock and schedules again. Entries must be cancelled before they die.
class TimerWheel {
 public:
  static constexpr std::chrono::milliseconds kTick{50};
  static constexpr std::size_t kSlots = 2048;  // a horizon of 102 s, beyond every heartbeat

  class Entry {
   public:
    Entry() = default;
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    bool scheduled() const { return next_ != nullptr; }

   private:
    friend class TimerWheel;
    Entry* previous_ = nullptr;
    Entry* next_ = nullptr;
    std::uint64_t tick_ = 0;
  };

  explicit TimerWheel(SteadyTime start);

  /// Moves the entry to `at`.
  void schedule(Entry& entry, SteadyTime at);
  /// Moves the entry only if it is not scheduled or `at` is earlier.
  void schedule_no_later(Entry& entry, SteadyTime at);
  void cancel(Entry& entry);

  /// Takes off the next entry that is due, null when none is.
  Entry* pop_due(SteadyTime now);

  /// How long to sleep at most, -1 for ever: a value for epoll_wait.
  int milliseconds_to_next(SteadyTime now) const;

 private:
  std::uint64_t tick_of(SteadyTime at) const;
  static void unlink(Entry& entry);

  SteadyTime start_;
  std::uint64_t current_ = 0;  ///< every earlier tick is empty
  std::size_t size_ = 0;
  std::array<Entry, kSlots> slots_;
};

}  // namespace gamepicker
