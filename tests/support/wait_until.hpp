#pragma once

#include <chrono>
#include <thread>

namespace gamepicker::test {

/// Until it holds, asked every few milliseconds; false when it does not by then.
template <typename Condition>
bool wait_until(std::chrono::steady_clock::time_point limit, Condition condition) {
  while (!condition()) {
    if (std::chrono::steady_clock::now() > limit) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

/// The same, for as long as anything takes on a busy machine under a sanitizer.
template <typename Condition>
bool wait_until(Condition condition) {
  constexpr std::chrono::seconds kPatience{20};
  return wait_until(std::chrono::steady_clock::now() + kPatience, condition);
}

}  // namespace gamepicker::test
