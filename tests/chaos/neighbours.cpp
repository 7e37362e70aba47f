// Healthy webhooks beside the worst there are: how soon they hear of a commit, and how fast their queue is worked off,
// without such neighbours and with them, each of which has a long queue.
//   chaos_neighbours RELAY CONFIG FOLDER BACKLOG RATE SECONDS
// The database is that of DB_SOCKET, DB_NAME, DB_USER and DB_PASSWORD. Prints figures, and a line "ok WHAT" or "not ok
// WHAT" for each promise.

#include <cstdlib>
#include <exception>
#include <iomanip>
#include <iostream>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

#include "shared/config.hpp"
#include "shared/nudge.hpp"
#include "tests/bench/histogram.hpp"
#include "tests/bench/load_frames.hpp"
#include "tests/chaos/bad_endpoints.hpp"
#include "tests/chaos/report.hpp"
#include "tests/support/relay_process.hpp"
#include "tests/support/sink.hpp"
#include "tests/support/webhook_tables.hpp"

namespace {

using namespace chaos;
using namespace gamepicker::test;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint32_t kHealthy = 8;
constexpr std::size_t kBodySize = 1024;
constexpr milliseconds kTick{10};
constexpr seconds kPatience{120};
constexpr std::uint64_t kMostMemory = 64 * 1024;  ///< KiB

struct Figures {
  double live_rate = 0;     ///< deliveries a second, at a steady pace
  double rate = 0;          ///< while a queue is worked off
  double p50 = 0, p99 = 0;  ///< ms
};

class Test {
 public:
  explicit Test(char** argv)
      : backlog_(std::stoull(argv[4])),
        per_second_(std::stoull(argv[5])),
        events_(per_second_ * std::stoull(argv[6])),
        committed_(events_),
        sink_([this](const Sink::Request& request) { return note(request); }),
        tables_(connection_, gamepicker::Config::load(argv[2], false).secret_key),
        relay_(argv[1], argv[2], argv[3], "neighbours") {
    tables_.clear();
    for (std::uint32_t id = 1; id <= kHealthy; ++id) {
      tables_.add(id, sink_.url("/" + std::to_string(id)), "live." + std::to_string(id));
    }
  }

  void run() {
    const Figures alone = measure("without neighbours");
    std::uint32_t id = kHealthy;
    for (const auto& endpoint : bad_.all()) tables_.add(++id, endpoint.second, "queued");
    tables_.queue(backlog_, kBodySize, kHealthy + 1, id);
    const Figures beside = measure("beside " + std::to_string(backlog_) + " deliveries for each of " +
                                   std::to_string(bad_.all().size()) + " bad ones");
    const auto change = [](double now, double before) { return (now / before - 1) * 100; };
    std::cout << "p99 " << std::showpos << beside.p99 - alone.p99 << " ms, rate at " << std::noshowpos << per_second_
              << " a second " << std::showpos << change(beside.live_rate, alone.live_rate) << " %, highest rate "
              << change(beside.rate, alone.rate) << " %" << std::noshowpos << std::endl;
    std::uint32_t number = kHealthy;
    for (const auto& endpoint : bad_.all()) {
      ++number;
      const std::uint64_t tries =
          connection_.must_number("SELECT COUNT(*) FROM webhook_logs WHERE webhook_id = " + std::to_string(number));
      std::cout << endpoint.first << ": " << tries << " attempts" << std::endl;
      report("the neighbour was tried: " + endpoint.first, tries > 0 ? 0 : 1);
    }
  }

 private:
  Sink::Reply note(const Sink::Request& request) {
    const auto now = Clock::now();
    const std::lock_guard lock(mutex_);
    const std::uint64_t delivery = request.number("x-webhook-delivery");
    if (!came_.insert(delivery).second) repeated_.add("delivery " + std::to_string(delivery));
    std::uint64_t& before = last_[std::string(request.target)];
    if (delivery < before) {
      disorder_.add("delivery " + std::to_string(delivery) + " after " + std::to_string(before) +
                    (live_ ? "" : " of the queue"));
    }
    before = std::max(before, delivery);
    if (came_.size() == 1) first_ = now;
    latest_ = now;
    const auto number = bench::number_after(request.body, R"("number":)");
    if (live_ && number && *number < committed_.size()) {
      const auto took = std::chrono::duration_cast<std::chrono::microseconds>(now - committed_[*number]);
      took_.add(static_cast<std::uint64_t>(std::max<std::int64_t>(took.count(), 0)));
    }
    return {};
  }

  std::size_t came() {
    const std::lock_guard lock(mutex_);
    return came_.size();
  }

  bool wait_for(std::size_t count) {
    const auto limit = Clock::now() + kPatience;
    while (came() < count) {
      if (Clock::now() > limit) return false;
      std::this_thread::sleep_for(kTick);
    }
    return true;
  }

  Figures measure(const std::string& where) {
    {
      const std::lock_guard lock(mutex_);
      came_.clear();
      last_.clear();
      took_ = {};
      live_ = false;
    }
    Figures figures;
    tables_.queue(events_, kBodySize, 1, kHealthy);
    relay_.start();
    bool all = wait_for(events_ * kHealthy);
    {
      const std::lock_guard lock(mutex_);
      const double took = std::chrono::duration<double>(latest_ - first_).count();
      figures.rate = static_cast<double>(came_.size()) / took;
      live_ = true;
    }
    const auto begin = Clock::now();
    write();
    all = wait_for(events_ * kHealthy + events_) && all;
    const std::lock_guard lock(mutex_);
    figures.live_rate = static_cast<double>(events_) / std::chrono::duration<double>(latest_ - begin).count();
    figures.p50 = static_cast<double>(took_.at(0.5)) / 1000;
    figures.p99 = static_cast<double>(took_.at(0.99)) / 1000;
    const std::uint64_t memory = relay_.status("VmHWM");
    std::cout << where << ": " << std::fixed << std::setprecision(1) << figures.rate << " deliveries/s; at "
              << per_second_ << " a second p50 " << figures.p50 << " ms, p99 " << figures.p99 << " ms; relay "
              << memory / 1024 << " MiB at its peak" << std::endl;
    report("the healthy webhooks get everything " + where, all ? 0 : 1);
    disorder_.report("in the order of their events " + where);
    repeated_.report("and nothing twice " + where);
    report("the relay stays below 64 MiB " + where, memory < kMostMemory ? 0 : 1, std::to_string(memory) + " KiB");
    end();
    return figures;
  }

  /// Not before what the healthy ones got is recorded, which would come again, and all were tried.
  void end() {
    const std::string owed = "SELECT COUNT(*) FROM webhook_queue WHERE webhook_id <= " + std::to_string(kHealthy);
    const std::string untried =
        "SELECT COUNT(*) FROM webhooks WHERE id NOT IN (SELECT DISTINCT webhook_id FROM webhook_logs)";
    const auto limit = Clock::now() + kPatience;
    while (connection_.must_number(owed) + connection_.must_number(untried) > 0 && Clock::now() < limit) {
      std::this_thread::sleep_for(kTick);
    }
    relay_.kill();
  }

  /// At a steady pace, each event for one of the healthy webhooks.
  void write() {
    const gamepicker::Nudge nudge(relay_.nudge());
    const auto begin = Clock::now();
    for (std::uint64_t number = 0; number < events_; ++number) {
      std::this_thread::sleep_until(begin + std::chrono::microseconds(number * 1'000'000 / per_second_));
      const std::string id = std::to_string(number % kHealthy + 1);
      connection_.must("CALL enqueue_event('live-" + id + "', 'live." + id + "', 'live.*', '" +
                       WebhookTables::body(number, kBodySize) + "', NULL, NULL)");
      {
        const std::lock_guard lock(mutex_);
        committed_[number] = Clock::now();
      }
      connection_.must("COMMIT");
      nudge.send();
    }
  }

  const DatabaseAddress address_ = DatabaseAddress::of_environment();
  const std::atomic<bool> stopping_ = false;
  const std::uint64_t backlog_, per_second_;
  const std::uint64_t events_;  ///< written at a steady pace; as many are queued for each healthy webhook before
  std::mutex mutex_;            ///< over all that note() sees
  std::vector<Clock::time_point> committed_;
  std::unordered_set<std::uint64_t> came_;
  std::map<std::string, std::uint64_t> last_;  ///< delivery, by target
  Offences repeated_, disorder_;
  bench::Histogram took_;
  bool live_ = false;
  Clock::time_point first_, latest_;
  BadEndpoints bad_;
  Sink sink_;
  Connection connection_{address_, stopping_};
  WebhookTables tables_;
  RelayProcess relay_;
};

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 7) throw std::runtime_error("usage: chaos_neighbours RELAY CONFIG FOLDER BACKLOG RATE SECONDS");
    Test(argv).run();
  } catch (const std::exception& error) {
    std::cout << "not ok the test itself: " << error.what() << std::endl;
    return EXIT_FAILURE;
  }
}
