#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <string>

namespace bench {

/// The clock of every "at": the same for all processes of a machine.
inline std::uint64_t monotonic_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(now.tv_nsec);
}

/// An event of exactly `size` bytes (unless that is too few), with the time it was published at.
inline std::string event_text(const char* type_key, std::uint64_t at, std::size_t size) {
  std::string text = std::string("{\"") + type_key +
                     R"(":"bench","timestamp":"2026-01-01T00:00:00.000Z","data":{"at":)" + std::to_string(at) +
                     R"(,"pad":")";
  constexpr std::string_view kEnd = R"("}})";
  if (text.size() + kEnd.size() < size) text.append(size - text.size() - kEnd.size(), 'x');
  return text.append(kEnd);
}

}  // namespace bench
