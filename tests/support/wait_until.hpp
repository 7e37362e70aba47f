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

}  // namespace gamepicker::test
