#pragma once

#include <cstdlib>
#include <iostream>
#include <string_view>

namespace gamepicker {

/// A broken promise is a crash: that is what libFuzzer looks for. `detail` says more of how it was broken.
inline void expect(bool condition, const char* promise, std::string_view detail = {}) {
  if (condition) return;
  std::cerr << "broken: " << promise << '\n' << detail << '\n';
  std::abort();
}

}  // namespace gamepicker
