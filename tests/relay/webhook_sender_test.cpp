#include "relay/webhook_sender.hpp"

#include <csignal>

#include <boost/test/unit_test.hpp>

#include "shared/json_reader.hpp"
#include "shared/signature.hpp"
#include "tests/support/http_receiver.hpp"

namespace gamepicker {
namespace {

using namespace std::chrono_literals;
using test::HttpReceiver;

struct SenderFixture {
  WebhookSender sender{open_config()};

  static Config open_config() {
    Config config;
    config.webhook_allow_private = true;
    return config;
  }
  SenderFixture() { std::signal(SIGPIPE, SIG_IGN); }

  static WebhookRequest request(const std::string& url) {
    return {.delivery_id = 77,
            .webhook_id = 1,
            .attempt = 3,
            .url = url,
            .headers = {},
            .secrets = {"s3cret"},
            .event_type = "game.added",
            .body = R"({"event":"game.added","data":{"title":"Ümlaut"}})",
            .timeout = 1s};
  }
  WebhookResponse send(const std::string& url) { return sender.send(request(url)); }
};

const std::string kOk = HttpReceiver::answer("200 OK", "fine");

}  // namespace

BOOST_FIXTURE_TEST_SUITE(webhook_sender, SenderFixture)

BOOST_AUTO_TEST_CASE(the_exact_bytes_arrive_with_every_header_of_the_contract) {
  HttpReceiver receiver(kOk);
  const auto response = send(receiver.url("/a%2Fb?x=1&y=%20"));
  BOOST_TEST(response.error == "");
  BOOST_TEST(response.status.value() == 200);
  BOOST_TEST(response.body == "fine");

  const auto received = receiver.requests().at(0);
  const WebhookRequest sent = request("");
  BOOST_TEST(received.head.starts_with("POST /a%2Fb?x=1&y=%20 HTTP/1.1\r\n"));
  BOOST_TEST(received.body == sent.body);
  BOOST_TEST(received.header("Host") == receiver.url("").substr(7));
  BOOST_TEST(received.header("Content-Type") == "application/json");
  BOOST_TEST(received.header("User-Agent") == "Jackbox-Game-Picker-Webhook/1.0");
  BOOST_TEST(received.header("X-Webhook-Event") == "game.added");
  BOOST_TEST(received.header("X-Webhook-Signature") == webhook_signature("s3cret", sent.body));
  BOOST_TEST(received.header("X-Webhook-Delivery") == "77");
  BOOST_TEST(received.header("X-Webhook-Attempt") == "3");
  BOOST_TEST(received.header("webhook-id") == "77");
  const std::string timestamp = received.header("webhook-timestamp");
  BOOST_TEST(timestamp.size() == 10u);
  BOOST_TEST(received.header("webhook-signature") == standard_webhook_signature("s3cret", "77", timestamp, sent.body));
}

BOOST_AUTO_TEST_CASE(only_2xx_is_success_and_redirects_are_not_followed) {
  struct {
    const char* status;
    const char* error;
  } const cases[] = {
      {"200 OK", ""},
      {"204 No Content", ""},
      {"301 Moved", "HTTP 301: redirects are not followed"},
      {"307 Moved", "HTTP 307: redirects are not followed"},
      {"400 Bad", "HTTP 400"},
      {"410 Gone", "HTTP 410"},
      {"503 Busy", "HTTP 503"},
  };
  for (const auto& [status, error] : cases) {
    HttpReceiver receiver(HttpReceiver::answer(status, "", "Location: /elsewhere\r\n"));
    const auto response = send(receiver.url());
    BOOST_TEST(response.error == error);
    BOOST_TEST(response.status.value() == std::stoi(status));
    BOOST_TEST(receiver.requests().size() == 1u);
  }
}

BOOST_AUTO_TEST_CASE(retry_after_is_read) {
  HttpReceiver receiver(HttpReceiver::answer("503 Busy", "", "Retry-After: 7\r\n"));
  BOOST_TEST(send(receiver.url()).retry_after.value().count() == 7'000);
}

BOOST_AUTO_TEST_CASE(one_connection_serves_several_deliveries) {
  HttpReceiver receiver(kOk);
  for (int i = 0; i < 3; ++i) BOOST_TEST(send(receiver.url()).error == "");
  BOOST_TEST(receiver.requests().back().connection == 1);
}

BOOST_AUTO_TEST_CASE(a_reused_connection_that_died_is_tried_again_on_a_fresh_one) {
  // The first answer promises to keep the connection, the second request on it is dropped unanswered.
  std::atomic<int> served = 0;
  HttpReceiver receiver([&](const HttpReceiver::Request&, int socket) {
    if (++served == 2) return false;
    HttpReceiver::send_text(socket, kOk);
    return true;
  });
  BOOST_TEST(send(receiver.url()).error == "");
  BOOST_TEST(send(receiver.url()).error == "");
  BOOST_TEST(receiver.requests().size() == 3u);
  BOOST_TEST(receiver.requests().back().connection == 2);
}

BOOST_AUTO_TEST_CASE(a_fresh_connection_closed_without_an_answer_is_a_failure) {
  HttpReceiver receiver([](const HttpReceiver::Request&, int) { return false; });
  const auto response = send(receiver.url());
  BOOST_TEST(response.error != "");
  BOOST_TEST(!response.status.has_value());
  BOOST_TEST(receiver.requests().size() == 1u);
}

BOOST_AUTO_TEST_CASE(one_deadline_covers_silence_and_answers_that_drip) {
  const char* const beginnings[] = {"",
                                    "HTTP/1.1 200 OK\r\nX-Slow: ", "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"};
  for (const char* beginning : beginnings) {
    HttpReceiver* self = nullptr;
    HttpReceiver receiver([&](const HttpReceiver::Request&, int socket) {
      HttpReceiver::send_text(socket, beginning);
      for (int i = 0; i < 100 && !self->stopping(); ++i) {
        std::this_thread::sleep_for(50ms);
        if (beginning[0] != '\0') HttpReceiver::send_text(socket, "x");
      }
      return false;
    });
    self = &receiver;
    const auto response = send(receiver.url());
    BOOST_TEST(response.error == "Timeout after 1000 ms");
    BOOST_TEST((response.duration >= 1000ms && response.duration < 1500ms), response.duration.count());
  }
}

BOOST_AUTO_TEST_CASE(at_most_64_kib_of_an_answer_are_read_and_1_kib_kept) {
  HttpReceiver* self = nullptr;
  HttpReceiver receiver([&](const HttpReceiver::Request&, int socket) {
    HttpReceiver::send_text(socket, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    const std::string block(8192, 'y');
    // More than is read; then nothing: who waits for the rest runs into the deadline.
    for (int i = 0; i < 10; ++i) HttpReceiver::send_text(socket, block);
    while (!self->stopping()) std::this_thread::sleep_for(10ms);
    return false;
  });
  self = &receiver;
  const auto response = send(receiver.url());
  BOOST_TEST(response.error == "");
  BOOST_TEST(response.body == std::string(1024, 'y'));
  BOOST_TEST((response.duration < 900ms));
}

BOOST_AUTO_TEST_CASE(an_answer_is_kept_as_valid_utf8) {
  HttpReceiver receiver(HttpReceiver::answer("200 OK", "a\xff\xc3\xa4"));
  BOOST_TEST(send(receiver.url()).body == "a\xEF\xBF\xBD\xc3\xa4");
  BOOST_TEST(to_valid_utf8("\xc3\xa4\xc3\xa4", 3) == "\xc3\xa4");
  BOOST_TEST(to_valid_utf8("\xf0\x9f", 100) == "\xEF\xBF\xBD\xEF\xBF\xBD");
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  BOOST_TEST(is_valid_utf8(to_valid_utf8(all, 10'000)));
}

BOOST_AUTO_TEST_CASE(what_is_not_http_is_a_failure) {
  HttpReceiver receiver([](const HttpReceiver::Request&, int socket) {
    HttpReceiver::send_text(socket, "SSH-2.0-OpenSSH_9.2\r\n");
    return false;
  });
  BOOST_TEST(send(receiver.url()).error != "");
}

BOOST_AUTO_TEST_CASE(failures_to_connect_are_named) {
  BOOST_TEST(send("http://127.0.0.1:1/").error == "Connection failed: Connection refused");
  BOOST_TEST(send("http://name.invalid/").error.starts_with("DNS lookup failed"));
  BOOST_TEST(send("ftp://127.0.0.1/").error == "Invalid URL");
}

BOOST_AUTO_TEST_CASE(private_addresses_and_system_ports_are_refused_unless_allowed) {
  HttpReceiver receiver(kOk);
  WebhookSender guarded{Config{}};
  const auto error = [&](const std::string& url) { return guarded.send(request(url)).error; };
  BOOST_TEST(error(receiver.url()) == "Address not allowed: 127.0.0.1 is loopback");
  const std::string port = receiver.url("").substr(std::string("http://127.0.0.1").size());
  BOOST_TEST(error("http://localhost" + port).starts_with("Address not allowed: "));
  BOOST_TEST(error("http://2130706433" + port) == "Address not allowed: 127.0.0.1 is loopback");
  BOOST_TEST(error("http://[::ffff:127.0.0.1]" + port).starts_with("Address not allowed: "));
  BOOST_TEST(error("http://169.254.169.254/latest").starts_with("Address not allowed: "));
  BOOST_TEST(error("http://93.184.216.34:25/") == "Port not allowed: 25");
  BOOST_TEST(receiver.requests().empty());
}

BOOST_AUTO_TEST_CASE(a_server_that_does_not_speak_tls_is_a_failure) {
  HttpReceiver receiver(kOk);
  const auto response = send("https" + receiver.url().substr(4));
  BOOST_TEST(response.error != "");
  BOOST_TEST(!response.status.has_value());
  BOOST_TEST((response.duration < 1500ms));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker
