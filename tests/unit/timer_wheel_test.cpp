#include "relay/timer_wheel.hpp"

#include <chrono>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "relay/rate_limit.hpp"

namespace gamepicker {

using namespace std::chrono_literals;

BOOST_AUTO_TEST_SUITE(timers)

BOOST_AUTO_TEST_CASE(entries_come_due_in_order_never_early_and_at_most_a_tick_late) {
  const SteadyTime start = std::chrono::steady_clock::now();
  TimerWheel wheel(start);
  std::vector<TimerWheel::Entry> entries(50);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    wheel.schedule(entries[i], start + 37ms * static_cast<int>(i));
  }
  std::size_t fired = 0;
  for (SteadyTime now = start; now < start + 3s; now += 7ms) {
    while (const TimerWheel::Entry* entry = wheel.pop_due(now)) {
      BOOST_TEST_REQUIRE(entry == &entries[fired]);
      const SteadyTime due = start + 37ms * static_cast<int>(fired++);
      BOOST_TEST((now >= due));
      BOOST_TEST((now <= due + TimerWheel::kTick + 7ms));
    }
  }
  BOOST_TEST(fired == entries.size());
  BOOST_TEST(wheel.milliseconds_to_next(start) == -1);
}

BOOST_AUTO_TEST_CASE(moving_and_cancelling_leave_one_deadline_or_none) {
  const SteadyTime start = std::chrono::steady_clock::now();
  TimerWheel wheel(start);
  TimerWheel::Entry moved, cancelled;
  wheel.schedule(moved, start + 10s);
  wheel.schedule_no_later(moved, start + 20s);
  wheel.schedule_no_later(moved, start + 1s);
  wheel.schedule(cancelled, start + 1s);
  wheel.cancel(cancelled);
  BOOST_TEST(!cancelled.scheduled());
  const int wait = wheel.milliseconds_to_next(start);
  BOOST_TEST(wait >= 1000);
  BOOST_TEST(wait <= 1050);
  BOOST_TEST(wheel.pop_due(start + 900ms) == nullptr);
  BOOST_TEST(wheel.pop_due(start + 1100ms) == &moved);
  BOOST_TEST(wheel.pop_due(start + 30s) == nullptr);
}

BOOST_AUTO_TEST_CASE(a_deadline_beyond_the_horizon_fires_at_the_horizon) {
  const SteadyTime start = std::chrono::steady_clock::now();
  TimerWheel wheel(start);
  TimerWheel::Entry entry;
  wheel.schedule(entry, SteadyTime::max());
  BOOST_TEST(wheel.pop_due(start + 100s) == nullptr);
  BOOST_TEST(wheel.pop_due(start + 103s) == &entry);
  wheel.schedule(entry, start);  // long past: the next tick
  BOOST_TEST(wheel.pop_due(start + 103s + TimerWheel::kTick) == &entry);
}

BOOST_AUTO_TEST_CASE(the_rate_limit_allows_a_burst_and_then_its_rate) {
  SteadyTime now = std::chrono::steady_clock::now();
  RateLimit limit;
  const auto allowed_of = [&](int messages) {
    int allowed = 0;
    for (int i = 0; i < messages; ++i) allowed += limit.allow(now) ? 1 : 0;
    return allowed;
  };
  BOOST_TEST(allowed_of(150) == 100);
  BOOST_TEST(limit.retry_after(now).count() == 20);
  now += 1s;
  BOOST_TEST(allowed_of(150) == 50);
  now += 10s;
  BOOST_TEST(allowed_of(1101) == 100);
  BOOST_TEST(limit.abused());
  now += 10s;
  BOOST_TEST(allowed_of(1) == 1);
  BOOST_TEST(!limit.abused());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker
