#include "tests/chaos/writers.hpp"

#include <algorithm>
#include <chrono>
#include <optional>
#include <random>
#include <stdexcept>

#include "shared/nudge.hpp"
#include "tests/bench/load_frames.hpp"

namespace chaos {
namespace {

using Clock = std::chrono::steady_clock;
using gamepicker::test::Connection;
using std::chrono::milliseconds;

constexpr std::size_t kWriters = 8;
constexpr std::size_t kMaxEvents = 4;  ///< of a transaction
constexpr std::size_t kMaxPad = 200;
constexpr std::uint64_t kRolledBackPerMille = 20;
constexpr std::uint64_t kHeldPerMille = 2;
constexpr double kLongestHold = 2000;  ///< ms
constexpr std::uint64_t kNudgedPercent = 90;
constexpr std::uint64_t kLookBack = 20'000;
constexpr std::uint64_t kMarker = kWriters;  ///< stands where a writer's number does

std::string key_of(std::uint64_t writer, std::uint64_t number) {
  return R"("writer":)" + std::to_string(writer) + R"(,"number":)" + std::to_string(number) + ",";
}

}  // namespace

class Writers::Writer {
 public:
  Writer(const WriterSettings& settings, Shared& shared, std::size_t number)
      : settings_(settings),
        shared_(shared),
        number_(number),
        connection_(settings.database, shared.stopping),
        nudge_(settings.nudge),
        random_(settings.seed * 1000 + number) {}

  void run() {
    const auto begin = Clock::now();
    for (;;) {
      const Transaction transaction = make();
      const std::uint64_t before = shared_.planned.fetch_add(transaction.events.size());
      if (before >= settings_.events || shared_.enough) break;
      std::this_thread::sleep_until(begin + milliseconds(before * 1000 / settings_.per_second));
      if (!carry_out(transaction)) break;
    }
    --shared_.running;
  }

  const std::vector<bool>& ledger() const { return ledger_; }
  Connection& connection() { return connection_; }

  /// One event on each channel, by its own key.
  void mark_ends() {
    Transaction transaction;
    for (std::size_t i = 0; i < kChannels; ++i) transaction.events.push_back({i, i, body(kMarker, i)});
    while (!attempt(transaction)) continue;
    nudge_.send();
  }

 private:
  enum class Fate { committed, rolled_back };
  struct Event {
    std::size_t channel;
    std::uint64_t number;
    std::string body;
  };
  struct Transaction {
    std::vector<Event> events;  ///< in the order of their channels' names, as all who take these locks
    bool rolls_back = false;
    milliseconds hold{0};
    bool nudges = true;
  };

  std::uint64_t below(std::uint64_t end) { return random_() % end; }

  std::string body(std::uint64_t writer, std::uint64_t number) {
    return R"({"event":"chaos","timestamp":"2026-01-01T00:00:00.000Z","data":{)" + key_of(writer, number) +
           R"("pad":")" + std::string(below(kMaxPad), static_cast<char>('a' + below(26))) + R"("}})";
  }

  /// All that is random about it; a second attempt is the same again.
  Transaction make() {
    Transaction transaction;
    std::vector<std::size_t> channels(1 + below(kMaxEvents));
    for (std::size_t& channel : channels) channel = below(kChannels);
    std::ranges::sort(channels);
    for (const std::size_t channel : channels) {
      transaction.events.push_back({channel, next_, body(number_, next_)});
      ++next_;
    }
    const std::uint64_t roll = below(1000);
    transaction.rolls_back = roll < kRolledBackPerMille;
    // Short ones are more frequent: everybody else waits for them.
    const double share = static_cast<double>(below(1000)) / 1000;
    const std::uint64_t holds = below(1000);
    if (holds < kHeldPerMille) transaction.hold = milliseconds(static_cast<int>(share * share * kLongestHold));
    transaction.nudges = below(100) < kNudgedPercent;
    return transaction;
  }

  /// False when all is to end.
  bool carry_out(const Transaction& transaction) {
    while (!attempt(transaction)) {
      if (shared_.stopping) return false;
      ++shared_.retried;
    }
    const std::size_t count = transaction.events.size();
    ledger_.insert(ledger_.end(), count, !transaction.rolls_back);
    if (transaction.rolls_back) {
      shared_.rolled_back += count;
      shared_.planned -= count;
    } else {
      shared_.committed += count;
    }
    if (transaction.hold.count() > 0) ++shared_.held;
    if (transaction.nudges) nudge_.send();
    return true;
  }

  /// Whether its fate is sealed; a lost connection before the COMMIT has rolled it back.
  bool attempt(const Transaction& transaction) {
    if (!connection_.ready()) return false;
    for (const Event& event : transaction.events) {
      if (connection_.run("CALL enqueue_event('" + channel_name(event.channel) + "', 'chaos', 'chaos', '" + event.body +
                          "', NULL, " + (settings_.for_webhooks ? "NULL)" : "0)"))) {
        continue;
      }
      connection_.drop();
      return transaction.rolls_back;
    }
    std::this_thread::sleep_for(transaction.hold);
    if (transaction.rolls_back) {
      if (!connection_.run("ROLLBACK")) connection_.drop();
      return true;
    }
    return connection_.run("COMMIT") || was_committed(transaction);
  }

  /// The row lock waits for a COMMIT that is still under way.
  bool was_committed(const Transaction& transaction) {
    ++shared_.unknown;
    connection_.drop();
    std::size_t found = 0;
    for (std::size_t i = 0; i < transaction.events.size();) {
      if (!connection_.ready()) return false;
      const auto looked = look_up(transaction.events[i]);
      if (!looked) {
        connection_.drop();
        continue;
      }
      found += *looked;
      ++i;
    }
    if (found != 0 && found != transaction.events.size()) ++shared_.torn;
    return found != 0;
  }

  std::optional<std::size_t> look_up(const Event& event) {
    const std::string channel = "'" + channel_name(event.channel) + "'";
    std::uint64_t head = 0;
    if (!connection_.number("SELECT head FROM channels WHERE name = " + channel + " FOR UPDATE", head)) return {};
    std::string pattern = event.body.substr(0, event.body.find(R"("pad")"));
    std::uint64_t count = 0;
    if (!connection_.number("SELECT COUNT(*) FROM events WHERE channel = " + channel + " AND seq > " +
                                std::to_string(head > kLookBack ? head - kLookBack : 0) + " AND body LIKE '" + pattern +
                                "%'",
                            count)) {
      return {};
    }
    if (!connection_.run("ROLLBACK")) return {};
    return count;
  }

  const WriterSettings& settings_;
  Shared& shared_;
  const std::size_t number_;
  Connection connection_;
  gamepicker::Nudge nudge_;
  std::mt19937_64 random_;
  std::uint64_t next_ = 0;
  std::vector<bool> ledger_;  ///< by number: whether it was committed
};

Writers::Writers(WriterSettings settings) : settings_(std::move(settings)) {
  mysql_library_init(0, nullptr, nullptr);
  for (std::size_t i = 0; i < kWriters; ++i) {
    writers_.push_back(std::make_unique<Writer>(settings_, shared_, i));
  }
}

Writers::~Writers() {
  shared_.stopping = true;
  for (std::thread& thread : threads_) thread.join();
}

void Writers::start() {
  shared_.running = kWriters;
  for (const auto& writer : writers_) {
    threads_.emplace_back([&writer] {
      writer->run();
      mysql_thread_end();
    });
  }
}

void Writers::mark_ends() {
  writers_.front()->mark_ends();
}

Truth Writers::read_truth() {
  Truth truth;
  const auto complain = [&](const std::string& what) { truth.complaints.push_back(what); };
  std::vector<std::vector<int>> seen(kWriters + 1);
  for (std::size_t i = 0; i < kWriters; ++i) seen[i].resize(writers_[i]->ledger().size());
  seen[kMarker].resize(kChannels);
  Connection& connection = writers_.front()->connection();
  for (std::size_t channel = 0; channel < kChannels; ++channel) {
    connection.check();
    if (!connection.ready()) throw std::runtime_error("the database is away");
    std::vector<std::uint32_t>& hashes = truth.hashes[channel];
    const std::string name = channel_name(channel);
    const bool complete = connection.rows(
        "SELECT seq, body FROM events WHERE channel = '" + name + "' ORDER BY seq", [&](MYSQL_ROW columns) {
          hashes.push_back(hash_of(data_of(columns[1])));
          if (std::stoull(columns[0]) != hashes.size()) complain(name + " has a gap before " + columns[0]);
          const auto writer = bench::number_after(columns[1], R"("writer":)").value_or(seen.size());
          const auto number = bench::number_after(columns[1], R"("number":)").value_or(0);
          if (writer < seen.size() && number < seen[writer].size()) {
            ++seen[writer][number];
          } else {
            complain("of nobody: " + std::string(columns[1]));
          }
        });
    std::uint64_t head = 0;
    if (!complete || !connection.number("SELECT head FROM channels WHERE name = '" + name + "'", head)) {
      throw std::runtime_error("the event log could not be read");
    }
    if (head != hashes.size()) complain(name + " has another head than its last event");
  }
  for (std::size_t writer = 0; writer < kWriters; ++writer) {
    const std::vector<bool>& ledger = writers_[writer]->ledger();
    for (std::size_t i = 0; i < ledger.size(); ++i) {
      if (seen[writer][i] == (ledger[i] ? 1 : 0)) continue;
      complain(key_of(writer, i) + (ledger[i] ? " committed" : " not committed") + ", there " +
               std::to_string(seen[writer][i]) + " times");
    }
  }
  if (shared_.torn > 0) complain(std::to_string(shared_.torn) + " transactions were committed in part");
  return truth;
}

std::string Writers::figures() const {
  const auto text = [](const std::atomic<std::uint64_t>& number) { return std::to_string(number.load()); };
  return text(shared_.committed) + " committed, " + text(shared_.rolled_back) + " rolled back, " + text(shared_.held) +
         " transactions held open, " + text(shared_.retried) + " done again, " + text(shared_.unknown) +
         " commits looked up";
}

}  // namespace chaos
