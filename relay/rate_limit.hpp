#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "relay/timer_wheel.hpp"

namespace gamepicker {

/// A token bucket for one client's messages: 50 a second, 100 at once.
class RateLimit {
 public:
  static constexpr std::int64_t kPerSecond = 50;
  static constexpr std::int64_t kBurst = 100;
  static constexpr std::uint32_t kAbuse = 1000;

  /// Takes one token; false when there is none.
  bool allow(SteadyTime now) {
    constexpr std::chrono::nanoseconds cost{1'000'000'000 / kPerSecond};
    // The time at which the bucket is full again (GCRA): one number instead of a count and a time.
    if (full_at_ <= now) {
      full_at_ = now;
      refused_ = 0;
    }
    if (full_at_ + cost - now > cost * kBurst) {
      ++refused_;
      return false;
    }
    full_at_ += cost;
    return true;
  }

  /// How long until allow() would say yes, at least 1 ms.
  std::chrono::milliseconds retry_after(SteadyTime now) const {
    constexpr std::chrono::nanoseconds cost{1'000'000'000 / kPerSecond};
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(full_at_ + cost - now - cost * kBurst);
    return std::max(wait, std::chrono::milliseconds(1));
  }

  /// Refusals since the bucket was last full went beyond what a mistaken client would do.
  bool abused() const { return refused_ > kAbuse; }

 private:
  SteadyTime full_at_{};
  std::uint32_t refused_ = 0;
};

}  // namespace gamepicker
