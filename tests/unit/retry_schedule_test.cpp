#include "relay/retry_schedule.hpp"

#include <boost/test/unit_test.hpp>

namespace gamepicker {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using namespace std::chrono_literals;

BOOST_AUTO_TEST_SUITE(retry_schedule)

BOOST_AUTO_TEST_CASE(each_failed_attempt_waits_its_entry_of_the_schedule) {
  const Config::Durations schedule = Config().webhook_retry_schedule;
  const seconds expected[] = {seconds(5),     seconds(300),   seconds(1800), seconds(7200),
                              seconds(18000), seconds(36000), seconds(36000)};
  std::int64_t attempts = 0;
  for (const seconds wait : expected) {
    const auto delay = retry_delay(schedule, ++attempts, 0.5, std::nullopt);
    BOOST_TEST(delay.value().count() == milliseconds(wait).count());
  }
  BOOST_TEST(!retry_delay(schedule, ++attempts, 0.5, std::nullopt).has_value());
}

BOOST_AUTO_TEST_CASE(jitter_stays_within_twenty_percent) {
  const Config::Durations schedule{seconds(10)};
  BOOST_TEST(retry_delay(schedule, 1, 0.0, std::nullopt).value().count() == 8'000);
  const auto longest = retry_delay(schedule, 1, 0.999999, std::nullopt).value().count();
  BOOST_TEST(longest > 11'990);
  BOOST_TEST(longest <= 12'000);
}

BOOST_AUTO_TEST_CASE(an_empty_schedule_gives_up_at_once) {
  BOOST_TEST(!retry_delay({}, 1, 0.5, std::nullopt).has_value());
  BOOST_TEST(!retry_delay({}, 1, 0.5, seconds(5)).has_value());
}

BOOST_AUTO_TEST_CASE(retry_after_is_a_lower_bound_and_ends_at_one_hour) {
  const Config::Durations schedule{seconds(10)};
  BOOST_TEST(retry_delay(schedule, 1, 0.5, seconds(60)).value().count() == 60'000);
  BOOST_TEST(retry_delay(schedule, 1, 0.5, seconds(1)).value().count() == 10'000);
  BOOST_TEST(retry_delay(schedule, 1, 0.5, hours(5)).value().count() == 3'600'000);
}

BOOST_AUTO_TEST_CASE(retry_after_reads_seconds_and_dates) {
  const Timestamp now = parse_iso("2026-03-15T20:30:00.000Z").value();
  struct {
    const char* value;
    std::optional<std::int64_t> expected;
  } const cases[] = {
      {"0", 0},
      {"120", 120'000},
      {"3600", 3'600'000},
      {"99999", 3'600'000},
      {"99999999999999999999", 3'600'000},
      {"Sun, 15 Mar 2026 20:30:10 GMT", 10'000},
      {"Sun, 15 Mar 2026 20:29:00 GMT", 0},
      {"Mon, 16 Mar 2026 20:30:00 GMT", 3'600'000},
      {"", std::nullopt},
      {"-5", std::nullopt},
      {"1.5", std::nullopt},
      {"soon", std::nullopt},
  };
  for (const auto& [value, expected] : cases) {
    const auto delay = parse_retry_after(value, now);
    BOOST_TEST(delay.has_value() == expected.has_value(), value);
    if (delay && expected) BOOST_TEST(delay->count() == *expected, value);
  }
}

BOOST_AUTO_TEST_CASE(a_webhook_that_gives_neither_field_follows_the_servers_schedule) {
  const Config::Durations server{5s, 5min};
  BOOST_TEST((schedule_of({}, {}, server) == server));
  BOOST_TEST((schedule_of({}, 200ms, server) == Config::Durations{200ms, 400ms, 800ms}));
  BOOST_TEST((schedule_of(4, {}, server) == Config::Durations{1s, 2s, 4s, 8s}));
  BOOST_TEST((schedule_of(0, {}, server).empty()));
  BOOST_TEST((schedule_of(3, 90min, server) == Config::Durations{90min, 2h, 2h}));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker
