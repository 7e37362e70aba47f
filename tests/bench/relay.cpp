// The relay without its event log: the real mailbox, hub and I/O loop, on a unix socket and a TCP port, and a publisher
// in the event reader's place that a socket commands.
//   bench_relay FOLDER PORT CHANNELS TOKENS
// makes FOLDER/relay.sock, FOLDER/control.sock and FOLDER/tokens (one a line). Commands are lines on the control
// socket: "publish COUNT SIZE AT" hands COUNT events of SIZE bytes to every channel session.1 ... at once.

#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "publisher.hpp"
#include "relay/frame.hpp"
#include "relay/io_loop.hpp"
#include "relay/mailbox.hpp"
#include "shared/config.hpp"
#include "shared/events.hpp"
#include "shared/tokens.hpp"

namespace {

using namespace gamepicker;

/// Every channel is there and new; nothing is in the log and nothing gets into it.
class NoLog final : public ChannelTracker, public History, public ClientEvents, public Presence, public RelayEvents {
 public:
  explicit NoLog(Feed& feed) : feed_(feed) {}
  void track(std::string channel) override { feed_.tracked(channel, 0); }
  void untrack(std::string) override {}
  void read(std::string channel, std::uint64_t after) override {
    feed_.history({std::move(channel), after, 0, 0, 0, {}});
  }
  bool write(ClientEvent) override { return false; }
  void ask(PresenceRequest) override {}
  void leave(std::string, std::string, const std::string&) override {}
  bool wants(RelayEventType) const override { return false; }
  void write(RelayEvent) override {}

 private:
  Feed& feed_;
};

/// Offsets only rise, so that they hold for channels that are left and tracked again.
class Publisher {
 public:
  Publisher(Feed& feed, std::size_t channels) : feed_(feed) {
    for (std::size_t i = 1; i <= channels; ++i) channels_.push_back(session_channel(static_cast<std::int64_t>(i)));
  }

  void publish(std::size_t count, std::size_t size, std::uint64_t at) {
    const std::string bytes = encode_text_frame(bench::event_text("type", at, size));
    std::vector<FramePtr> frames;
    frames.reserve(count * channels_.size());
    for (std::size_t i = 0; i < count; ++i) {
      ++offset_;
      for (const std::string& channel : channels_) {
        frames.push_back(std::make_shared<Frame>(Frame{channel, offset_, bytes, {}, 1, {}, {}}));
      }
    }
    feed_.publish(std::move(frames));
  }

 private:
  Feed& feed_;
  std::vector<std::string> channels_;
  std::uint64_t offset_ = 0;
};

[[noreturn]] void serve_control(const std::string& path, Publisher& publisher) {
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  if (::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener, 16) != 0) {
    throw std::runtime_error("cannot listen on " + path);
  }
  for (;;) {
    const int socket = ::accept(listener, nullptr, nullptr);
    std::string text;
    char bytes[4096];
    for (ssize_t got = 0; (got = ::recv(socket, bytes, sizeof bytes, 0)) > 0;) {
      text.append(bytes, static_cast<std::size_t>(got));
      for (std::size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n')) {
        std::istringstream line(text.substr(0, end));
        text.erase(0, end + 1);
        std::string command;
        std::size_t count = 0;
        std::size_t size = 0;
        std::uint64_t at = 0;
        if (line >> command >> count >> size >> at && command == "publish") publisher.publish(count, size, at);
      }
    }
    ::close(socket);
  }
}

void write_tokens(const std::string& path, const std::string& secret, int count) {
  const TokenAuthority authority(secret);
  std::ofstream file(path);
  for (int i = 0; i < count; ++i) {
    file << authority.issue(Role::viewer, "client-" + std::to_string(i), std::chrono::hours(24)) << '\n';
  }
}

void run(const std::string& folder, const std::string& port, std::size_t channels, int tokens) {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);

  Config config;
  config.jwt_secret = "a secret of the benchmark, long enough";
  config.relay_socket = folder + "/relay.sock";
  config.relay_listen = "127.0.0.1:" + port;
  config.relay_max_connections = 20'000;
  config.relay_max_connections_per_address = 20'000;
  write_tokens(folder + "/tokens", config.jwt_secret, tokens);

  Mailbox mailbox;
  NoLog log(mailbox);
  IoMetrics metrics;
  IoLoop loop(config, mailbox, {log, log, log, log, log}, metrics, ::eventfd(0, EFD_CLOEXEC));
  std::thread([&loop] { loop.run(); }).detach();  // until the program is killed
  Publisher publisher(mailbox, channels);
  serve_control(folder + "/control.sock", publisher);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "usage: bench_relay FOLDER PORT CHANNELS TOKENS\n";
    return 2;
  }
  try {
    run(argv[1], argv[2], std::stoul(argv[3]), std::atoi(argv[4]));
  } catch (const std::exception& error) {
    std::cerr << "bench_relay: " << error.what() << '\n';
    return 1;
  }
}
