#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "shared/clock.hpp"
#include "shared/config.hpp"

namespace gamepicker {

/// The schedule of a webhook that gives any of the two: `attempts` retries (3 when not given), `delay` (1 s) before the
/// first, doubled each time, at most two hours. Otherwise the server's.
Config::Durations schedule_of(std::optional<std::int64_t> attempts, std::optional<std::chrono::milliseconds> delay,
                              const Config::Durations& server);

/// The wait before the next try after `attempts` tries have failed: the schedule's entry with +-20 % jitter, never
/// below what the endpoint asked for. Nothing when the schedule is used up. `random` is uniform in [0, 1).
std::optional<std::chrono::milliseconds> retry_delay(const Config::Durations& schedule, std::int64_t attempts,
                                                     double random,
                                                     std::optional<std::chrono::milliseconds> retry_after);

/// A Retry-After header (RFC 9110 section 10.2.3): seconds or an HTTP date, at most one hour; nothing for anything
/// else. A date in the past is no wait.
std::optional<std::chrono::milliseconds> parse_retry_after(std::string_view value, Timestamp now);

}  // namespace gamepicker
