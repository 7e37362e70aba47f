#include <algorithm>
#include <cstdlib>
#include <map>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <thread>

#include <arpa/inet.h>
#include <boost/test/unit_test.hpp>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay/metrics_text.hpp"
#include "relay/ops_server.hpp"
#include "tests/relay/relay_fixture.hpp"

namespace gamepicker::testing {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

int connect_to(std::uint16_t port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  BOOST_REQUIRE(::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  return socket;
}

/// The whole answer to one request, head and body.
std::string ask(std::uint16_t port, const std::string& request) {
  const int socket = connect_to(port);
  const std::string bytes = request + " HTTP/1.1\r\nHost: test\r\n\r\n";
  BOOST_REQUIRE(::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size()));
  std::string answer;
  char part[65536];
  for (ssize_t got = ::recv(socket, part, sizeof part, 0); got > 0; got = ::recv(socket, part, sizeof part, 0)) {
    answer.append(part, static_cast<std::size_t>(got));
  }
  ::close(socket);
  return answer;
}

/// "200 ok\n": the status and the body.
std::string short_answer(std::uint16_t port, const std::string& request) {
  const std::string answer = ask(port, request);
  BOOST_REQUIRE(answer.starts_with("HTTP/1.1 "));
  return answer.substr(9, 3) + " " + answer.substr(answer.find("\r\n\r\n") + 4);
}

/// Checks each line of an exposition, and returns its samples by name and labels. Throws std::runtime_error.
class Exposition {
 public:
  explicit Exposition(const std::string& text) {
    if (!text.ends_with('\n')) throw std::runtime_error("the last line does not end");
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) take(line);
    end_family();
  }

  /// 0 for what is not there.
  double operator[](const std::string& sample) const {
    const auto found = samples_.find(sample);
    return found == samples_.end() ? 0 : found->second;
  }
  std::size_t families() const { return families_.size(); }

 private:
  void take(const std::string& line) {
    static const std::regex help(R"(# HELP ([a-z_:][a-z0-9_:]*) \S.*)");
    static const std::regex type(R"(# TYPE (\S+) (counter|gauge|histogram))");
    static const std::regex sample(R"re(([a-z_]+)(\{[a-z_]+="[^"\\]*"(?:,[a-z_]+="[^"\\]*")*\})? ([0-9.e+-]+))re");
    std::smatch match;
    if (std::regex_match(line, match, help)) {
      end_family();
      family_ = match[1];
      if (!families_.emplace(family_, "").second) throw std::runtime_error("twice: " + line);
    } else if (std::regex_match(line, match, type)) {
      if (match[1] != family_) throw std::runtime_error("a type of another: " + line);
      families_[family_] = match[2];
      if ((match[2] == "counter") != family_.ends_with("_total")) throw std::runtime_error("a bad name: " + line);
    } else if (std::regex_match(line, match, sample)) {
      take_sample(match[1], match[2], std::stod(match[3]));
    } else {
      throw std::runtime_error("not a line of the format: " + line);
    }
  }

  void take_sample(const std::string& name, const std::string& labels, double value) {
    const bool histogram = families_.at(family_) == "histogram";
    const std::string part = name.starts_with(family_) ? name.substr(family_.size()) : "?";
    if (histogram ? part != "_bucket" && part != "_sum" && part != "_count" : !part.empty()) {
      throw std::runtime_error("a sample of another: " + name);
    }
    if (value < 0) throw std::runtime_error("negative: " + name);
    if (part == "_bucket") {
      if (value < last_bucket_) throw std::runtime_error("buckets do not rise: " + name + labels);
      last_bucket_ = value;
    }
    if (!samples_.emplace(name + labels, value).second) throw std::runtime_error("twice: " + name + labels);
  }

  void end_family() {
    if (!family_.empty() && families_.at(family_) == "histogram" &&
        (samples_.at(family_ + "_count") != samples_.at(family_ + "_bucket{le=\"+Inf\"}") ||
         last_bucket_ != samples_.at(family_ + "_count"))) {
      throw std::runtime_error("the count is not the last bucket: " + family_);
    }
    last_bucket_ = 0;
  }

  std::string family_;
  double last_bucket_ = 0;
  std::map<std::string, std::string> families_;  ///< and their types
  std::map<std::string, double> samples_;
};

struct OpsFixture {
  Metrics metrics;
  OpsServer server{"127.0.0.1:0", metrics};

  OpsFixture() { server.start(); }
  std::string get(const std::string& path) { return short_answer(server.port(), "GET " + path); }
};

/// Numbers as they stand, and by how much they have moved since.
class Moves {
 public:
  explicit Moves(const Relay& relay) : relay_(relay), before_(metrics_text(relay.metrics())) {}

  /// Waits up to 5 s for the move: a client has its bytes before the tick that sent them has ended.
  double of(const std::string& sample, double wanted) const {
    const std::string name = "gamepicker_relay_" + sample;
    double moved = 0;
    for (int i = 0; i < 1000; ++i) {
      moved = Exposition(metrics_text(relay_.metrics()))[name] - before_[name];
      if (moved == wanted) break;
      std::this_thread::sleep_for(5ms);
    }
    return moved;
  }

 private:
  const Relay& relay_;
  const Exposition before_;
};

#define CHECK_MOVED(sample, wanted) BOOST_TEST(moves.of(sample, wanted) == wanted, sample)

}  // namespace

BOOST_FIXTURE_TEST_SUITE(ops_server, OpsFixture)

BOOST_AUTO_TEST_CASE(it_lives_while_the_loop_ticks) {
  BOOST_TEST(get("/livez") == "503 the last tick of the I/O loop has not happened yet\n");
  metrics.io.ticked.note(Clock::now());
  BOOST_TEST(get("/livez") == "200 ok\n");
  metrics.io.ticked.note(Clock::now() - 7s);
  BOOST_TEST(get("/livez").starts_with("503 the last tick of the I/O loop was 7."));
  metrics.draining = true;  // the loop ends first
  BOOST_TEST(get("/livez") == "200 ok\n");
}

BOOST_AUTO_TEST_CASE(it_is_ready_while_the_event_log_is_read_and_it_is_not_ending) {
  BOOST_TEST(get("/readyz") == "503 database: the last read of the event log has not happened yet\n");
  metrics.reader.polled.note(Clock::now());
  BOOST_TEST(get("/readyz") == "200 ok\n");
  metrics.reader.polled.note(Clock::now() - 6s);
  BOOST_TEST(get("/readyz").starts_with("503 database: the last read of the event log was 6."));
  metrics.reader.polled.note(Clock::now());
  metrics.draining = true;
  BOOST_TEST(get("/readyz") == "503 draining\n");
}

BOOST_AUTO_TEST_CASE(there_is_nothing_but_get_of_three_paths) {
  BOOST_TEST(get("/").starts_with("404 "));
  BOOST_TEST(get("/metrics/").starts_with("404 "));
  const std::string refused = ask(server.port(), "POST /metrics");
  BOOST_TEST(refused.starts_with("HTTP/1.1 405 "));
  BOOST_TEST(refused.find("\r\nAllow: GET\r\n") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(metrics_are_prometheus_text_and_every_code_beyond_the_known_is_one) {
  for (const int code : {1000, 3000, 4999, 4999}) metrics.io.closes.add(code);
  metrics.io.tick_time.observe(70us);
  metrics.io.tick_time.observe(5s);
  metrics.io.tick_time.observe(-1s);
  const std::string answer = ask(server.port(), "GET /metrics?x=1");
  BOOST_TEST(answer.find("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n") != std::string::npos);
  const Exposition exposition(answer.substr(answer.find("\r\n\r\n") + 4));
  BOOST_TEST(exposition.families() > 15u);
  BOOST_TEST(exposition["gamepicker_relay_closes_total{code=\"1000\"}"] == 1);
  BOOST_TEST(exposition["gamepicker_relay_closes_total{code=\"other\"}"] == 3);
  BOOST_TEST(exposition["gamepicker_relay_tick_seconds_bucket{le=\"0.0001\"}"] == 2);
  BOOST_TEST(exposition["gamepicker_relay_tick_seconds_count"] == 3);
  BOOST_TEST(exposition["gamepicker_relay_tick_seconds_sum"] == 5.00007);
}

BOOST_AUTO_TEST_CASE(connections_that_say_nothing_keep_nobody_waiting) {
  const int silent[] = {connect_to(server.port()), connect_to(server.port())};
  metrics.io.ticked.note(Clock::now());
  const auto asked_at = Clock::now();
  BOOST_TEST(get("/livez") == "200 ok\n");
  BOOST_TEST((Clock::now() - asked_at < 1s));
  for (const int socket : silent) ::close(socket);
}

BOOST_AUTO_TEST_CASE(only_numeric_addresses_that_are_free_are_taken) {
  for (const char* address : {"", "9464", ":9464", "localhost:9464", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:1x"}) {
    BOOST_CHECK_THROW(OpsServer(address, metrics), std::invalid_argument);
  }
  BOOST_CHECK_THROW(OpsServer("127.0.0.1:" + std::to_string(server.port()), metrics), std::runtime_error);
  OpsServer v6("[::1]:0", metrics);
  BOOST_TEST(v6.port() != 0);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(relay_metrics, RelayFixture)

BOOST_AUTO_TEST_CASE(counters_move_by_exactly_what_a_client_did) {
  const Moves moves(*relay);
  auto client = connect();
  client->send_text(R"({"type":"subscribe","sessionId":1})");
  client->next_text();
  CHECK_MOVED("handshakes_total{status=\"101\"}", 1);
  CHECK_MOVED("connections", 1);
  CHECK_MOVED("subscriptions", 2);  // and the channel of all clients
  CHECK_MOVED("sent_frames_total", 3);
  commit("session.1", 5);
  for (int i = 0; i < 5; ++i) client->next_text();
  CHECK_MOVED("sent_frames_total", 8);
  CHECK_MOVED("event_lag_seconds_count", 5);
  CHECK_MOVED("commit_to_socket_seconds_count", 5);
  BOOST_TEST(Exposition(metrics_text(relay->metrics()))["gamepicker_relay_commit_to_socket_seconds_sum"] < 5);
  client->send_frame(8, std::string("\x03\xE8", 2));
  BOOST_TEST(client->next_close() == "1000 ");
  client.reset();
  CHECK_MOVED("closes_total{code=\"1000\"}", 1);
  CHECK_MOVED("connections", 0);
  CHECK_MOVED("subscriptions", 0);
  CHECK_MOVED("queue_bytes", 0);
  CHECK_MOVED("sent_frames_total", 9);
  CHECK_MOVED("closes_total{code=\"1006\"}", 0);
}

BOOST_AUTO_TEST_CASE(a_loop_with_nothing_to_do_ticks_all_the_same) {
  const IoMetrics& io = relay->metrics().io;
  for (int i = 0; i < 500 && !io.ticked.age(Clock::now()); ++i) std::this_thread::sleep_for(10ms);
  Clock::duration longest{0};
  for (const auto end = Clock::now() + 2500ms; Clock::now() < end; std::this_thread::sleep_for(10ms)) {
    longest = std::max(longest, io.ticked.age(Clock::now()).value());
  }
  BOOST_TEST((longest > 500ms));  // it had nothing to do indeed
  BOOST_TEST((longest < 3s));
}

BOOST_AUTO_TEST_CASE(bytes_are_counted_as_they_arrive) {
  const Moves moves(*relay);
  RawClient client(relay->socket());
  client.send_bytes("GET / HTTP/1.1\r\n\r\n");
  const std::string answer = client.read_to_end();
  CHECK_MOVED("sent_bytes_total", static_cast<double>(answer.size()));
  CHECK_MOVED("sends_total", 1);
  CHECK_MOVED("sent_frames_total", 0);
  CHECK_MOVED("handshakes_total{status=\"400\"}", 1);
  CHECK_MOVED("connections", 0);
}

BOOST_AUTO_TEST_CASE(a_client_that_vanishes_is_a_1006) {
  const Moves moves(*relay);
  connect().reset();
  CHECK_MOVED("closes_total{code=\"1006\"}", 1);
  CHECK_MOVED("connections", 0);
}

BOOST_AUTO_TEST_CASE(recoveries_are_counted_by_where_the_events_came_from) {
  commit("session.1", 3);
  const Moves moves(*relay);
  const auto subscribe = [&](int offset) {
    auto client = connect();
    client->send_text(R"({"type":"subscribe","channel":"session.1","offset":)" + std::to_string(offset) + "}");
    client->next_text();
    return client;
  };
  const auto first = subscribe(1);  // nothing is at hand yet
  CHECK_MOVED("recoveries_total{result=\"history\"}", 1);
  const auto second = subscribe(1);
  CHECK_MOVED("recoveries_total{result=\"recent\"}", 1);
  const auto third = subscribe(99);
  CHECK_MOVED("recoveries_total{result=\"not_recovered\"}", 1);
  CHECK_MOVED("recoveries_total{result=\"history\"}", 1);
  CHECK_MOVED("recoveries_total{result=\"recent\"}", 1);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker::testing
