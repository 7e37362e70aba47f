#pragma once

#include <cstdint>
#include <iostream>
#include <string>

namespace chaos {

/// A line "ok WHAT" or "not ok WHAT: how often, and where first", which the script that started the program counts.
inline void report(const std::string& what, std::uint64_t offences, const std::string& detail = "") {
  std::cout << (offences == 0 ? "ok " : "not ok ") << what;
  if (offences != 0) std::cout << ": " << offences << " times" << (detail.empty() ? "" : ", first ") << detail;
  std::cout << std::endl;
}

/// Counts offences and keeps the first.
struct Offences {
  std::uint64_t count = 0;
  std::string first;

  void add(const std::string& what) {
    if (count++ == 0) first = what;
  }
  void report(const std::string& what) const { chaos::report(what, count, first); }
};

}  // namespace chaos
