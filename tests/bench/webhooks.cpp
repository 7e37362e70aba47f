// What webhooks cost, on an instance whose own relay is stopped:
//   bench_webhooks cycle relay|floor|other EVENTS URL      events committed by four writers, for 8 of 64 webhooks each,
//                                                          until the last attempt is logged
//   bench_webhooks latency RATE SECONDS                    from COMMIT to the request at the receiver
//   bench_webhooks drain WEBHOOKS EVENTS URL alone|view    events queued for each webhook; view: beside an old snapshot
//   bench_webhooks idle SECONDS                            the relay's queries while there is nothing to do
// RELAY, CONFIG and FOLDER are the relay's program, its configuration and a folder for its sockets and log, URL is
// where webhooks go to; `other` is somebody else who works on the queue. The database is that of DB_SOCKET, DB_NAME,
// DB_USER and DB_PASSWORD. Each prints one JSON object.

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "histogram.hpp"
#include "load_frames.hpp"
#include "shared/config.hpp"
#include "shared/nudge.hpp"
#include "tests/support/relay_process.hpp"
#include "tests/support/sink.hpp"
#include "tests/support/webhook_tables.hpp"
#include "webhook_floor.hpp"

namespace {

using namespace gamepicker::test;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t kWriters = 4;
constexpr std::uint32_t kTypes = 8;
constexpr std::uint32_t kEach = 8;  ///< webhooks that want a type
constexpr std::size_t kBodySize = 1024;
constexpr std::size_t kBatch = 200;
constexpr milliseconds kLook{50};
constexpr seconds kPatience{1800};

std::string type_of(std::uint64_t number) {
  return "bench." + std::to_string(number % kTypes);
}

class Bench {
 public:
  Bench()
      : secret_key_(gamepicker::Config::load(environment("CONFIG"), false).secret_key),
        tables_(connection_, secret_key_),
        relay_(environment("RELAY"), environment("CONFIG"), environment("FOLDER"), "bench") {
    tables_.clear();
  }

  void cycle(const std::string& who, std::uint64_t events, const std::string& url) {
    for (std::uint32_t id = 1; id <= kTypes * kEach; ++id) tables_.add(id, url, type_of(id));
    std::atomic<bool> done = false;
    std::thread floor;
    if (who == "floor") floor = std::thread([&] { bench::run_floor(address_, kBatch, done); });
    if (who == "relay") start_relay();
    const auto begin = Clock::now();
    const std::uint64_t questions = asked();
    write(events, 0, nullptr);
    const double written = since(begin);
    wait_for_logs(events * kEach);
    const double total = since(begin);
    done = true;
    if (floor.joinable()) floor.join();
    const auto deliveries = static_cast<double>(events * kEach);
    std::cout << "{\"deliveries\":" << events * kEach << ",\"per_second\":" << static_cast<int>(deliveries / total)
              << ",\"written_s\":" << written << ",\"total_s\":" << total
              << ",\"statements\":" << (asked_since(questions) - static_cast<double>(events * 2)) / deliveries << "}\n";
  }

  void latency(std::uint64_t rate, std::uint64_t duration) {
    bench::Histogram histogram;
    std::vector<std::atomic<std::int64_t>> committed(rate * duration);
    std::atomic<std::uint64_t> came = 0;
    Sink sink([&](const Sink::Request& request) {
      const auto now = Clock::now().time_since_epoch().count();
      const auto number = bench::number_after(request.body, R"("number":)");
      // The first second is for warming up.
      if (number && *number >= rate && *number < committed.size()) {
        histogram.add(static_cast<std::uint64_t>(std::max<std::int64_t>(now - committed[*number], 0)) / 1000);
      }
      ++came;
      return Sink::Reply();
    });
    for (std::uint32_t id = 0; id < kTypes; ++id) tables_.add(id + 1, sink.url("/"), type_of(id));
    start_relay();
    write(rate * duration, rate, &committed);
    const auto limit = Clock::now() + kPatience;
    while (came < committed.size() && Clock::now() < limit) std::this_thread::sleep_for(kLook);
    relay_.kill();
    std::cout << "{\"rate\":" << rate << ",\"p50_ms\":" << static_cast<double>(histogram.at(0.5)) / 1000
              << ",\"p99_ms\":" << static_cast<double>(histogram.at(0.99)) / 1000
              << ",\"max_ms\":" << static_cast<double>(histogram.max()) / 1000 << "}\n";
  }

  void drain(std::uint32_t webhooks, std::uint64_t events, const std::string& url, bool with_view) {
    for (std::uint32_t id = 1; id <= webhooks; ++id) tables_.add(id, url, "queued");
    Connection view(address_, stopping_);
    if (with_view) {
      view.must("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ");
      view.must("START TRANSACTION WITH CONSISTENT SNAPSHOT");
    }
    tables_.queue(events, kBodySize, 1, webhooks);
    const std::uint64_t total = events * webhooks;
    const std::uint64_t questions = asked();
    const auto begin = Clock::now();
    relay_.start();
    wait_for_logs(total / 10);
    const double first = since(begin);
    wait_for_logs(total - total / 10);
    const double most = since(begin);
    wait_for_logs(total);
    const double all = since(begin);
    const auto count = static_cast<double>(total);
    std::cout << "{\"deliveries\":" << total << ",\"per_second\":" << static_cast<int>(count / all)
              << ",\"first_tenth\":" << static_cast<int>(count / 10 / first)
              << ",\"last_tenth\":" << static_cast<int>(count / 10 / (all - most))
              << ",\"statements\":" << asked_since(questions) / count
              << ",\"rss_mb\":" << static_cast<double>(relay_.status("VmHWM")) / 1024 << "}\n";
    relay_.kill();
  }

  void idle(std::uint64_t duration) {
    start_relay();
    const std::uint64_t questions = asked();
    std::this_thread::sleep_for(seconds(duration));
    std::cout << "{\"queries_per_second\":" << asked_since(questions) / static_cast<double>(duration) << "}\n";
    relay_.kill();
  }

 private:
  static double since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

  /// And waits until it has looked around.
  void start_relay() {
    relay_.start();
    std::this_thread::sleep_for(seconds(1));
  }

  /// The statements the server was sent so far. Those of this connection since the last call are in own_.
  std::uint64_t asked() {
    std::uint64_t value = 0;
    own_ = counted_ + 1;
    counted_ = 0;
    if (!connection_.ready() ||
        !connection_.rows("SHOW GLOBAL STATUS LIKE 'Questions'", [&](MYSQL_ROW row) { value = std::stoull(row[1]); })) {
      throw std::runtime_error(connection_.error());
    }
    return value;
  }

  /// By everybody else, since the server had been sent so many.
  double asked_since(std::uint64_t before) {
    const std::uint64_t now = asked();
    return static_cast<double>(now - before - own_);
  }

  void wait_for_logs(std::uint64_t count) {
    const auto limit = Clock::now() + kPatience;
    while (true) {
      ++counted_;
      // Ids are given out in one piece to an INSERT of several rows: a bound from above, which is quick to ask.
      if (connection_.must_number("SELECT COALESCE(MAX(id), 0) FROM webhook_logs") >= count) {
        ++counted_;
        if (connection_.must_number("SELECT COUNT(*) FROM webhook_logs") >= count) return;
      }
      if (Clock::now() > limit) throw std::runtime_error("not everything is delivered, see " + relay_.log());
      std::this_thread::sleep_for(kLook);
    }
  }

  /// At `rate` a second, 0 for as fast as can be; notes when each COMMIT began.
  void write(std::uint64_t events, std::uint64_t rate, std::vector<std::atomic<std::int64_t>>* committed) {
    std::atomic<std::uint64_t> next = 0;
    const auto begin = Clock::now();
    std::vector<std::thread> threads;
    for (std::uint64_t i = 0; i < kWriters; ++i) {
      threads.emplace_back([&] {
        Connection connection(address_, stopping_);
        const gamepicker::Nudge nudge(relay_.nudge());
        for (std::uint64_t number = next++; number < events; number = next++) {
          if (rate > 0) std::this_thread::sleep_until(begin + std::chrono::microseconds(number * 1'000'000 / rate));
          connection.must("CALL enqueue_event('bench-" + std::to_string(number % kTypes) + "', '" + type_of(number) +
                          "', 'bench.*', '" + WebhookTables::body(number, kBodySize) + "', NULL, NULL)");
          if (committed != nullptr) (*committed)[number] = Clock::now().time_since_epoch().count();
          connection.must("COMMIT");
          nudge.send();
        }
        mysql_thread_end();
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  const DatabaseAddress address_ = DatabaseAddress::of_environment();
  const std::atomic<bool> stopping_ = false;
  const std::string secret_key_;
  Connection connection_{address_, stopping_};
  WebhookTables tables_;
  RelayProcess relay_;
  std::uint64_t counted_ = 0;  ///< statements of ours since the last asked()
  std::uint64_t own_ = 0;
};

void run(const std::vector<std::string>& words) {
  mysql_library_init(0, nullptr, nullptr);
  Bench bench;
  if (words.size() == 4 && words[0] == "cycle") {
    bench.cycle(words[1], std::stoull(words[2]), words[3]);
  } else if (words.size() == 3 && words[0] == "latency") {
    bench.latency(std::stoull(words[1]), std::stoull(words[2]));
  } else if (words.size() == 5 && words[0] == "drain") {
    bench.drain(static_cast<std::uint32_t>(std::stoul(words[1])), std::stoull(words[2]), words[3], words[4] == "view");
  } else if (words.size() == 2 && words[0] == "idle") {
    bench.idle(std::stoull(words[1]));
  } else {
    throw std::runtime_error("usage: see webhooks.cpp");
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::cerr << "bench_webhooks: " << error.what() << '\n';
    return 1;
  }
}
