// What webhooks hear of the relay itself: which events, in which order, through bursts and without the database.

#include <algorithm>
#include <deque>
#include <regex>

#include <boost/test/unit_test.hpp>

#include "relay/relay_event_writer.hpp"
#include "tests/relay/relay_fixture.hpp"

using namespace gamepicker;
using namespace gamepicker::testing;
using namespace std::chrono_literals;

namespace {

using Type = RelayEventType;
using Clock = std::chrono::steady_clock;

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

std::string unsubscribe(const std::string& channel) {
  return R"({"type":"unsubscribe","channel":")" + channel + "\"}";
}

}  // namespace

namespace std {
std::ostream& operator<<(std::ostream& out, const std::vector<std::string>& lines) {
  for (const std::string& line : lines) out << line << '\n';
  return out;
}
}  // namespace std

BOOST_FIXTURE_TEST_SUITE(relay_events, RelayEventsFixture)

BOOST_AUTO_TEST_CASE(each_event_says_exactly_this) {
  add_webhook("*");
  expect_wanted(Type::client_event, true);
  auto client = connect(Role::bot, "ann \\\"a\\\"");
  const std::string id = last_socket_id;
  client->send_text(subscribe("presence-lobby", R"(,"data":{"colour":"red","n":[1,null]})"));
  client->next_text();
  client->send_text(R"({"type":"subscribe","sessionId":1})");
  client->next_text();
  client->send_text(
      R"({"type":"client_event","channel":"presence-lobby","event":"client-typing","data":{"from":{"x":"}"}},"ack":"1"})");
  BOOST_TEST(client->next_text() == R"({"type":"ack","ack":"1"})");
  client->send_text(R"({"type":"client_event","channel":"presence-lobby","event":"client-idle","ack":"2"})");
  BOOST_TEST(client->next_text() == R"({"type":"ack","ack":"2"})");
  client->send_text(unsubscribe("presence-lobby"));
  client->next_text();
  BOOST_TEST_REQUIRE(waits_until_count("presence_leave", "1"));
  client->send_frame(8, "\x0f\xa1so long");
  BOOST_TEST_REQUIRE(waits_until_count("disconnection", "1"));

  const auto of = [](const std::string& type, const std::string& data) {
    return R"({"event":")" + type + R"(","timestamp":T,"data":)" + data + "}";
  };
  using Bodies = std::vector<std::string>;
  const std::string socket = R"("socketId":")" + id + "\"";
  const std::string lobby = R"("channel":"presence-lobby")";
  const std::string ann = R"("ann \\\"a\\\"")";
  BOOST_TEST(bodies("connection") == Bodies{of("connection", "{" + socket + R"(,"connectedAt":T,"user":{"id":)" + ann +
                                                                 R"(,"name":)" + ann + R"(,"role":"bot"}})")});
  BOOST_TEST(bodies("subscribe") ==
             (Bodies{of("subscribe", "{" + socket + "," + lobby + R"(,"channelData":{"colour":"red","n":[1,null]}})"),
                     of("subscribe", "{" + socket + R"(,"channel":"session.1","channelData":null})")}));
  const std::string info = "{" + lobby + R"(,"id":)" + ann + R"(,"info":{"colour":"red","n":[1,null]}})";
  BOOST_TEST(bodies("presence_join") == Bodies{of("presence_join", info)});
  BOOST_TEST(
      bodies("client_event") ==
      (Bodies{of("client_event", "{" + socket + "," + lobby + R"(,"event":"client-typing","data":{"from":{"x":"}"}}})"),
              of("client_event", "{" + socket + "," + lobby + R"(,"event":"client-idle","data":null})")}));
  BOOST_TEST(bodies("unsubscribe") == Bodies{of("unsubscribe", "{" + socket + "," + lobby + "}")});
  BOOST_TEST(bodies("presence_leave") == Bodies{of("presence_leave", info)});
  BOOST_TEST(bodies("disconnection") ==
             Bodies{of("disconnection", "{" + socket + R"(,"code":4001,"reason":"so long"})")});
  // The client's events and those of presence are there for subscribers besides.
  BOOST_TEST(database.value("SELECT COUNT(*) FROM events WHERE channel = 'presence-lobby'") == "4");
  BOOST_TEST(database.value("SELECT COUNT(*) FROM events e LEFT JOIN webhook_deliveries d ON d.event_id = e.id "
                            "WHERE (e.channel = 'webhook/events') <> (d.id IS NOT NULL)") == "0");
  BOOST_TEST(database.value("SELECT COUNT(*) FROM events WHERE body LIKE '%eyJ%'") == "0");  // a token's first bytes
}

BOOST_AUTO_TEST_CASE(what_nobody_wants_is_not_written) {
  add_webhook("game.added");
  add_webhook("connection");
  database.execute("UPDATE webhooks SET enabled = 0 WHERE id = LAST_INSERT_ID()");
  database.execute("UPDATE webhooks SET enabled = 0 WHERE name = 'w'");
  restart_relay();  // which has to find out
  auto early = connect();
  for (int type = 0; type < static_cast<int>(kRelayEventNames.size()); ++type) {
    expect_wanted(static_cast<Type>(type), false);
  }
  auto client = connect();
  client->send_text(subscribe("presence-lobby"));
  client->next_text();
  client->send_text(R"({"type":"client_event","channel":"presence-lobby","event":"client-x","ack":"1"})");
  BOOST_TEST(client->next_text() == R"({"type":"ack","ack":"1"})");
  client->send_text(unsubscribe("presence-lobby"));
  client->next_text();
  client.reset();
  BOOST_TEST_REQUIRE(
      waits_until([&] { return database.value("SELECT COUNT(*) FROM events WHERE type = 'presence.left'") == "1"; }));
  restart_relay();  // all that waited is written
  BOOST_TEST(database.value("SELECT COUNT(*) FROM events WHERE channel = 'webhook/events'") == "0");
  BOOST_TEST(database.value("SELECT COUNT(*) FROM channels WHERE name = 'webhook/events'") == "0");
}

BOOST_AUTO_TEST_CASE(a_webhook_created_just_now_hears_the_next_connection) {
  for (int i = 0; i < 3; ++i) {  // the nudge, not the look that comes every second
    database.execute("DELETE FROM webhook_patterns");
    Nudge(folder + "/nudge.sock").send();
    expect_wanted(Type::connection, false);
    const auto since = Clock::now();
    add_webhook("connection");
    Nudge(folder + "/nudge.sock").send();
    expect_wanted(Type::connection, true);
    BOOST_TEST((Clock::now() - since < 500ms));
  }
  add_webhook("subscribe");
  expect_wanted(Type::subscribe, true);  // without any nudge
  BOOST_TEST(!relay->wanted().contains(Type::disconnection));
}

BOOST_AUTO_TEST_CASE(a_webhook_with_channels_hears_of_these_only) {
  add_webhook("*", "private-%");
  expect_wanted(Type::connection, true);
  auto client = connect();
  client->send_text(subscribe("orders"));
  client->next_text();
  client->send_text(subscribe("private-x"));
  client->next_text();
  client->send_text(unsubscribe("orders"));
  client->next_text();
  client->send_text(unsubscribe("private-x"));
  client->next_text();
  BOOST_TEST_REQUIRE(waits_until_count("unsubscribe", "1"));
  client.reset();
  restart_relay();
  BOOST_TEST(story(last_socket_id) == "subscribe:private-x unsubscribe:private-x");
}

BOOST_AUTO_TEST_CASE(what_became_of_a_client_is_told_once_and_in_order) {
  add_webhook("*");
  expect_wanted(Type::subscribe, true);
  std::vector<std::string> ids;
  for (int i = 0; i < 50; ++i) {
    auto client = connect();
    ids.push_back(last_socket_id);
    for (int twice = 0; twice < 2; ++twice) {
      client->send_text(subscribe("orders"));
      client->next_text();
    }
    client->send_text(R"({"type":"auth","token":")" +
                      TokenAuthority(config.jwt_secret).issue(Role::admin, "tester", 1h) + "\"}");
    client->send_text(unsubscribe("orders"));
    client->send_text(unsubscribe("orders"));
    client->send_text(subscribe("private-y"));
    client->send_text(unsubscribe("private-y"));  // before it is in
    client->send_text(subscribe("orders", R"(,"offset":0)"));
    client->send_text(subscribe("private-x"));
    std::string last;
    while (!last.starts_with(R"({"type":"subscribed","channel":"private-x")")) last = client->next_text();
  }
  BOOST_TEST_REQUIRE(waits_until_count("disconnection", "50"));
  for (const std::string& id : ids) {
    BOOST_TEST(story(id) ==
               "connection subscribe:orders unsubscribe:orders subscribe:orders subscribe:private-x disconnection");
  }
}

BOOST_AUTO_TEST_CASE(a_fresh_token_that_opens_less_unsubscribes) {
  add_webhook("*");
  expect_wanted(Type::unsubscribe, true);
  auto client = connect(Role::viewer, "ann", {"private-x"});
  const std::string id = last_socket_id;
  client->send_text(subscribe("private-x"));
  client->next_text();
  client->send_text(R"({"type":"auth","token":")" + TokenAuthority(config.jwt_secret).issue(Role::viewer, "ann", 1h) +
                    "\"}");
  client->next_text();
  BOOST_TEST_REQUIRE(waits_until_count("unsubscribe", "1"));
  BOOST_TEST(story(id) == "connection subscribe:private-x unsubscribe:private-x");
}

BOOST_AUTO_TEST_CASE(who_is_refused_or_never_authenticates_is_not_told_of) {
  add_webhook("*");
  expect_wanted(Type::connection, true);
  auto stranger = std::make_unique<RawClient>(relay->socket());
  stranger->upgrade();
  stranger->send_text(R"({"type":"auth","token":"wrong"})");
  stranger->next_text();
  stranger->next_text();
  stranger.reset();
  auto viewer = connect(Role::viewer, "ann");
  viewer->send_text(subscribe("private-x"));
  BOOST_TEST(viewer->next_text() == error("Insufficient permissions"));
  viewer->send_text(R"({"type":"subscribe","sessionId":99})");
  BOOST_TEST(viewer->next_text() == error("Session not found"));
  viewer.reset();
  BOOST_TEST_REQUIRE(waits_until_count("disconnection", "1"));
  restart_relay();
  BOOST_TEST(story(last_socket_id) == "connection disconnection");
  BOOST_TEST(database.value("SELECT COUNT(*) FROM events") == "2");
}

BOOST_AUTO_TEST_CASE(an_event_stream_is_a_connection_with_one_subscription) {
  add_webhook("*");
  expect_wanted(Type::connection, true);
  const auto ask = [&](const std::string& query) {
    auto client = std::make_unique<RawClient>(relay->socket());
    client->send_bytes("GET /api/sessions/live?" + query +
                       " HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\nAuthorization: Bearer " +
                       TokenAuthority(config.jwt_secret).issue(Role::viewer, "ann", 1h) + "\r\n\r\n");
    client->read_head();
    return client;
  };
  ask("sessionId=99");  // there is no such session
  auto stream = ask("sessionId=1");
  stream->read_event();
  stream.reset();
  BOOST_TEST_REQUIRE(waits_until_count("disconnection", "1"));
  BOOST_TEST(bodies("subscribe").at(0).ends_with(R"("channel":"session.1","channelData":null}})"));
  BOOST_TEST(bodies("disconnection").at(0).ends_with(R"("code":1006,"reason":""}})"));
  BOOST_TEST(database.value("SELECT GROUP_CONCAT(type ORDER BY seq) FROM events") ==
             "connection,subscribe,disconnection");
}

BOOST_AUTO_TEST_CASE(a_relay_that_stops_tells_of_the_goodbyes) {
  want(Type::disconnection);
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 100; ++i) clients.push_back(connect());
  relay.reset();
  BOOST_TEST(database.value("SELECT COUNT(*) FROM events WHERE body LIKE "
                            "'%\"code\":1012,\"reason\":\"service restart\"}}'") == "100");
}

/// One after the other as fast as they are let in; of `kept` at most the sockets are open at the same time.
constexpr int kBurst = 10'000;
constexpr std::size_t kKept = 4'000;

BOOST_AUTO_TEST_CASE(a_burst_of_10000_connects_loses_none_and_delays_nobody) {
  want(Type::connection);
  want(Type::disconnection);
  auto bystander = connect();
  const std::string token = TokenAuthority(config.jwt_secret).issue(Role::viewer, "ann", 1h);
  Clock::duration longest{};
  {
    std::deque<RawClient> clients;
    for (int i = 0; i < kBurst; ++i) {
      if (clients.size() >= kKept) {
        clients.front().read_head();  // it has got in
        clients.pop_front();
      }
      clients.emplace_back(relay->socket())
          .send_bytes(
              "GET /api/sessions/live HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer " +
              token + "\r\n\r\n");
      if (i % 100 != 0) continue;
      const auto asked = Clock::now();
      bystander->send_text(R"({"type":"ping"})");
      BOOST_TEST_REQUIRE(bystander->next_text() == R"({"type":"pong"})");
      longest = std::max(longest, Clock::now() - asked);
    }
    for (RawClient& client : clients) client.read_head();
  }
  BOOST_TEST((longest < 250ms), std::chrono::duration<double>(longest).count());
  BOOST_TEST(waits_until_count("connection", std::to_string(kBurst + 1), 60s));
  BOOST_TEST(waits_until_count("disconnection", std::to_string(kBurst), 60s));
  BOOST_TEST(database.value("SELECT COUNT(DISTINCT JSON_VALUE(body, '$.data.socketId')) FROM events") ==
             std::to_string(kBurst + 1));
  BOOST_TEST(database.value("SELECT COUNT(*) FROM (SELECT MIN(IF(type = 'connection', seq, NULL)) AS came, "
                            "MIN(IF(type = 'disconnection', seq, NULL)) AS went FROM events "
                            "GROUP BY JSON_VALUE(body, '$.data.socketId')) AS sockets WHERE went < came") == "0");
  BOOST_TEST(relay->metrics().relay_events.dropped.value() == 0u);
}

BOOST_AUTO_TEST_CASE(what_happens_while_the_database_is_away_is_written_when_it_is_back) {
  add_webhook("*");
  expect_wanted(Type::connection, true);
  auto bystander = connect();
  BOOST_TEST_REQUIRE(waits_until_count("connection", "1"));
  take_database_away();
  std::vector<std::string> ids;
  for (int i = 0; i < 1'000; ++i) {
    const auto client = connect();
    ids.push_back(last_socket_id);
  }
  bystander->send_text(R"({"type":"ping"})");
  BOOST_TEST(bystander->next_text() == R"({"type":"pong"})");
  BOOST_TEST(waits_until([&] { return relay->metrics().relay_events.errors.value() > 0; }));
  bring_database_back();
  BOOST_TEST(waits_until_count("disconnection", "1000", 30s));
  BOOST_TEST(count("connection") == "1001");
  for (std::size_t i = 0; i < ids.size(); i += 100) BOOST_TEST(story(ids[i]) == "connection disconnection");
}

BOOST_AUTO_TEST_CASE(a_relay_that_starts_without_the_database_misses_nobody) {
  add_webhook("connection");
  relay.reset();
  take_database_away();
  relay = std::make_unique<Relay>(config, folder);
  auto client = connect();
  bring_database_back();
  BOOST_TEST(waits_until_count("connection", "1"));
}

BOOST_AUTO_TEST_CASE(beyond_the_bound_the_newest_are_dropped_and_counted) {
  add_webhook("*");
  WantedRelayEvents wanted;
  RelayEventMetrics metrics;
  RelayEventWriter writer(config, wanted, metrics);
  constexpr std::size_t kLarge = 1u << 20;
  constexpr std::size_t kMany = RelayEventWriter::kMaxWaitingBytes / kLarge + 10;
  for (std::size_t i = 0; i < kMany; ++i) {
    RelayEvent event;
    event.type = Type::subscribe;
    event.socket_id = std::to_string(i);
    event.channel = "orders";
    event.text = "\"" + std::string(kLarge, 'x') + "\"";
    writer.write(std::move(event));
  }
  BOOST_TEST(metrics.dropped.value() == 11u);  // each is a bit larger than a megabyte
  writer.start();
  BOOST_TEST(waits_until_count("subscribe", std::to_string(kMany - 11), 30s));
  writer.stop();
  BOOST_TEST(metrics.written.value() == kMany - 11);
  BOOST_TEST(database.value("SELECT GROUP_CONCAT(JSON_VALUE(body, '$.data.socketId') ORDER BY seq) FROM events")
                 .starts_with("0,1,2,3,4,5,6,7,8,9,10,"));
}

BOOST_AUTO_TEST_CASE(what_waits_when_it_stops_is_written_or_counted_as_lost) {
  add_webhook("*");
  const auto write_some = [](RelayEventWriter& writer) {
    for (int i = 0; i < 500; ++i) {
      RelayEvent event;
      event.type = Type::unsubscribe;
      event.channel = "orders";
      writer.write(std::move(event));
    }
  };
  WantedRelayEvents wanted;
  RelayEventMetrics metrics;
  {
    RelayEventWriter writer(config, wanted, metrics);
    write_some(writer);
    writer.start();
    writer.stop();
  }
  BOOST_TEST(count("unsubscribe") == "500");
  take_database_away();
  RelayEventWriter writer(config, wanted, metrics);
  write_some(writer);
  writer.start();
  const auto asked = Clock::now();
  writer.stop();
  BOOST_TEST((Clock::now() - asked < 3s));
  bring_database_back();
  BOOST_TEST(count("unsubscribe") == "500");
  BOOST_TEST(metrics.dropped.value() == 500u);
}

BOOST_AUTO_TEST_SUITE_END()
