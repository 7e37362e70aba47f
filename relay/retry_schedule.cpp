#include "relay/retry_schedule.hpp"

#include <algorithm>
#include <cmath>
#include <string>

#include <Poco/DateTime.h>
#include <Poco/DateTimeFormat.h>
#include <Poco/DateTimeParser.h>

namespace gamepicker {
namespace {

using std::chrono::milliseconds;

constexpr double kJitter = 0.2;
constexpr std::int64_t kDefaultRetries = 3;
constexpr milliseconds kDefaultDelay{1'000};
constexpr milliseconds kLongestDelay = std::chrono::hours(2);
constexpr milliseconds kLongestRetryAfter = std::chrono::hours(1);

}  // namespace

Config::Durations schedule_of(std::optional<std::int64_t> attempts, std::optional<milliseconds> delay,
                              const Config::Durations& server) {
  if (!attempts && !delay) return server;
  Config::Durations schedule;
  milliseconds wait = std::min(delay.value_or(kDefaultDelay), kLongestDelay);
  for (std::int64_t i = 0; i < attempts.value_or(kDefaultRetries); ++i) {
    schedule.push_back(wait);
    wait = std::min(2 * wait, kLongestDelay);
  }
  return schedule;
}

std::optional<milliseconds> retry_delay(const Config::Durations& schedule, std::int64_t attempts, double random,
                                        std::optional<milliseconds> retry_after) {
  if (attempts < 1 || static_cast<std::size_t>(attempts) > schedule.size()) return std::nullopt;
  const auto planned = static_cast<double>(schedule[static_cast<std::size_t>(attempts) - 1].count());
  const milliseconds jittered{std::llround(planned * (1 - kJitter + 2 * kJitter * random))};
  return std::max(jittered, std::min(retry_after.value_or(milliseconds{0}), kLongestRetryAfter));
}

std::optional<milliseconds> parse_retry_after(std::string_view value, Timestamp now) {
  if (value.empty() || value.size() > 64) return std::nullopt;
  if (value.find_first_not_of("0123456789") == std::string_view::npos) {
    // Ten digits or more are beyond the limit whatever they say.
    return value.size() > 9 ? kLongestRetryAfter
                            : std::min(milliseconds{std::stoll(std::string(value)) * 1000}, kLongestRetryAfter);
  }
  // Poco's parser takes almost anything for a date: look at the frame first ("Sun, 15 Mar 2026 20:30:00 GMT").
  if (value.size() != 29 || value[3] != ',' || !value.ends_with(" GMT")) return std::nullopt;
  Poco::DateTime date;
  int zone = 0;
  if (!Poco::DateTimeParser::tryParse(Poco::DateTimeFormat::HTTP_FORMAT, std::string(value), date, zone)) {
    return std::nullopt;
  }
  const Timestamp at{milliseconds{date.timestamp().epochMicroseconds() / 1000 - std::int64_t{zone} * 1000}};
  return std::clamp(milliseconds{at - now}, milliseconds{0}, kLongestRetryAfter);
}

}  // namespace gamepicker
