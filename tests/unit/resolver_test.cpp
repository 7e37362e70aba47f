#include "relay/resolver.hpp"

#include <atomic>
#include <thread>

#include <boost/test/unit_test.hpp>

namespace gamepicker {
namespace {

using namespace std::chrono_literals;

std::chrono::steady_clock::time_point soon() {
  return std::chrono::steady_clock::now() + 10s;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(resolver)

BOOST_AUTO_TEST_CASE(literals_need_no_look_up) {
  struct {
    const char* host;
    const char* address;
  } const cases[] = {{"127.0.0.1", "127.0.0.1"}, {"2130706433", "127.0.0.1"},
                     {"0x7f.1", "127.0.0.1"},    {"::1", "::1"},
                     {"0:0::1", "::1"},          {"::ffff:10.0.0.1", "::ffff:10.0.0.1"}};
  for (const auto& [host, address] : cases) {
    const auto found = Resolver::literal(host, 80);
    BOOST_REQUIRE(found.size() == 1u);
    BOOST_TEST(found[0].text() == address);
  }
  for (const char* name : {"localhost", "example.com", "127.0.0.1.", ""}) {
    BOOST_TEST(Resolver::literal(name, 80).empty(), name);
  }
}

BOOST_AUTO_TEST_CASE(who_asks_for_the_same_name_waits_for_the_same_look_up) {
  // More than may run at a time.
  Resolver names;
  std::atomic<int> found = 0;
  std::vector<std::thread> threads;
  threads.reserve(200);
  for (int i = 0; i < 200; ++i) {
    threads.emplace_back([&] {
      if (!names.resolve("localhost", 80, soon()).empty()) ++found;
    });
  }
  for (std::thread& thread : threads) thread.join();
  BOOST_TEST(found == 200);
}

BOOST_AUTO_TEST_CASE(a_failed_look_up_is_not_remembered_by_those_after_it) {
  Resolver names;
  for (int i = 0; i < 2; ++i) {
    BOOST_CHECK_EXCEPTION(names.resolve("name.invalid", 80, soon()), ResolveError, [](const ResolveError& error) {
      return std::string(error.what()).starts_with("DNS lookup failed: ");
    });
  }
}

BOOST_AUTO_TEST_CASE(a_deadline_that_has_passed_is_one) {
  Resolver names;
  BOOST_CHECK_THROW(names.resolve("name.invalid", 80, std::chrono::steady_clock::now() - 1s), ResolveError);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker
