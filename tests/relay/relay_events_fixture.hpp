#pragma once

#include <regex>

#include <boost/test/unit_test.hpp>

#include "relay/relay_event_writer.hpp"
#include "tests/relay/relay_fixture.hpp"

namespace gamepicker::testing {

using Type = RelayEventType;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

/// A relay whose way to the database can be taken away, with a bound of clients that a burst does not reach.
struct RelayEventsFixture : RelayFixture {
  RelayEventsFixture() {
    database.execute("CREATE USER " + user() + "; GRANT ALL ON " + database.name() + ".* TO " + user());
    config.db_user = database.name();
    config.relay_max_connections = 15'000;
    config.relay_max_connections_per_address = 15'000;
    restart_relay();
    expect_wanted(Type::connection, false);
  }
  ~RelayEventsFixture() {
    relay.reset();
    database.execute("DROP USER " + user());
  }

  std::string user() const { return "'" + database.name() + "'@'localhost'"; }

  /// The relay's sessions end, and it gets no other.
  void take_database_away() {
    database.execute("ALTER USER " + user() + " ACCOUNT LOCK");
    for (const auto& row :
         database.query("SELECT id FROM information_schema.processlist WHERE user = '" + database.name() + "'")) {
      try {
        database.execute("KILL " + row.at(0));
      } catch (const std::runtime_error&) {
        // has ended by itself
      }
    }
  }
  void bring_database_back() { database.execute("ALTER USER " + user() + " ACCOUNT UNLOCK"); }

  void expect_wanted(Type type, bool wanted) const {
    BOOST_TEST_REQUIRE(waits_until([&] { return relay->wanted().contains(type) == wanted; }), name_of(type));
  }

  /// For events about matching channels only, when `like` is given. Without a nudge.
  void add_webhook(const std::string& pattern, const std::string& like = "") {
    database.execute(
        "INSERT INTO webhooks (name, url, sealed_secret, all_channels) VALUES ('w', 'http://[::1]/', '', " +
        std::string(like.empty() ? "1" : "0") + ")");
    const std::string id = database.value("SELECT MAX(id) FROM webhooks");
    database.execute("INSERT INTO webhook_patterns (webhook_id, pattern, position) VALUES (" + id + ", '" + pattern +
                     "', 0)");
    if (like.empty()) return;
    database.execute("INSERT INTO webhook_channels (webhook_id, pattern, like_pattern, position) VALUES (" + id +
                     ", 'x', '" + like + "', 0)");
  }

  /// The same, and returns when the relay knows of it.
  void want(Type type) {
    add_webhook(std::string(name_of(type)));
    expect_wanted(type, true);
  }

  std::string count(const std::string& type) {
    return database.value("SELECT COUNT(*) FROM events WHERE channel = 'webhook/events' AND type = '" + type + "'");
  }

  bool waits_until_count(const std::string& type, const std::string& wanted, std::chrono::seconds limit = 5s) {
    const auto until = Clock::now() + limit;
    while (count(type) != wanted && Clock::now() < until) std::this_thread::sleep_for(10ms);
    return count(type) == wanted;
  }

  /// The bodies of the events of one type, in the order of the log. Times that are of today become T.
  std::vector<std::string> bodies(const std::string& type) {
    std::vector<std::string> found;
    for (const auto& row : database.query("SELECT body, created_at >= UTC_TIMESTAMP() - INTERVAL 1 HOUR FROM events "
                                          "WHERE channel = 'webhook/events' AND type = '" +
                                          type + "' ORDER BY seq")) {
      std::string body;
      static const std::regex number("\\b\\d{13}\\b");
      const std::string& text = row.at(0);
      auto at = text.begin();
      for (std::sregex_iterator match(text.begin(), text.end(), number), end; match != end; ++match) {
        body.append(at, text.begin() + match->position());
        const auto age = now() - Timestamp(std::chrono::milliseconds(std::stoll(match->str())));
        body += age >= 0s && age < 1h ? "T" : match->str();
        at = text.begin() + match->position() + match->length();
      }
      found.push_back(body.append(at, text.end()));
    }
    return found;
  }

  /// "connection subscribe:orders ...": what was written of a socket, in the order of the log.
  std::string story(const std::string& socket_id) {
    std::string story;
    for (const auto& row : database.query("SELECT type, COALESCE(JSON_VALUE(body, '$.data.channel'), '') FROM events "
                                          "WHERE channel = 'webhook/events' AND body LIKE '%\"socketId\":\"" +
                                          socket_id + "\"%' ORDER BY seq")) {
      story += (story.empty() ? "" : " ") + row.at(0) + (row.at(1).empty() ? "" : ":" + row.at(1));
    }
    return story;
  }
};

}  // namespace gamepicker::testing
