// Keeps the ledger of what webhooks were sent, while the relay is killed and the database restarted: nothing may be
// lost, and nothing come twice but what a killed relay had in flight.
//   chaos_ledger RELAY CONFIG FOLDER KILLS EVENTS_PER_SECOND SECONDS SEED
// The database is that of DB_SOCKET, DB_NAME, DB_USER and DB_PASSWORD. A line "database" asks for its restart, in the
// end there are figures, and a line "ok WHAT" or "not ok WHAT" for each promise.

#include <csignal>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "shared/config.hpp"
#include "shared/secret_box.hpp"
#include "tests/chaos/ledger.hpp"
#include "tests/chaos/writers.hpp"
#include "tests/support/relay_process.hpp"
#include "tests/support/wait_until.hpp"

namespace {

using namespace chaos;
using gamepicker::test::Connection;
using gamepicker::test::DatabaseAddress;
using gamepicker::test::RelayProcess;
using gamepicker::test::wait_until;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint32_t kWebhooks = 8;
constexpr std::uint32_t kConcurrent = 8;  ///< the number of the webhook that has several requests at a time
constexpr std::string_view kFailpoints[] = {"after_claim", "after_send", "before_finish", "inside_finish"};
constexpr std::size_t kTimesEach = 3;  ///< a failpoint ends a relay
constexpr std::size_t kRestarts = 3;   ///< of the database
constexpr std::uint64_t kCalmEvents = 600;
constexpr unsigned kFailPercent = 10;
constexpr std::uint64_t kPlenty = 1'000'000'000;
constexpr seconds kPatience{90};
constexpr seconds kFailpointLimit{10};

class Test {
 public:
  Test(char** argv)
      : limit_(Clock::now() + seconds(std::stoull(argv[6]))),
        kills_(std::stoull(argv[4])),
        seed_(std::stoull(argv[7])),
        random_(seed_),
        secret_key_(gamepicker::Config::load(argv[2], false).secret_key),
        ledger_(seed_),
        connection_(address_, stopping_),
        relay_(argv[1], argv[2], argv[3], "1"),
        writers_({.database = address_,
                  .nudge = relay_.nudge(),
                  .events = kPlenty,
                  .per_second = std::stoull(argv[5]),
                  .seed = seed_,
                  .for_webhooks = true}) {}

  void run() {
    add_webhooks();
    writers_.start();
    be_calm();
    for (const std::string_view name : kFailpoints) {
      std::size_t times = 0;
      while (times < kTimesEach && dies_at(name)) ++times;
      report("a relay ends at " + std::string(name), kTimesEach - times);
    }
    for (std::uint64_t i = 0; i < kills_; ++i) {
      if (i == kills_ / 2) ledger_.fail(kFailPercent);
      if (i % (kills_ / kRestarts + 1) == kills_ / kRestarts / 2) std::cout << "database" << std::endl;
      kill_at_random();
    }
    finish();
  }

 private:
  std::uint64_t below(std::uint64_t end) { return random_() % end; }

  void add_webhooks() {
    const gamepicker::SecretBox box(secret_key_);
    for (std::uint32_t i = 1; i <= kWebhooks; ++i) {
      const std::string id = std::to_string(i);
      connection_.must("INSERT INTO webhooks (id, name, url, sealed_secret, concurrency) VALUES (" + id +
                       ", 'chaos', '" + ledger_.url(i) + "', '" + box.seal("a secret of the test") + "', " +
                       (i >= kConcurrent ? "4)" : "1)"));
      connection_.must("INSERT INTO webhook_patterns (webhook_id, pattern, position) VALUES (" + id + ", 'chaos', 0)");
    }
    connection_.must("COMMIT");
  }

  /// Nothing goes wrong.
  void be_calm() {
    relay_.start();
    if (!wait_until(limit_, [&] { return ledger_.size() >= kCalmEvents * kWebhooks; })) {
      throw std::runtime_error("only " + std::to_string(ledger_.size()) + " requests came, see " + relay_.log());
    }
    quiet_ = ledger_.size();
    bury();
  }

  void bury() {
    relay_.kill();
    deaths_.push_back(in_flight(connection_));
  }

  bool dies_at(std::string_view name) {
    relay_.start({{"RELAY_FAILPOINT", std::string(name) + ':' + std::to_string(1 + below(30))}});
    int signal = 0;
    const bool died = relay_.gone(kFailpointLimit, signal) && signal == SIGKILL;
    bury();
    return died;
  }

  /// Mostly in the middle of its work, now and then while it starts.
  void kill_at_random() {
    relay_.start();
    if (below(4) == 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(below(400'000)));
    } else {
      const std::size_t enough = ledger_.size() + 1 + below(400);
      if (!wait_until(Clock::now() + seconds(5), [&] { return ledger_.size() >= enough; })) ++idle_;
      std::this_thread::sleep_for(std::chrono::microseconds(below(10'000)));
    }
    bury();
  }

  void finish() {
    writers_.enough();
    relay_.start();
    if (!wait_until(limit_, [&] { return writers_.done(); })) throw std::runtime_error("the writers do not end");
    std::cout << "writers: " << writers_.figures() << ", " << idle_ << " relays got nothing done" << std::endl;
    wait_until(Clock::now() + kPatience, [&] {
      std::this_thread::sleep_for(milliseconds(50));
      std::uint64_t queued = 1;
      if (!connection_.ready() || !connection_.number("SELECT COUNT(*) FROM webhook_queue", queued)) connection_.drop();
      return queued == 0;
    });
    report("the relay stops in order", relay_.stop(seconds(20)) ? 0 : 1);
    const Truth truth = writers_.read_truth();
    report("the event log holds what was committed, and nothing that was rolled back", truth.complaints.size(),
           truth.complaints.empty() ? "" : truth.complaints.front());
    judge(ledger_.receipts(), Deliveries::read(connection_), deaths_, kWebhooks, kConcurrent, quiet_);
  }

  const Clock::time_point limit_;
  const std::uint64_t kills_;
  const std::uint64_t seed_;
  std::mt19937_64 random_;
  const DatabaseAddress address_ = DatabaseAddress::of_environment();
  const std::string secret_key_;
  const std::atomic<bool> stopping_ = false;
  Ledger ledger_;
  Connection connection_;
  RelayProcess relay_;
  Writers writers_;
  Deaths deaths_;
  std::size_t quiet_ = 0;
  std::size_t idle_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 8) {
      throw std::runtime_error("usage: chaos_ledger RELAY CONFIG FOLDER KILLS EVENTS_PER_SECOND SECONDS SEED");
    }
    Test(argv).run();
  } catch (const std::exception& error) {
    std::cout << "not ok the test itself: " << error.what() << std::endl;
    std::_Exit(EXIT_FAILURE);  // a writer may wait for its database still
  }
}
