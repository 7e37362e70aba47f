#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace gamepicker {

/// A place where tests let the relay die, as by kill -9, to show that nothing is lost there.
class Failpoint {
 public:
  static constexpr std::string_view kAfterClaim = "after_claim";
  static constexpr std::string_view kAfterSend = "after_send";
  static constexpr std::string_view kBeforeFinish = "before_finish";
  static constexpr std::string_view kInsideFinish = "inside_finish";

  /// "NAME:COUNT", or empty for none. Throws std::invalid_argument naming the setting.
  explicit Failpoint(std::string_view setting);

  /// Kills the process when this is the place and the time.
  void pass(std::string_view name);

 private:
  std::string name_;
  std::atomic<std::int64_t> left_ = 0;
};

}  // namespace gamepicker
