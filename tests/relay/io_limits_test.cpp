#include <chrono>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "io_fixture.hpp"

namespace gamepicker {
namespace {

using namespace std::chrono_literals;
using testing::free_port;
using testing::IoFixture;
using testing::RawClient;
using testing::waits_until;
using Clock = std::chrono::steady_clock;

}  // namespace

BOOST_FIXTURE_TEST_SUITE(io_limits, IoFixture)

BOOST_AUTO_TEST_CASE(a_client_that_does_not_drain_is_closed_4410_and_delays_nobody) {
  config.relay_max_queue_bytes = 256 * 1024;
  start();
  const auto slow = connect_subscribed(1);
  const auto quick = connect_subscribed(1);
  const std::string event(10'000, 'x');
  std::uint64_t received = 0;
  for (std::uint64_t i = 1; i <= 200; ++i) {
    publish("session.1", i, event + std::to_string(i));
    BOOST_TEST_REQUIRE(quick->next_text() == event + std::to_string(i));
  }
  // What had been sent before is whole, in order, and then comes the reason.
  auto frame = slow->next_frame();
  for (; frame.opcode == 1; frame = slow->next_frame()) {
    BOOST_TEST_REQUIRE(frame.payload == event + std::to_string(++received));
  }
  BOOST_TEST(received < 200u);
  BOOST_TEST(frame.opcode == 8);
  BOOST_TEST(frame.payload == "\x11\x3Aslow consumer");
}

BOOST_AUTO_TEST_CASE(a_burst_larger_than_the_queue_does_not_hurt_a_client_that_reads) {
  config.relay_max_queue_bytes = 65536;
  start();
  const auto client = connect_subscribed(1);
  for (std::uint64_t i = 1; i <= 400; ++i) publish("session.1", i, std::string(100, 'x'));
  for (int i = 0; i < 400; ++i) BOOST_TEST_REQUIRE(client->next_text().size() == 100u);
}

BOOST_AUTO_TEST_CASE(a_client_that_takes_too_long_is_closed_though_its_queue_is_small) {
  config.relay_max_queue_age = 300ms;
  start();
  const auto slow = connect_subscribed(1);
  const auto other = connect_subscribed(1);
  const std::string text(4096, 'x');
  std::uint64_t offset = 0;
  // More than the sockets hold, far less than RELAY_MAX_QUEUE_BYTES.
  for (int i = 0; i < 120; ++i) publish("session.1", ++offset, text);
  for (int i = 0; i < 120; ++i) BOOST_TEST_REQUIRE(other->next_text().size() == text.size());
  // It takes what it was sent in the end, but too late: the rest was dropped for the close.
  BOOST_TEST(metrics.io.slow_closes.value() == 0u);
  BOOST_TEST_REQUIRE(waits_until([&] { return metrics.io.slow_closes.value() == 1; }));
  BOOST_TEST(slow->next_close() == "4410 slow consumer");
}

BOOST_AUTO_TEST_CASE(a_client_that_is_always_behind_but_goes_on_reading_stays) {
  config.relay_max_queue_age = 1000ms;
  start();
  const auto client = connect_subscribed(1);
  const std::string text(4096, 'x');
  const auto end = Clock::now() + 2500ms;
  std::uint64_t published = 0, read = 0;
  while (Clock::now() < end) {
    while (published < read + 120) publish("session.1", ++published, text);
    for (int i = 0; i < 40; ++i, ++read) BOOST_TEST_REQUIRE(client->next_text().size() == text.size());
  }
  BOOST_TEST(metrics.io.slow_closes.value() == 0u);
}

BOOST_AUTO_TEST_CASE(a_tcp_port_counts_peers_and_believes_the_address_of_a_proxy_only) {
  for (const bool proxy : {false, true}) {
    IoFixture io;
    const std::uint16_t port = free_port();
    io.config.relay_listen = "127.0.0.1:" + std::to_string(port);
    io.config.relay_proxies = proxy ? "10.1.1.1,127.0.0.1" : "10.1.1.1,127.0.0.11";
    io.config.relay_max_connections_per_address = 1;
    io.start();
    RawClient first(port), second(port);
    BOOST_TEST(first.upgrade("X-Real-IP: 192.0.2.1\r\n").starts_with("HTTP/1.1 101 "));
    BOOST_TEST(second.upgrade("X-Real-IP: 192.0.2.2\r\n").starts_with(proxy ? "HTTP/1.1 101 " : "HTTP/1.1 503 "));
    BOOST_TEST(io.connect() != nullptr);  // the unix socket is served too
  }
}

BOOST_AUTO_TEST_CASE(too_many_connections_are_refused_with_503_before_the_upgrade) {
  config.relay_max_connections = 3;
  config.relay_max_connections_per_address = 2;
  start();
  auto first = connect("X-Real-IP: 192.0.2.1\r\n");
  const auto second = connect("X-Real-IP: 192.0.2.1\r\n");
  const auto refused = [this](const std::string& address) {
    RawClient client(config.relay_socket);
    return client.upgrade("X-Real-IP: " + address + "\r\n").starts_with("HTTP/1.1 503 ");
  };
  BOOST_TEST(refused("192.0.2.1"));
  const auto other = connect("X-Real-IP: 192.0.2.2\r\n");
  BOOST_TEST(refused("192.0.2.3"));
  first.reset();
  bool room = false;
  for (int i = 0; i < 100 && !room; ++i) room = !refused("192.0.2.1");
  BOOST_TEST(room);
}

BOOST_AUTO_TEST_CASE(only_configured_origins_may_connect) {
  config.cors_origin = "https://a.example, https://b.example";
  start();
  connect();
  connect("Origin: https://b.example\r\n");
  RawClient client(config.relay_socket);
  BOOST_TEST(client.upgrade("Origin: https://c.example\r\n").starts_with("HTTP/1.1 403 "));
}

BOOST_AUTO_TEST_CASE(messages_beyond_the_rate_are_refused_and_abuse_is_closed_4429) {
  start();
  const auto client = connect_authenticated();
  for (int i = 0; i < 150; ++i) client->send_text(R"({"type":"ping","ack":"a"})");
  int pongs = 0;
  std::string refusal;
  for (int i = 0; i < 150; ++i) {
    const std::string text = client->next_text();
    if (text == R"({"type":"pong","ack":"a"})") {
      ++pongs;
    } else {
      refusal = text;
    }
  }
  BOOST_TEST(pongs >= 99);
  BOOST_TEST(pongs < 130);
  BOOST_TEST(refusal.starts_with(R"({"type":"error","message":"Rate limit exceeded","retryAfterMs":)"));
  BOOST_TEST(refusal.ends_with(R"(,"ack":"a"})"));
  for (int i = 0; i < 1500; ++i) client->send_text(R"({"type":"ping"})");
  BOOST_TEST(client->next_close() == "4429 too many messages");
}

BOOST_AUTO_TEST_CASE(a_connection_has_at_most_a_hundred_subscriptions) {
  for (int id = 1; id <= 101; ++id) tracker.set_head("session." + std::to_string(id), 0);
  start();
  const auto client = connect_authenticated();
  int accepted = 0;
  for (int id = 1; id <= 101; ++id) {
    client->send_text(R"({"type":"subscribe","sessionId":)" + std::to_string(id) + "}");
    std::string answer = client->next_text();
    if (answer.find("Rate limit") != std::string::npos) {
      std::this_thread::sleep_for(30ms);
      --id;
      continue;
    }
    if (answer.starts_with(R"({"type":"subscribed")")) ++accepted;
    if (id == 101) BOOST_TEST(answer == R"({"type":"error","message":"Subscription limit reached"})");
  }
  BOOST_TEST(accepted == 100);
}

BOOST_AUTO_TEST_CASE(stopping_closes_all_with_1012_and_leaves_in_time) {
  start();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 40; ++i) clients.push_back(connect_authenticated());
  RawClient unfinished(config.relay_socket);
  unfinished.send_bytes("GET /api/sessions/live HTTP/1.1\r\n");
  const auto begin = Clock::now();
  begin_stop();
  for (const auto& client : clients) {
    BOOST_TEST(client->next_close() == "1012 service restart");
    client->send_frame(8, "\x03\xF4");
    BOOST_TEST(client->read_to_end() == "");
    // As a real client does; the server waits for it.
  }
  clients.clear();
  stop();
  BOOST_TEST((Clock::now() - begin < 6s));
}

BOOST_AUTO_TEST_CASE(stopping_does_not_wait_for_clients_that_do_not_answer) {
  start();
  const auto client = connect_authenticated();
  const auto begin = Clock::now();
  stop();
  BOOST_TEST((Clock::now() - begin < 6s));
  BOOST_TEST(client->next_close() == "1012 service restart");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker
