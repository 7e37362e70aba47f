#include "relay/timer_wheel.hpp"

#include <algorithm>

namespace gamepicker {

TimerWheel::TimerWheel(SteadyTime start) : start_(start) {
  for (Entry& slot : slots_) slot.previous_ = slot.next_ = &slot;
}

std::uint64_t TimerWheel::tick_of(SteadyTime at) const {
  const auto since = std::max(at - start_, SteadyTime::duration::zero());
  return static_cast<std::uint64_t>(since / kTick);
}

void TimerWheel::schedule(Entry& entry, SteadyTime at) {
  cancel(entry);
  // One tick later than it falls in, so that it never fires early; never in the tick being emptied.
  entry.tick_ = std::clamp(tick_of(at) + 1, current_ + 1, current_ + kSlots - 1);
  Entry& slot = slots_[entry.tick_ % kSlots];
  entry.next_ = &slot;
  entry.previous_ = slot.previous_;
  slot.previous_->next_ = &entry;
  slot.previous_ = &entry;
  ++size_;
}

void TimerWheel::schedule_no_later(Entry& entry, SteadyTime at) {
  if (!entry.scheduled() || tick_of(at) + 1 < entry.tick_) schedule(entry, at);
}

void TimerWheel::cancel(Entry& entry) {
  if (!entry.scheduled()) return;
  unlink(entry);
  --size_;
}

void TimerWheel::unlink(Entry& entry) {
  entry.previous_->next_ = entry.next_;
  entry.next_->previous_ = entry.previous_;
  entry.previous_ = entry.next_ = nullptr;
}

TimerWheel::Entry* TimerWheel::pop_due(SteadyTime now) {
  const std::uint64_t now_tick = tick_of(now);
  if (size_ == 0) {
    current_ = std::max(current_, now_tick);
    return nullptr;
  }
  for (; current_ <= now_tick; ++current_) {
    Entry& slot = slots_[current_ % kSlots];
    if (slot.next_ == &slot) continue;
    Entry& entry = *slot.next_;
    cancel(entry);
    return &entry;
  }
  return nullptr;
}

int TimerWheel::milliseconds_to_next(SteadyTime now) const {
  if (size_ == 0) return -1;
  std::uint64_t tick = current_;
  while (slots_[tick % kSlots].next_ == &slots_[tick % kSlots]) ++tick;
  const auto wait = start_ + kTick * static_cast<std::int64_t>(tick) - now;
  if (wait <= SteadyTime::duration::zero()) return 0;
  return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(wait).count());
}

}  // namespace gamepicker
