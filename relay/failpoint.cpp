#include "relay/failpoint.hpp"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <iterator>
#include <stdexcept>

namespace gamepicker {

Failpoint::Failpoint(std::string_view setting) {
  if (setting.empty()) return;
  static constexpr std::string_view kNames[] = {kAfterClaim, kAfterSend, kBeforeFinish, kInsideFinish};
  const auto colon = std::min(setting.find(':'), setting.size());
  name_ = setting.substr(0, colon);
  const std::string_view count = setting.substr(std::min(colon + 1, setting.size()));
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(count.data(), count.data() + count.size(), number);
  if (std::ranges::find(kNames, name_) == std::end(kNames) || error != std::errc{} ||
      end != count.data() + count.size() || number < 1) {
    throw std::invalid_argument("RELAY_FAILPOINT must be NAME:COUNT with a known name");
  }
  left_ = number;
}

void Failpoint::pass(std::string_view name) {
  if (name_ == name && left_.fetch_sub(1) == 1) std::raise(SIGKILL);
}

}  // namespace gamepicker
