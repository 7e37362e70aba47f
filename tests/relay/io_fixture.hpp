#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "relay/feed.hpp"
#include "relay/io_loop.hpp"
#include "relay/mailbox.hpp"
#include "shared/config.hpp"
#include "shared/tokens.hpp"

namespace gamepicker::testing {

/// Until it holds, at most twenty seconds; returns whether it does.
bool waits_until(const std::function<bool()>& holds);

/// Stands in for the event reader: answers at once from a table, or holds its answers back.
class FakeTracker final : public ChannelTracker {
 public:
  explicit FakeTracker(Feed& feed) : feed_(feed) {}

  void track(std::string channel) override;
  void untrack(std::string channel) override;

  void set_head(const std::string& channel, std::uint64_t head);
  void hold_answers();
  void release_answers();
  bool waits_until_tracked(const std::string& channel, bool wanted);

 private:
  void answer(const std::string& channel);

  Feed& feed_;
  std::mutex mutex_;
  std::map<std::string, std::uint64_t> heads_;
  std::set<std::string> tracked_;
  std::vector<std::string> held_;
  bool hold_ = false;
};

/// For loops that need no event log: nothing is in it, and nothing gets into it.
class NoHistory final : public History, public ClientEvents, public Presence, public RelayEvents {
 public:
  explicit NoHistory(Feed& feed) : feed_(feed) {}
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

/// A TCP port of the loopback address that nobody uses at the moment.
std::uint16_t free_port();

/// A raw client on a unix socket or a TCP port of the loopback address. Every wait ends after twenty seconds with a
/// failed requirement.
class RawClient {
 public:
  explicit RawClient(const std::string& path);
  explicit RawClient(std::uint16_t port);
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  void send_bytes(std::string_view bytes);
  /// Sends the upgrade request, with more header lines, and reads the answer's head.
  std::string upgrade(const std::string& more_headers = "");
  /// Reads up to the end of an HTTP head.
  std::string read_head();
  /// The next message of an event stream, with the blank line that ends it.
  std::string read_event();
  /// Everything until the server ends the connection.
  std::string read_to_end();
  /// Takes one off the socket, if there is one.
  void read_a_byte();

  void send_frame(int opcode, std::string_view payload);
  void send_text(std::string_view text) { send_frame(1, text); }

  struct Received {
    int opcode;
    std::string payload;
  };
  Received next_frame();
  /// The next text; pings in between are skipped.
  std::string next_text();
  /// Skips everything up to a close frame: "4401 reason".
  std::string next_close();

 private:
  bool fill(int timeout_ms);
  void need(std::size_t bytes);

  int socket_;
  std::string buffer_;
};

/// The I/O side of a relay on a socket of its own, in a thread of its own.
class IoFixture {
 public:
  IoFixture();
  ~IoFixture();

  /// Starts the loop; change `config` before.
  void start();
  /// What SIGTERM does.
  void begin_stop();
  /// The same; returns when the loop has ended.
  void stop();

  /// Upgraded, greeted, not yet authenticated.
  std::unique_ptr<RawClient> connect(const std::string& more_headers = "");
  std::unique_ptr<RawClient> connect_authenticated();
  /// Authenticated and subscribed.
  std::unique_ptr<RawClient> connect_subscribed(int session_id);

  std::string token(std::chrono::seconds lifetime = std::chrono::hours(1)) const;
  void publish(const std::string& channel, std::uint64_t offset, const std::string& text);

  Config config;
  Metrics metrics;
  Mailbox mailbox;
  FakeTracker tracker{mailbox};
  NoHistory no_history{mailbox};

 private:
  std::string folder_;
  int stop_;
  std::unique_ptr<IoLoop> loop_;
  std::thread thread_;
};

}  // namespace gamepicker::testing
