#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include <sys/eventfd.h>
#include <unistd.h>

#include "relay/client_event_writer.hpp"
#include "relay/event_reader.hpp"
#include "relay/history_reader.hpp"
#include "relay/io_loop.hpp"
#include "relay/mailbox.hpp"
#include "shared/events.hpp"
#include "tests/relay/io_fixture.hpp"
#include "tests/support/database.hpp"

namespace gamepicker::testing {

/// One relay, but for its webhooks, over a real event log.
class Relay {
 public:
  Relay(Config config, const std::string& folder)
      : config_(with_sockets(std::move(config), folder)),
        stop_(::eventfd(0, EFD_CLOEXEC)),
        reader_(config_, mailbox_, [] {}),
        history_(config_, mailbox_),
        client_events_(config_, mailbox_),
        loop_(config_, mailbox_, reader_, history_, client_events_, stop_),
        thread_([this] { loop_.run(); }) {
    reader_.start();
    history_.start();
    client_events_.start();
  }

  ~Relay() {
    ::eventfd_write(stop_, 1);
    thread_.join();
    client_events_.stop();
    history_.stop();
    reader_.stop();
    ::close(stop_);
  }

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
  Mailbox mailbox_;
  EventReader reader_;
  HistoryReader history_;
  ClientEventWriter client_events_;
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
      database.execute("CALL enqueue_event('" + channel + "', 'made', '', '" + body + "', NULL, 0)");
    }
  }

  std::unique_ptr<RawClient> connect(Role role = Role::admin, const std::string& name = "tester",
                                     const std::vector<std::string>& channels = {}) {
    auto client = std::make_unique<RawClient>(relay->socket());
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
