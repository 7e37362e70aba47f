#pragma once

#include <fstream>
#include <functional>
#include <memory>
#include <string>

#include <boost/test/unit_test.hpp>
#include <unistd.h>

#include "tests/relay/io_fixture.hpp"

namespace gamepicker::testing {

/// How much memory this process, which the relay under attack is a part of, has taken since the last look.
class Memory {
 public:
  static constexpr std::size_t kFlat = 16u
                                       << 20;  ///< every attack here would take several times as much without a limit

  Memory() : before_(resident()) {}
  void expect_flat() const {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // these keep memory of their own
    const std::size_t after = resident();
    BOOST_TEST((after < before_ + kFlat), "resident before " << before_ << ", now " << after);
#endif
  }

 private:
  static std::size_t resident() {
    std::ifstream statm("/proc/self/statm");
    std::size_t size = 0, pages = 0;
    statm >> size >> pages;
    return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  }

  const std::size_t before_;
};

/// A client that behaves, and what the relay owes it however many others do not.
class Bystander {
 public:
  /// `publish` makes the event of this offset, whose message ends with it.
  Bystander(std::unique_ptr<RawClient> client, std::function<void(std::uint64_t offset)> publish)
      : client_(std::move(client)), publish_(std::move(publish)) {}

  /// More events arrive, completely and in order, and the memory is what it was.
  void expect_peace(std::uint64_t events = 20) {
    for (std::uint64_t i = 1; i <= events; ++i) publish_(offset_ + i);
    for (std::uint64_t i = 1; i <= events; ++i) {
      const std::string text = client_->next_text();
      BOOST_TEST_REQUIRE(text.ends_with("\"offset\":" + std::to_string(offset_ + i) + "}"), text.substr(0, 200));
    }
    offset_ += events;
    memory_.expect_flat();
  }

 private:
  std::unique_ptr<RawClient> client_;
  std::function<void(std::uint64_t)> publish_;
  std::uint64_t offset_ = 0;
  Memory memory_;
};

using Crowd = std::vector<std::unique_ptr<RawClient>>;

inline Crowd gather(std::size_t size, const std::function<std::unique_ptr<RawClient>()>& connect) {
  Crowd crowd;
  while (crowd.size() < size) crowd.push_back(connect());
  return crowd;
}

inline void expect_closes(const Crowd& crowd, const std::string& fate) {
  for (const auto& client : crowd) BOOST_TEST_REQUIRE(client->next_close() == fate);
}

}  // namespace gamepicker::testing
