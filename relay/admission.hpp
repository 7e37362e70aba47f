#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

namespace gamepicker {

/// Counts WebSocket connections, in all and for each client address.
class Admission {
 public:
  Admission(std::uint64_t max_total, std::uint64_t max_per_address)
      : max_total_(max_total), max_per_address_(max_per_address) {}

  /// Counts one more, unless there are too many. An empty address (no proxy in front) counts in all only.
  bool admit(const std::string& address) {
    if (total_ >= max_total_) return false;
    if (!address.empty()) {
      const auto entry = per_address_.try_emplace(address, 0).first;
      if (entry->second >= max_per_address_) return false;
      ++entry->second;
    }
    ++total_;
    return true;
  }

  /// Takes back one successful admit() of this address.
  void release(const std::string& address) {
    --total_;
    const auto entry = per_address_.find(address);
    if (entry != per_address_.end() && --entry->second == 0) per_address_.erase(entry);
  }

  std::uint64_t total() const { return total_; }

 private:
  const std::uint64_t max_total_;
  const std::uint64_t max_per_address_;
  std::uint64_t total_ = 0;
  std::unordered_map<std::string, std::uint64_t> per_address_;
};

}  // namespace gamepicker
