// Attacks on the limits, carried out in numbers: each meets the fate that is promised, takes next to no memory, and
// leaves those who behave in peace.

#include <chrono>
#include <string>

#include <boost/test/unit_test.hpp>

#include "tests/relay/attack_fixture.hpp"

using namespace gamepicker;
using namespace gamepicker::testing;
using namespace std::chrono_literals;

namespace {

const std::string kPing = R"({"type":"ping"})";

/// A client's frame, its mask all zeros. `announced`: the length its header speaks of.
std::string frame(int first_byte, std::string_view payload, std::uint64_t announced) {
  std::string bytes(1, static_cast<char>(first_byte));
  if (announced < 126) {
    bytes += static_cast<char>(0x80 | announced);
  } else {
    bytes += '\xFF';
    for (int shift = 56; shift >= 0; shift -= 8) bytes += static_cast<char>(announced >> shift & 0xFF);
  }
  return bytes.append(4, '\0').append(payload);
}

std::string repeated(const std::string& bytes, std::size_t times) {
  std::string all;
  all.reserve(bytes.size() * times);
  for (; times > 0; --times) all += bytes;
  return all;
}

struct AttackFixture : IoFixture {
  AttackFixture() { config.relay_max_connections_per_address = 5000; }

  /// Starts the relay, with one who behaves connected to it.
  void begin() {
    start();
    bystander = std::make_unique<Bystander>(connect_subscribed(1), [this](std::uint64_t offset) {
      publish("session.1", offset, R"({"offset":)" + std::to_string(offset) + "}");
    });
    bystander->expect_peace();
  }

  Crowd connect_many(std::size_t size) {
    return gather(size, [this] { return connect(); });
  }
  Crowd authenticate_many(std::size_t size) {
    return gather(size, [this] { return connect_authenticated(); });
  }
  Crowd subscribe_many(std::size_t size) {
    return gather(size, [this] { return connect_subscribed(2); });
  }

  /// Connections that were answered with this status instead of an upgrade.
  std::uint64_t refused(int status) const {
    std::uint64_t count = 0;
    metrics.io.handshakes.each([&](std::uint16_t code, std::uint64_t value) {
      if (code == status) count = value;
    });
    return count;
  }

  std::unique_ptr<Bystander> bystander;
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(attack, AttackFixture)

BOOST_AUTO_TEST_CASE(a_thousand_requests_that_come_byte_by_byte_end_with_408_and_newcomers_get_in) {
  begin();
  const std::string request = "GET /api/sessions/live HTTP/1.1\r\nHost: test\r\nX: " + std::string(4000, 'x');
  const Crowd crowd = gather(1000, [this] { return std::make_unique<RawClient>(config.relay_socket); });
  const auto limit = std::chrono::steady_clock::now() + 30s;
  for (std::size_t i = 0; refused(408) < crowd.size(); ++i) {
    BOOST_TEST_REQUIRE((std::chrono::steady_clock::now() < limit));
    for (const auto& client : crowd) client->send_bytes(request.substr(i % request.size(), 1));
    connect();
    bystander->expect_peace();
    std::this_thread::sleep_for(50ms);  // a byte now and then
  }
  for (const auto& client : crowd) BOOST_TEST_REQUIRE(client->read_to_end().starts_with("HTTP/1.1 408 "));
}

BOOST_AUTO_TEST_CASE(request_heads_without_end_are_refused_with_431) {
  begin();
  const std::string endless = "GET / HTTP/1.1\r\n" + repeated("X-More: and more\r\n", 20'000);
  for (int i = 0; i < 200; ++i) {
    RawClient client(config.relay_socket);
    client.send_bytes(endless);
    BOOST_TEST_REQUIRE(client.read_to_end().starts_with("HTTP/1.1 431 "));
    if (i % 20 == 0) bystander->expect_peace();
  }
  bystander->expect_peace();
}

BOOST_AUTO_TEST_CASE(who_talks_but_never_authenticates_is_closed_4401) {
  config.relay_auth_timeout = 1000ms;
  begin();
  const Crowd crowd = connect_many(500);
  for (const auto& client : crowd) client->send_text(kPing);
  bystander->expect_peace();
  expect_closes(crowd, "4401 authentication timeout");
  bystander->expect_peace();
}

BOOST_AUTO_TEST_CASE(guessed_tokens_are_closed_4401_after_three) {
  config.relay_auth_timeout = 120'000ms;  // 180 MB of guesses take their time under a sanitizer
  begin();
  const std::string guess = R"({"type":"auth","token":")" + std::string(60'000, 'a') + "\"}";
  const Crowd crowd = connect_many(300);
  for (const auto& client : crowd) {
    for (int i = 0; i < 10; ++i) client->send_text(guess);
  }
  bystander->expect_peace();
  expect_closes(crowd, "4401 authentication failed");
}

BOOST_AUTO_TEST_CASE(a_length_in_a_header_takes_no_memory) {
  begin();
  const Crowd greedy = connect_many(300);
  for (const auto& client : greedy) client->send_bytes(frame(0x81, "x", 1ull << 62));
  expect_closes(greedy, "1009 message too big");
  const Crowd waiting = connect_many(1000);
  for (const auto& client : waiting) client->send_bytes(frame(0x81, "x", 65536));
  bystander->expect_peace();
}

BOOST_AUTO_TEST_CASE(a_message_that_never_ends_is_closed_1009_be_its_fragments_small_or_empty) {
  begin();
  for (const std::string payload : {"x", ""}) {
    const Crowd crowd = authenticate_many(50);
    const std::string flood = repeated(frame(0x00, payload, payload.size()), 70'000);
    for (const auto& client : crowd) {
      client->send_bytes(frame(0x01, payload, payload.size()));
      client->send_bytes(flood);
      BOOST_TEST_REQUIRE(client->next_close().starts_with("1009 "));
    }
    bystander->expect_peace();
  }
}

BOOST_AUTO_TEST_CASE(floods_of_messages_and_control_frames_are_closed_4429) {
  begin();
  const struct {
    const char* name;
    std::string bytes;
  } cases[] = {
      {"messages", frame(0x81, kPing, kPing.size())},
      {"unknown messages", frame(0x81, R"({"type":"x"})", 12)},
      {"no messages", frame(0x81, "", 0)},
      {"pings", frame(0x89, std::string(125, 'x'), 125)},
      {"pongs", frame(0x8A, "", 0)},
  };
  for (const auto& one : cases) {
    BOOST_TEST_CONTEXT(one.name) {
      const Crowd crowd = authenticate_many(100);
      const std::string flood = repeated(one.bytes, 2000);
      for (const auto& client : crowd) client->send_bytes(flood);
      bystander->expect_peace();
      expect_closes(crowd, "4429 too many messages");
      bystander->expect_peace();
    }
  }
}

BOOST_AUTO_TEST_CASE(an_ack_of_a_message_s_size_is_not_sent_back) {
  begin();
  const Crowd crowd = authenticate_many(50);
  const std::string message = R"({"type":"ping","ack":")" + std::string(65'000, 'a') + "\"}";
  for (int i = 0; i < 90; ++i) {
    for (const auto& client : crowd) client->send_text(message);
  }
  bystander->expect_peace();
  for (const auto& client : crowd) {
    for (int i = 0; i < 90; ++i) {
      BOOST_TEST_REQUIRE(client->next_text() == R"({"type":"error","message":"Invalid message format"})");
    }
  }
}

BOOST_AUTO_TEST_CASE(one_address_does_not_keep_the_others_out) {
  config.relay_max_connections_per_address = 10;
  begin();
  const std::string attacker = "X-Real-IP: 192.0.2.1\r\n";
  Crowd admitted;
  for (int i = 0; i < 1000; ++i) {
    auto client = std::make_unique<RawClient>(config.relay_socket);
    if (client->upgrade(attacker).starts_with("HTTP/1.1 101 ")) admitted.push_back(std::move(client));
  }
  BOOST_TEST(admitted.size() == 10u);
  BOOST_TEST(refused(503) == 990u);
  connect("X-Real-IP: 192.0.2.2\r\n");
  bystander->expect_peace();
}

BOOST_AUTO_TEST_CASE(two_hundred_who_do_not_read_are_closed_4410_by_what_waits_for_them) {
  config.relay_max_queue_bytes = 512 * 1024;
  begin();
  const Crowd slow = subscribe_many(200);
  const auto quick = connect_subscribed(2);
  const std::string event(10'000, 'x');  // 400 MB for all of them
  for (std::uint64_t i = 1; i <= 200; ++i) {
    publish("session.2", 41 + i, event + std::to_string(i));
    BOOST_TEST_REQUIRE(quick->next_text() == event + std::to_string(i));
    if (i % 20 == 0) bystander->expect_peace();
  }
  BOOST_TEST(metrics.io.slow_closes.value() == 200u);
  expect_closes(slow, "4410 slow consumer");
}

BOOST_AUTO_TEST_CASE(two_hundred_who_read_nothing_or_a_byte_now_and_then_are_closed_4410_by_its_age) {
  config.relay_max_queue_age = 1000ms;
  begin();
  const Crowd slow = subscribe_many(200);
  const auto quick = connect_subscribed(2);
  const std::string event(8'000, 'x');
  for (std::uint64_t i = 1; i <= 60; ++i) publish("session.2", 41 + i, event);
  for (int i = 0; i < 60; ++i) BOOST_TEST_REQUIRE(quick->next_text().size() == event.size());
  BOOST_TEST(waits_until([&] {
    for (std::size_t i = 0; i < slow.size(); i += 2) slow[i]->read_a_byte();
    bystander->expect_peace(1);
    return metrics.io.slow_closes.value() == slow.size();
  }));
  expect_closes(slow, "4410 slow consumer");
}

BOOST_AUTO_TEST_CASE(who_leaves_in_the_middle_of_a_request_or_a_frame_leaves_nothing_behind) {
  begin();
  for (int i = 0; i < 3000; ++i) {
    RawClient(config.relay_socket).send_bytes("GET /api/sessions/live HTTP/1.1\r\nX: " + std::string(7'000, 'x'));
    connect()->send_bytes(frame(0x01, std::string(60'000, 'x'), 65536));
    if (i % 300 == 0) bystander->expect_peace();
  }
  BOOST_TEST(waits_until([&] { return metrics.io.connections.value() == 1; }));
  bystander->expect_peace();
}

BOOST_AUTO_TEST_CASE(channels_that_are_asked_for_and_left_while_the_database_is_away_are_limited) {
  begin();
  tracker.hold_answers();
  for (int n = 0; n < 1000; ++n) {
    const auto client = connect_authenticated();
    for (int batch = 0; batch < 2; ++batch) {
      std::string names;
      for (int i = 0; i < 50; ++i) {
        const std::string start = std::to_string(n) + ":" + std::to_string(batch * 50 + i);
        names += (i > 0 ? ",\"" : "\"") + start + std::string(180, 'x') + "\"";
      }
      client->send_text(R"({"type":"subscribe_batch","channels":[)" + names + "]}");
    }
    client->send_text(kPing);
    while (client->next_text() != R"({"type":"pong"})") continue;  // behind the refusals, if there are any
    if (n % 100 == 0) bystander->expect_peace();
  }
  bystander->expect_peace();
  tracker.release_answers();
  connect_subscribed(2);
  bystander->expect_peace();
}

BOOST_AUTO_TEST_CASE(streams_that_are_never_read_are_closed_4410_and_garbage_on_them_is_thrown_away) {
  config.relay_max_queue_bytes = 512 * 1024;
  begin();
  const auto open_stream = [this] {
    auto client = std::make_unique<RawClient>(config.relay_socket);
    client->send_bytes(
        "GET /api/sessions/live?sessionId=2 HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n"
        "Authorization: Bearer " +
        token() + "\r\n\r\n");
    client->read_event();
    return client;
  };
  const Crowd slow = gather(200, open_stream);
  const auto quick = open_stream();
  const std::string garbage(65'536, '\xFF');
  const std::string event(10'000, 'x');
  for (std::uint64_t i = 1; i <= 200; ++i) {
    slow[i - 1]->send_bytes(garbage);
    publish("session.2", 41 + i, event);
    BOOST_TEST_REQUIRE(quick->read_event().ends_with(event + "\n\n"));
    if (i % 20 == 0) bystander->expect_peace();
  }
  for (const auto& client : slow) {
    BOOST_TEST_REQUIRE(client->read_to_end().ends_with("\"code\":4410,\"reason\":\"slow consumer\"}\n\n"));
  }
}

BOOST_AUTO_TEST_SUITE_END()
