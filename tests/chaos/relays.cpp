// Two relays that send webhooks from one database: nothing goes out twice, and what a killed one had in hand is taken
// over.
//   chaos_relays RELAY CONFIG FOLDER SEED hang|no-hang
// hang: one of them also stops without dying. The database is that of DB_SOCKET, DB_NAME, DB_USER and DB_PASSWORD.
// Prints a line "ok WHAT" or "not ok WHAT" for each promise.

#include <csignal>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_set>

#include "shared/config.hpp"
#include "tests/chaos/ledger.hpp"
#include "tests/support/relay_process.hpp"
#include "tests/support/wait_until.hpp"
#include "tests/support/webhook_tables.hpp"

namespace {

using namespace chaos;
using gamepicker::test::Connection;
using gamepicker::test::DatabaseAddress;
using gamepicker::test::RelayProcess;
using gamepicker::test::wait_until;
using gamepicker::test::WebhookTables;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint32_t kWebhooks = 16;  ///< none of them all are one relay's
constexpr std::uint64_t kEvents = 200;   ///< at a time
constexpr std::size_t kBodySize = 300;
constexpr seconds kPatience{60};
constexpr milliseconds kAnswer{2'000};  ///< so that something is in flight at the right time
constexpr milliseconds kLease{15'000};
constexpr milliseconds kSecond{1'000};
/// Relays look for each other every two seconds, and what is under way may end meanwhile; then order is judged.
constexpr milliseconds kSettle{4'000};
constexpr int kTries = 3;

class Test {
 public:
  explicit Test(char** argv)
      : ledger_(std::stoull(argv[4])),
        tables_(connection_, gamepicker::Config::load(argv[2], false).secret_key),
        first_(argv[1], argv[2], argv[3], "first"),
        second_(argv[1], argv[2], argv[3], "second") {
    tables_.clear();
    for (std::uint32_t id = 1; id <= kWebhooks; ++id) tables_.add(id, ledger_.url(id), "queued");
  }

  void run(bool hang) {
    first_.start();
    second_.start();
    wait_for([&] { return senders() >= 2; }, "two relays");
    const auto settled = Clock::now() + kSettle;
    do {
      share();
    } while (Clock::now() < settled);
    const std::size_t before = ledger_.size();
    share();
    judge_sharing(before);
    survive("the other relay takes over what a killed one had in hand within its lease and a second", kLease + kSecond,
            [&] { return other_takes_over(); });
    survive("a killed relay that is started again takes it up within a second", kSecond,
            [&] { return same_takes_up(); });
    if (hang) {
      survive("what a relay had in hand that hangs is taken over within its lease and a second", kLease + kSecond,
              [&] { return hung_is_left(); });
    }
    ledger_.slow_down(milliseconds(0));
    finish();
  }

 private:
  template <typename Condition>
  void wait_for(Condition condition, const std::string& what) {
    if (!wait_until(Clock::now() + kPatience, condition)) throw std::runtime_error("no " + what);
  }

  /// The tokens of those who have something in hand begin with their numbers.
  std::set<std::uint64_t> busy() {
    std::set<std::uint64_t> numbers;
    connection_.rows("SELECT DISTINCT lease_token >> 32 FROM webhook_queue WHERE lease_token IS NOT NULL",
                     [&](MYSQL_ROW row) { numbers.insert(std::stoull(row[0])); });
    return numbers;
  }
  std::uint64_t senders() { return connection_.must_number("SELECT COUNT(*) FROM webhook_senders"); }
  std::uint64_t queued() { return connection_.must_number("SELECT COUNT(*) FROM webhook_queue"); }
  /// Of the relay that was started last.
  std::uint64_t newest() { return connection_.must_number("SELECT MAX(number) FROM webhook_senders"); }

  /// Without faults.
  void share() {
    seen_.clear();
    tables_.queue(kEvents, kBodySize, 1, kWebhooks);
    wait_for(
        [&] {
          seen_.merge(busy());
          return queued() == 0;
        },
        "end of the queue");
  }

  /// From the receipt number `settled` on both relays knew of each other.
  void judge_sharing(std::size_t settled) {
    std::unordered_set<std::uint64_t> deliveries;
    std::map<std::uint32_t, std::uint64_t> last;
    Offences twice, disorder;
    const auto receipts = ledger_.receipts();
    for (std::size_t i = 0; i < receipts.size(); ++i) {
      const Receipt& receipt = receipts[i];
      const std::string name = "delivery " + std::to_string(receipt.delivery);
      if (!deliveries.insert(receipt.delivery).second) twice.add(name);
      if (i < settled) continue;
      std::uint64_t& before = last[receipt.webhook];
      if (receipt.delivery < before) disorder.add(name + " after " + std::to_string(before));
      before = std::max(before, receipt.delivery);
    }
    twice.report("two relays send nothing twice");
    disorder.report("two relays keep the order of each webhook");
    report("both relays work", seen_.size() >= 2 ? 0 : 1, std::to_string(seen_.size()) + " did");
  }

  /// The best of some tries: the machine has other things to do.
  template <typename Scene>
  void survive(const std::string& what, milliseconds limit, Scene scene) {
    milliseconds best = milliseconds::max();
    for (int i = 0; i < kTries && best > limit; ++i) best = std::min(best, scene());
    std::cout << "taken over after " << best.count() << " ms" << std::endl;
    report(what, best <= limit ? 0 : 1, std::to_string(best.count()) + " ms");
  }

  /// Until every webhook has one delivery, which is not answered for a while, and this relay sent some of them: one
  /// that was just started leaves them to the other for a moment.
  void keep_busy(std::uint64_t number) {
    wait_for(
        [&] {
          ledger_.slow_down(milliseconds(0));
          wait_for([&] { return queued() == 0; }, "end of the queue");
          ledger_.slow_down(kAnswer);
          const std::size_t before = ledger_.size();
          tables_.queue(1, kBodySize, 1, kWebhooks);
          wait_for([&] { return ledger_.size() >= before + kWebhooks; }, "deliveries");
          return !sent_by(number).empty();
        },
        "work of relay " + std::to_string(number));
  }

  /// What it had in hand, and had come already: when that comes once more, somebody else has taken over.
  std::unordered_set<std::uint64_t> sent_by(std::uint64_t number) {
    std::unordered_set<std::uint64_t> came, sent;
    for (const Receipt& receipt : ledger_.receipts()) came.insert(receipt.delivery);
    connection_.rows("SELECT delivery_id FROM webhook_queue WHERE lease_token >> 32 = " + std::to_string(number),
                     [&](MYSQL_ROW row) {
                       if (came.contains(std::stoull(row[0]))) sent.insert(std::stoull(row[0]));
                     });
    return sent;
  }

  /// How long after `begin` the last webhook got one of these deliveries again.
  milliseconds resumed(const std::unordered_set<std::uint64_t>& sent, Clock::time_point begin) {
    if (sent.empty()) throw std::runtime_error("nothing was in flight");
    std::set<std::uint32_t> waiting;
    for (const Receipt& receipt : ledger_.receipts()) {
      if (sent.contains(receipt.delivery)) waiting.insert(receipt.webhook);
    }
    Clock::time_point last = begin;
    const bool all = wait_until(begin + kPatience, [&] {
      std::unordered_set<std::uint64_t> came;
      auto left = waiting;
      for (const Receipt& receipt : ledger_.receipts()) {
        if (!sent.contains(receipt.delivery) || came.insert(receipt.delivery).second) continue;
        if (left.erase(receipt.webhook) > 0) last = std::max(last, receipt.at);
      }
      return left.empty();
    });
    return all ? std::chrono::ceil<milliseconds>(last - begin) : milliseconds::max();
  }

  milliseconds other_takes_over() {
    if (first_.pid() < 0) {
      const std::uint64_t before = newest();
      first_.start();
      wait_for([&] { return newest() > before; }, "first relay");
    }
    second_.kill();
    wait_for([&] { return senders() == 1; }, "end of the second relay");
    const std::uint64_t before = newest();
    second_.start();
    wait_for([&] { return newest() > before && senders() == 2; }, "second relay");
    const std::uint64_t number = newest();
    keep_busy(number);
    const auto begin = Clock::now();
    second_.kill();
    return resumed(sent_by(number), begin);
  }

  /// The first relay is alone.
  milliseconds same_takes_up() {
    second_.kill();
    wait_for([&] { return senders() == 1; }, "end of the second relay");
    const std::uint64_t number = newest();
    keep_busy(number);
    first_.kill();
    const auto sent = sent_by(number);
    const auto begin = Clock::now();
    first_.start();
    return resumed(sent, begin);
  }

  milliseconds hung_is_left() {
    const std::uint64_t before = newest();
    second_.start();
    wait_for([&] { return newest() > before && senders() == 2; }, "second relay");
    const std::uint64_t number = newest();
    keep_busy(number);
    const auto begin = Clock::now();
    ::kill(second_.pid(), SIGSTOP);
    const milliseconds took = resumed(sent_by(number), begin);
    second_.kill();
    return took;
  }

  void finish() {
    if (second_.pid() < 0) second_.start();
    const bool empty = wait_until(Clock::now() + kPatience, [&] { return queued() == 0; });
    report("nothing is left in the queue", empty ? 0 : queued());
    std::unordered_set<std::uint64_t> came;
    for (const Receipt& receipt : ledger_.receipts()) came.insert(receipt.delivery);
    report("nothing is lost between the relays",
           connection_.must_number("SELECT COUNT(*) FROM webhook_deliveries") - came.size());
    const bool in_order = first_.stop(seconds(20));
    report("both relays stop in order", second_.stop(seconds(20)) && in_order ? 0 : 1);
  }

  const DatabaseAddress address_ = DatabaseAddress::of_environment();
  const std::atomic<bool> stopping_ = false;
  Connection connection_{address_, stopping_};
  Ledger ledger_;
  WebhookTables tables_;
  RelayProcess first_, second_;
  std::set<std::uint64_t> seen_;  ///< the relays that had something in hand in the last share()
};

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 6) throw std::runtime_error("usage: chaos_relays RELAY CONFIG FOLDER SEED hang|no-hang");
    Test(argv).run(std::string(argv[5]) == "hang");
  } catch (const std::exception& error) {
    std::cout << "not ok the test itself: " << error.what() << std::endl;
    return EXIT_FAILURE;
  }
}
