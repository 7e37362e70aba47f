// The load generator: WebSocket clients, and how fast they get what is published. Prints a line of JSON for each
// measurement.
//   bench_load MODE OPTION=VALUE...
// fanout  has events published, as many as the clients take, for SECONDS, for each of `runs`
// listen  waits until every client has got `events` events
// idle    stays connected for `hold` seconds, after `runs` if there are any
// return  waits until the server goes away, and until all are back with what they have missed: up to event `events`
// Options: to= path= dialect=gamepicker|plain token-file= clients= channels= in-flight= sample= seconds= hold= events=
//   control=SOCKET (commands to the publisher, see relay.cpp), or post=HOST:PORT (POST /pub/CHANNEL)
//   runs=1x200,32x2000 (events at once x their size), say=TEXT (a line for the publisher when all are subscribed)
// Writes "ready" to stderr when all are subscribed.

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "load_clients.hpp"
#include "publisher.hpp"

namespace {

using bench::LoadClients;
using bench::monotonic_ns;

constexpr double kConnectSeconds = 60;
constexpr double kPatience = 60;    // seconds without the end of what was published
constexpr std::size_t kWindow = 2;  // bursts under way: the next is there when one is through

class Options {
 public:
  Options(int argc, char** argv) {
    for (int i = 2; i < argc; ++i) {
      const std::string word = argv[i];
      const std::size_t sign = word.find('=');
      if (sign == std::string::npos) throw std::runtime_error("not an option: " + word);
      values_[word.substr(0, sign)] = word.substr(sign + 1);
    }
  }
  std::string text(const std::string& key, const std::string& otherwise = "") const {
    const auto found = values_.find(key);
    return found == values_.end() ? otherwise : found->second;
  }
  std::size_t number(const std::string& key, std::size_t otherwise) const {
    const std::string value = text(key);
    return value.empty() ? otherwise : std::stoul(value);
  }

 private:
  std::map<std::string, std::string> values_;
};

/// Tells whoever publishes: by lines, or by HTTP requests, whose answers LoadClients reads away.
class Command {
 public:
  Command(const Options& options, LoadClients& clients) : clients_(clients), channels_(options.number("channels", 1)) {
    const std::string control = options.text("control");
    post_ = options.text("post");
    if (control.empty() && post_.empty()) return;
    socket_ = control.empty() ? connect_tcp() : connect_unix(control);
    if (socket_ < 0) throw std::runtime_error("no publisher there");
    clients_.watch(socket_, false);
  }
  ~Command() {
    if (socket_ >= 0) ::close(socket_);
  }
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  void publish(std::size_t count, std::size_t size) {
    const std::uint64_t at = monotonic_ns();
    if (post_.empty())
      return say("publish " + std::to_string(count) + ' ' + std::to_string(size) + ' ' + std::to_string(at));
    const std::string body = bench::event_text("type", at, size);
    const std::string rest =
        " HTTP/1.1\r\nHost: bench\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    for (std::size_t i = 0; i < count; ++i) {
      for (std::size_t channel = 1; channel <= channels_; ++channel) {
        unsent_ += "POST /pub/" + std::to_string(channel) + rest;
      }
    }
    flush();
  }
  void say(const std::string& line) {
    unsent_ += line + '\n';
    flush();
  }
  /// Sends on what the socket did not take at once.
  void flush() {
    if (unsent_.empty()) return;
    const ssize_t sent = ::send(socket_, unsent_.data(), unsent_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) unsent_.erase(0, static_cast<std::size_t>(sent));
    clients_.watch(socket_, !unsent_.empty());
  }

 private:
  static int connect_unix(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    return connected(AF_UNIX, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }
  int connect_tcp() const {
    const std::size_t colon = post_.find(':');
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(std::stoul(post_.substr(colon + 1))));
    ::inet_pton(AF_INET, post_.substr(0, colon).c_str(), &address.sin_addr);
    return connected(AF_INET, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }
  static int connected(int family, const sockaddr* address, socklen_t size) {
    const int socket = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return ::connect(socket, address, size) == 0 ? socket : -1;
  }

  LoadClients& clients_;
  const std::size_t channels_;
  std::string post_;
  int socket_ = -1;
  std::string unsent_;
};

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void print_latency(const bench::Histogram& latency) {
  const auto ms = [](std::uint64_t ns) { return static_cast<double>(ns) / 1e6; };
  std::printf(R"("p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f)", ms(latency.at(0.5)), ms(latency.at(0.99)),
              ms(latency.max()));
}

/// Polls until `done`; throws when nothing has come for long.
template <typename Done>
void poll_until(LoadClients& clients, Command& command, Done done) {
  std::uint64_t before = clients.messages;
  std::uint64_t since = monotonic_ns();
  while (!done()) {
    clients.poll(100);
    if (clients.watched_is_writable()) command.flush();
    if (clients.messages != before) {
      before = clients.messages;
      since = monotonic_ns();
    } else if (static_cast<double>(monotonic_ns() - since) > kPatience * 1e9) {
      throw std::runtime_error("nothing came for long, after " + std::to_string(before) + " messages");
    }
  }
}

void fanout(LoadClients& clients, Command& command, std::size_t count, std::size_t size, double seconds,
            std::size_t subscribers) {
  const std::size_t window = count == 1 ? 1 : kWindow;
  const std::size_t burst = count * subscribers;  // each hears one channel
  const std::uint64_t messages = clients.messages;
  const std::uint64_t bytes = clients.bytes;
  const double cpu = cpu_seconds();
  clients.latency = {};
  const std::uint64_t begin = monotonic_ns();
  std::size_t published = 0;
  const auto elapsed = [&] { return static_cast<double>(monotonic_ns() - begin) / 1e9; };
  for (; elapsed() < seconds; ++published) {
    command.publish(count, size);
    // The first alone: for a slow server one may be enough.
    const std::size_t under_way = published == 0 ? 0 : window - 1;
    poll_until(clients, command,
               [&] { return clients.messages - messages + under_way * burst >= (published + 1) * burst; });
  }
  poll_until(clients, command, [&] { return clients.messages - messages >= published * burst; });
  const double took = elapsed();
  const auto got = static_cast<double>(clients.messages - messages);
  std::printf(R"({"at_once":%zu,"size":%zu,"messages":%.0f,"per_second":%.0f,"mb_per_second":%.1f,)", count, size, got,
              got / took, static_cast<double>(clients.bytes - bytes) / took / 1e6);
  print_latency(clients.latency);
  std::printf(R"(,"own_cpu":%.2f})"
              "\n",
              (cpu_seconds() - cpu) / took);
  std::fflush(stdout);
}

void fanouts(LoadClients& clients, Command& command, const Options& options) {
  std::istringstream runs(options.text("runs", "1x200"));
  for (std::string run; std::getline(runs, run, ',');) {
    const std::size_t times = run.find('x');
    fanout(clients, command, std::stoul(run), std::stoul(run.substr(times + 1)),
           std::stod(options.text("seconds", "1")), options.number("clients", 1));
  }
}

void listen(LoadClients& clients, Command& command, const Options& options) {
  const std::size_t wanted = options.number("events", 1) * options.number("clients", 1);
  poll_until(clients, command, [&] { return clients.messages >= wanted; });
  std::printf(R"({"messages":%llu,)", static_cast<unsigned long long>(clients.messages));
  print_latency(clients.latency);
  std::printf("}\n");
}

void idle(LoadClients& clients, const Options& options) {
  const std::uint64_t end = monotonic_ns() + options.number("hold", 1) * 1'000'000'000u;
  while (monotonic_ns() < end) clients.poll(100);
}

void come_back(LoadClients& clients, Command& command, const Options& options) {
  poll_until(clients, command, [&] { return clients.lost > 0; });
  poll_until(clients, command, [&] { return clients.all_ready(); });
  const double ready = static_cast<double>(monotonic_ns() - clients.first_lost) / 1e9;
  poll_until(clients, command, [&] { return clients.lowest_offset() >= options.number("events", 1); });
  const double complete = static_cast<double>(monotonic_ns() - clients.first_lost) / 1e9;
  std::printf(R"({"back_s":%.2f,"complete_s":%.2f,"recovered":%llu,"gaps":%llu,"refused":%llu})"
              "\n",
              ready, complete, static_cast<unsigned long long>(clients.recovered),
              static_cast<unsigned long long>(clients.gaps), static_cast<unsigned long long>(clients.refused));
}

bench::Target target_of(const Options& options) {
  bench::Target target;
  target.address = options.text("to");
  target.path = options.text("path", "/api/sessions/live");
  target.gamepicker = options.text("dialect", "gamepicker") == "gamepicker";
  target.clients = options.number("clients", 1);
  target.channels = options.number("channels", 1);
  target.in_flight = options.number("in-flight", 200);
  target.sample = options.number("sample", 1);
  std::ifstream tokens(options.text("token-file"));
  for (std::string token; tokens >> token;) target.tokens.push_back(token);
  if (target.gamepicker && target.tokens.empty()) throw std::runtime_error("the dialect gamepicker needs a token-file");
  return target;
}

void run(const std::string& mode, const Options& options) {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  LoadClients clients(target_of(options));
  clients.resume = mode == "return";
  Command command(options, clients);
  const std::uint64_t begin = monotonic_ns();
  clients.connect_all(kConnectSeconds);
  const double took = static_cast<double>(monotonic_ns() - begin) / 1e9;
  std::printf(R"({"subscribed":%zu,"per_second":%.0f})"
              "\n",
              clients.ready(), static_cast<double>(clients.ready()) / took);
  std::fflush(stdout);
  std::cerr << "ready\n";
  if (!options.text("say").empty()) command.say(options.text("say"));
  if (mode == "fanout" || !options.text("runs").empty()) fanouts(clients, command, options);
  if (mode == "listen") listen(clients, command, options);
  if (mode == "idle") idle(clients, options);
  if (mode == "return") come_back(clients, command, options);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc < 3) throw std::runtime_error("usage: bench_load fanout|listen|idle|return OPTION=VALUE...");
    run(argv[1], Options(argc, argv));
    return EXIT_SUCCESS;
  } catch (const std::exception& error) {
    std::cerr << "bench_load: " << error.what() << '\n';
    return EXIT_FAILURE;
  }
}
