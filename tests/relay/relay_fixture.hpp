#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include <boost/test/unit_test.hpp>
#include <sys/eventfd.h>
#include <unistd.h>

#include "relay/client_event_writer.hpp"
#include "relay/event_reader.hpp"
#include "relay/history_reader.hpp"
#include "relay/io_loop.hpp"
#include "relay/mailbox.hpp"
#include "relay/presence_keeper.hpp"
#include "relay/relay_event_writer.hpp"
#include "shared/events.hpp"
#include "tests/relay/io_fixture.hpp"
#include "tests/support/database.hpp"

namespace gamepicker::testing {

// Messages as they stand on the wire.

inline std::string subscribe(const std::string& channel, const std::string& more = "") {
  return R"({"type":"subscribe","channel":")" + channel + "\"" + more + "}";
}

inline std::string subscribed(const std::string& channel, int offset, const std::string& more = "") {
  return R"({"type":"subscribed","channel":")" + channel + R"(","offset":)" + std::to_string(offset) + more + "}";
}

inline std::string error(const std::string& message) {
  return R"({"type":"error","message":")" + message + "\"}";
}

/// The offset of an event message.
inline std::uint64_t offset_in(const std::string& text) {
  const auto at = text.rfind("\"offset\":");
  BOOST_TEST_REQUIRE(at != std::string::npos, text);
  return std::stoull(text.substr(at + 9));
}

/// One relay, but for its webhooks, over a real event log.
class Relay {
 public:
  Relay(Config config, const std::string& folder)
      : config_(with_sockets(std::move(config), folder)),
        stop_(::eventfd(0, EFD_CLOEXEC)),
        relay_events_(config_, wanted_, metrics_.relay_events),
        reader_(
            config_, mailbox_, [this] { relay_events_.wake(); }, metrics_.reader),
        history_(config_, mailbox_, metrics_.history_errors),
        client_events_(config_, mailbox_, wanted_, metrics_.client_event_errors),
        presence_(config_, mailbox_, wanted_, metrics_.presence_errors, kTiming),
        loop_(config_, mailbox_, {reader_, history_, client_events_, presence_, relay_events_}, metrics_.io, stop_),
        thread_([this] { loop_.run(); }) {
    relay_events_.start();
    reader_.start();
    history_.start();
    client_events_.start();
    presence_.start();
  }

  ~Relay() {
    ::eventfd_write(stop_, 1);
    thread_.join();
    relay_events_.stop();
    presence_.stop();
    client_events_.stop();
    history_.stop();
    reader_.stop();
    ::close(stop_);
  }

  /// Short leases, so that tests need not wait long for the end of one.
  static constexpr PresenceKeeper::Timing kTiming{std::chrono::milliseconds(1500), std::chrono::milliseconds(300),
                                                  std::chrono::milliseconds(300)};

  const Metrics& metrics() const { return metrics_; }
  const WantedRelayEvents& wanted() const { return wanted_; }
  const std::string& socket() const { return config_.relay_socket; }

 private:
  static Config with_sockets(Config config, const std::string& folder) {
    config.relay_socket = folder + "/relay.sock";
    config.relay_nudge = folder + "/nudge.sock";
    config.relay_nudge_bind = folder + "/nudge.sock";
    return config;
  }

  const Config config_;
  const int stop_;
  Metrics metrics_;
  Mailbox mailbox_;
  WantedRelayEvents wanted_;
  RelayEventWriter relay_events_;
  EventReader reader_;
  HistoryReader history_;
  ClientEventWriter client_events_;
  PresenceKeeper presence_;
  IoLoop loop_;
  std::thread thread_;
};

/// A database with session 1 (active) in it, a relay, and clients for it.
struct RelayFixture {
  RelayFixture() : folder(make_folder()), config(database.config()) {
    database.execute("INSERT INTO sessions () VALUES ()");
    relay = std::make_unique<Relay>(config, folder);
  }
  ~RelayFixture() {
    relay.reset();
    std::filesystem::remove_all(folder);
  }

  static std::string make_folder() {
    char name[] = "/tmp/gamepicker-relay-XXXXXX";
    return ::mkdtemp(name);
  }

  /// Another one in its place, which knows nothing.
  void restart_relay() {
    relay.reset();
    relay = std::make_unique<Relay>(config, folder);
  }

  /// Commits `count` events {"n":1}, {"n":2}, ... on the channel.
  void commit(const std::string& channel, int count, int first = 1) {
    for (int n = first; n < first + count; ++n) {
      const std::string body = event_body("made", "2026-03-15T20:30:00.000Z", "{\"n\":" + std::to_string(n) + "}");
      // One transaction, as always: by themselves the procedure's statements would commit one by one.
      database.execute("BEGIN; CALL enqueue_event('" + channel + "', 'made', '', '" + body + "', NULL, 0); COMMIT");
    }
  }

  std::unique_ptr<RawClient> connect(Role role = Role::admin, const std::string& name = "tester",
                                     const std::vector<std::string>& channels = {}) {
    return connect_to(*relay, role, name, channels);
  }
  std::unique_ptr<RawClient> connect_to(const Relay& where, Role role = Role::admin, const std::string& name = "tester",
                                        const std::vector<std::string>& channels = {}) {
    auto client = std::make_unique<RawClient>(where.socket());
    client->upgrade("Authorization: Bearer " +
                    TokenAuthority(config.jwt_secret).issue(role, name, std::chrono::hours(1), channels) + "\r\n");
    const std::string greeting = client->next_text();
    const std::string key = "\"socketId\":\"";
    last_socket_id = greeting.substr(greeting.find(key) + key.size(), 36);
    client->next_text();  // auth_success
    return client;
  }

  test::TestDatabase database;
  const std::string folder;
  Config config;
  std::unique_ptr<Relay> relay;
  std::string last_socket_id;
};

}  // namespace gamepicker::testing
