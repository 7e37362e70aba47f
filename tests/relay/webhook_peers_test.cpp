// Receivers as they are met, good and bad, behind plain HTTP. What each does to the deadline, to the connection and to
// the log is the promise.
#include <csignal>
#include <functional>

#include <boost/test/unit_test.hpp>

#include "relay/webhook_connection.hpp"
#include "relay/webhook_sender.hpp"
#include "shared/signature.hpp"
#include "tests/support/http_receiver.hpp"

namespace gamepicker {
namespace {

using namespace std::chrono_literals;
using test::HttpReceiver;

struct PeersFixture {
  WebhookSender sender{open_config()};

  PeersFixture() { std::signal(SIGPIPE, SIG_IGN); }

  static Config open_config() {
    Config config;
    config.webhook_allow_private = true;
    return config;
  }
  static WebhookRequest request(const std::string& url) {
    return {.delivery_id = 77,
            .webhook_id = 1,
            .attempt = 1,
            .url = url,
            .headers = {},
            .secrets = {"s3cret"},
            .event_type = "game.added",
            .body = "{}",
            .timeout = 1s};
  }
  WebhookResponse send(const std::string& url) { return sender.send(request(url)); }
};

/// Sends `text` again and again until the peer has had enough or the receiver stops.
bool flood(const HttpReceiver* receiver, int socket, const std::string& text) {
  while (!receiver->stopping() && ::send(socket, text.data(), text.size(), MSG_NOSIGNAL) > 0) {
  }
  return false;
}

/// A receiver whose answers need the receiver itself.
struct Peer {
  using Answer = std::function<bool(const HttpReceiver* self, int socket)>;
  explicit Peer(const Answer& answer)
      : receiver([this, answer](const HttpReceiver::Request&, int socket) { return answer(&receiver, socket); }) {}
  HttpReceiver receiver;
};

const std::string kOk = HttpReceiver::answer("200 OK", "fine");

}  // namespace

BOOST_FIXTURE_TEST_SUITE(webhook_sender_peers, PeersFixture)

BOOST_AUTO_TEST_CASE(a_connection_is_kept_when_the_answer_ended_where_it_said) {
  struct {
    const char* answer;
    bool kept;
  } const cases[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine", true},
      {"HTTP/1.1 204 No Content\r\n\r\n", true},
      {"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", true},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
       "4\r\n\r\nfine",
       true},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\nfine\r\n0\r\n\r\n", true},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n4\r\nfine\r\n0\r\nX: y\r\nZ: z\r\n\r\n",
       false},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\nX: y\r\n", false},
      {"HTTP/1.1 200 OK\r\nX: \xff\xfe\x80\r\nContent-Length: 4\r\n\r\nfine", true},
      {"HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 4\r\n\r\nfine", true},
      {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nfine!", false},
      {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfine", false},
      {"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nfine", false},
      {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfineHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false},
  };
  for (const auto& [answer, kept] : cases) {
    BOOST_TEST_CONTEXT(answer) {
      HttpReceiver receiver{std::string(answer)};
      for (int i = 0; i < 3; ++i) {
        const auto response = send(receiver.url());
        BOOST_TEST(response.status.has_value());
        BOOST_TEST((response.status == 204 || response.status == 500 || response.body == "fine"));
        BOOST_TEST(response.phases.connect.has_value() == (!kept || i == 0));
        BOOST_TEST(response.peer_address == "127.0.0.1");
      }
      BOOST_TEST(receiver.requests().back().connection == (kept ? 1 : 3));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_close_ends_an_answer_and_its_status_counts) {
  struct {
    const char* answer;
    const char* error;
    const char* body;
  } const cases[] = {
      {"HTTP/1.0 200 OK\r\n\r\nfine", "", "fine"},
      {"HTTP/1.1 200 OK\r\n\r\nfine", "", "fine"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfine", "", "fine"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nfine", "", "fine"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", "", ""},
      {"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\nfine", "", ""},
      {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nfine", "", ""},
      {"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nfine", "", ""},
      {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b", "", "\x1f\xEF\xBF\xBD"},
      {"HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\n", "HTTP 503", ""},
      {"HTTP/1.1 520 Unknown\r\nContent-Length: 0\r\n\r\n", "HTTP 520", ""},
      {"HTTP/1.1 999\r\nContent-Length: 0\r\n\r\n", "HTTP 999", ""},
      {"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", "HTTP 101", ""},
      {"HTTP/1.1 200 OK\r\nContent-Le", "Connection closed within the answer's headers", ""},
      {"HTTP/1.1 200 OK\r\nX: y\r\n", "Connection closed within the answer's headers", ""},
      {"HTTP/1.1 103 Early Hints\r\n\r\n", "Connection closed within the answer's headers", ""},
      {"HTTP/1.1 100 Continue\r\n\r\n", "Connection closed within the answer's headers", ""},
      {"", "Connection closed without an answer", ""},
      {"SSH-2.0-OpenSSH_9.2\r\n", "The answer is not HTTP: Invalid HTTP version string", ""},
      {"HTTP/1.1 abc\r\n\r\n", "The answer is not HTTP: Not a valid integer: abc", ""},
      {"HTTP/1.1 099 OK\r\n\r\n", "The answer is not HTTP", ""},
      {"ICAP/1.0 200 OK\r\n\r\n", "The answer is not HTTP", ""},
  };
  for (const auto& [answer, error, body] : cases) {
    BOOST_TEST_CONTEXT(answer) {
      Peer peer([text = std::string(answer)](const HttpReceiver*, int socket) {
        HttpReceiver::send_text(socket, text);
        return false;
      });
      const auto response = send(peer.receiver.url());
      BOOST_TEST(response.error == error);
      BOOST_TEST(response.body == body);
      BOOST_TEST(response.duration < 900ms);
      BOOST_TEST(response.phases.first_byte.has_value() == (answer[0] != '\0'));
      BOOST_TEST(peer.receiver.requests().size() == 1u);
    }
  }
}

BOOST_AUTO_TEST_CASE(answers_without_an_end_are_cut_off) {
  struct {
    const char* beginning;
    std::string again;
    const char* error;
  } const cases[] = {
      {"HTTP/1.1 200 OK\r\n\r\n", std::string(8192, 'b'), ""},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "4\r\nmore\r\n", ""},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X: trailer\r\n", ""},
      {"HTTP/1.1 200 OK\r\nX-Long: ", std::string(8192, 'h'),
       "The answer is not HTTP: Field value too long/no CRLF found"},
      {"HTTP/1.1 200 OK\r\n", "X-Another: header\r\n", "The answer is not HTTP: Too many header fields"},
      {"HTTP/1.1 200 OK\r\n", "nonsense\r\n", "The answer's headers are too long"},
      {"HTTP/1.1 ", "200 ", "The answer is not HTTP: HTTP reason string too long"},
      {"", "HTTP/1.1 100 Continue\r\n\r\n", "The answer's headers are too long"},
      {"", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", "The answer's headers are too long"},
  };
  for (const auto& [beginning, again, error] : cases) {
    BOOST_TEST_CONTEXT(beginning << again.substr(0, 20)) {
      Peer peer([beginning = beginning, again = again](const HttpReceiver* self, int socket) {
        HttpReceiver::send_text(socket, beginning);
        return flood(self, socket, again);
      });
      const auto response = send(peer.receiver.url());
      BOOST_TEST(response.error == error);
      BOOST_TEST(response.status.has_value() == (error[0] == '\0'));
      BOOST_TEST(response.body.size() <= 1024u);
      BOOST_TEST(response.duration < 900ms);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_byte_at_a_time_ends_with_the_deadline) {
  struct {
    const char* beginning;
    std::optional<int> status;
  } const cases[] = {
      {"HTTP/1.1 200 OK\r\nX-Drip: ", std::nullopt},
      {"HTTP/1.1 200 OK\r\n\r\n", 200},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", 200},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5000\r\n", 200},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: ", 200},
  };
  for (const auto& [beginning, status] : cases) {
    Peer peer([beginning = beginning](const HttpReceiver* self, int socket) {
      HttpReceiver::send_text(socket, beginning);
      // Waits for the peer to go away between the bytes.
      pollfd gone{socket, POLLRDHUP, 0};
      while (!self->stopping() && ::poll(&gone, 1, 50) == 0) HttpReceiver::send_text(socket, "0");
      return false;
    });
    const auto response = send(peer.receiver.url());
    BOOST_TEST(response.error == "Timeout after 1000 ms");
    BOOST_TEST((response.status == status));
    BOOST_TEST((response.duration >= 1000ms && response.duration < 1300ms), response.duration.count());
    BOOST_TEST(response.phases.first_byte.has_value());
  }
}

BOOST_AUTO_TEST_CASE(a_peer_that_answers_before_it_has_read_everything_is_heard) {
  auto large = request("");
  large.body = std::string(8'000'000, 'x');
  // It reads no more than the head. One closes at once, the other keeps the rest waiting.
  for (const bool closes : {true, false}) {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    BOOST_REQUIRE(::bind(listener, reinterpret_cast<sockaddr*>(&address), size) == 0);
    BOOST_REQUIRE(::listen(listener, 1) == 0);
    BOOST_REQUIRE(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    std::thread peer([&] {
      const int socket = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      char buffer[1000];
      ::recv(socket, buffer, sizeof buffer, 0);
      HttpReceiver::send_text(socket, HttpReceiver::answer("413 Too Large", "no"));
      if (closes) ::shutdown(socket, SHUT_WR);
      pollfd gone{socket, POLLRDHUP, 0};
      ::poll(&gone, 1, 5'000);
      ::close(socket);
    });
    large.url = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/";
    const auto response = sender.send(large);
    BOOST_TEST(response.error == "HTTP 413");
    BOOST_TEST(response.body == "no");
    BOOST_TEST(response.duration < 900ms);
    peer.join();
    ::close(listener);
  }
}

BOOST_AUTO_TEST_CASE(a_peer_that_takes_nothing_ends_with_the_deadline) {
  Peer peer([](const HttpReceiver* self, int socket) {
    pollfd gone{socket, POLLRDHUP, 0};
    while (!self->stopping() && ::poll(&gone, 1, 50) == 0) {
    }
    return false;
  });
  auto large = request(peer.receiver.url());
  BOOST_TEST(sender.send(large).error == "Timeout after 1000 ms");
}

BOOST_AUTO_TEST_CASE(every_valid_secret_signs_and_the_current_one_comes_first) {
  HttpReceiver receiver(kOk);
  auto rotated = request(receiver.url());
  rotated.secrets = {"new-secret", "whsec_b2xkLXNlY3JldA=="};
  BOOST_TEST(sender.send(rotated).error == "");
  const auto received = receiver.requests().at(0);
  const std::string timestamp = received.header("webhook-timestamp");
  BOOST_TEST(received.header("X-Webhook-Signature") == webhook_signature("new-secret", rotated.body));
  BOOST_TEST(received.header("webhook-signature") ==
             standard_webhook_signature("new-secret", "77", timestamp, rotated.body) + " " +
                 standard_webhook_signature("old-secret", "77", timestamp, rotated.body));
  rotated.secrets.clear();
  BOOST_TEST(sender.send(rotated).error == "No secret to sign with");
}

BOOST_AUTO_TEST_CASE(the_webhooks_own_method_and_headers_go_out_and_replace_none_of_ours) {
  HttpReceiver receiver(kOk);
  auto own = request(receiver.url());
  own.method = "PUT";
  own.headers = {{"Authorization", "Bearer abc"}, {"X-Empty", ""},
                 {"host", "evil.example"},        {"Content-Length", "1"},
                 {"Connection", "close"},         {"Transfer-Encoding", "chunked"},
                 {"x-webhook-signature", "no"},   {"Webhook-Id", "1"},
                 {"User-Agent", "other"},         {"X-Bad", "a\r\nX-Forged: yes"},
                 {"X-Forged\r\nX-Too", "yes"},    {"X-Space ", "yes"}};
  BOOST_TEST(sender.send(own).error == "");
  own.method = "DELETE";
  BOOST_TEST(sender.send(own).error == "");
  const auto received = receiver.requests();
  BOOST_TEST(received.at(0).head.starts_with("PUT /hook HTTP/1.1\r\n"));
  BOOST_TEST(received.at(1).head.starts_with("POST /hook HTTP/1.1\r\n"));
  BOOST_TEST(received.at(0).header("Authorization") == "Bearer abc");
  BOOST_TEST(received.at(0).head.find("\r\nX-Empty: \r\n") != std::string::npos);
  BOOST_TEST(received.at(0).header("Host") == receiver.url("").substr(7));
  BOOST_TEST(received.at(0).header("webhook-id") == "77");
  BOOST_TEST(received.at(0).body == "{}");
  for (const char* text : {"evil.example", "X-Forged", "X-Space", "close", "chunked", "other", "Accept-Encoding"}) {
    BOOST_TEST(received.at(0).head.find(text) == std::string::npos, text);
  }
}

BOOST_AUTO_TEST_CASE(webhooks_and_places_share_no_connection) {
  HttpReceiver receiver(kOk);
  auto one = request(receiver.url("/a"));
  const auto port = receiver.url("").substr(std::string("http://127.0.0.1").size());
  BOOST_TEST(sender.send(one).error == "");
  one.url = receiver.url("/b");  // the same place: the same connection
  BOOST_TEST(sender.send(one).error == "");
  one.url = "http://localhost" + port + "/a";
  const auto named = sender.send(one);
  BOOST_TEST(named.error == "");
  BOOST_TEST(named.phases.dns.has_value());
  one = request(receiver.url("/a"));
  one.webhook_id = 2;
  BOOST_TEST(sender.send(one).error == "");
  std::vector<int> connections;
  for (const auto& received : receiver.requests()) connections.push_back(received.connection);
  BOOST_TEST(connections == (std::vector<int>{1, 1, 2, 3}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(idle_connections_are_few_and_none_that_its_peer_has_left) {
  struct Pair {
    int ends[2];
    Pair() { BOOST_REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0); }
    ~Pair() { ::close(ends[1]); }
    std::unique_ptr<WebhookConnection> mine(const std::string& name) const {
      return std::make_unique<WebhookConnection>(ends[0], name);
    }
    bool left_alone() const {
      char byte = 0;
      const auto got = ::recv(ends[1], &byte, 1, 0);
      return got == 0 || (got < 0 && errno == ECONNRESET);
    }
  } const one, two, three, four;
  IdleConnections idle(3);
  idle.keep("a", one.mine("one"));
  idle.keep("b", two.mine("two"));
  idle.keep("b", three.mine("three"));
  BOOST_TEST(!one.left_alone());
  idle.keep("c", four.mine("four"));
  BOOST_TEST(one.left_alone());
  BOOST_TEST((idle.take("a") == nullptr));
  HttpReceiver::send_text(four.ends[1], "HTTP/1.1 408 Too slow");
  BOOST_TEST((idle.take("c") == nullptr));
  BOOST_TEST(four.left_alone());
  const auto first = idle.take("b");
  const auto second = idle.take("b");
  BOOST_REQUIRE((first && second));
  BOOST_TEST(first->peer() != second->peer());
  BOOST_TEST((idle.take("b") == nullptr));
}

BOOST_AUTO_TEST_CASE(phases_are_noted_as_far_as_an_attempt_came) {
  const auto refused = send("http://127.0.0.1:1/");
  BOOST_TEST((!refused.phases.dns && !refused.phases.connect && !refused.phases.first_byte));
  BOOST_TEST(refused.peer_address == "");
  const auto unknown = send("http://name.invalid/");
  BOOST_TEST((!unknown.phases.dns && !unknown.phases.connect));
  HttpReceiver receiver(kOk);
  const auto fine = send(receiver.url());
  BOOST_TEST((!fine.phases.dns && fine.phases.connect && !fine.phases.tls && fine.phases.first_byte));
  BOOST_TEST((*fine.phases.connect <= *fine.phases.first_byte && *fine.phases.first_byte <= fine.duration + 1ms));
}

BOOST_AUTO_TEST_CASE(of_several_answers_only_those_that_pass_are_connected_to) {
  const AddressPolicy policy{Config{}};
  const auto resolved = [](std::initializer_list<const char*> literals) {
    std::vector<ResolvedAddress> all;
    for (const char* text : literals) all.push_back(Resolver::literal(text, 80).at(0));
    return all;
  };
  const auto passed = judged(resolved({"127.0.0.1", "8.8.8.8", "::1", "10.0.0.1", "2606:4700::1111"}), policy);
  BOOST_REQUIRE(passed.size() == 2u);
  BOOST_TEST(passed[0].text() == "8.8.8.8");
  BOOST_TEST(passed[1].text() == "2606:4700::1111");
  BOOST_CHECK_EXCEPTION(judged(resolved({"169.254.169.254"}), policy), ConnectError, [](const ConnectError& error) {
    return std::string(error.what()) == "Address not allowed: 169.254.169.254 is link-local or metadata";
  });
  BOOST_CHECK_THROW(judged({}, policy), ConnectError);
}

BOOST_AUTO_TEST_CASE(an_allowed_network_can_be_reached_and_no_other) {
  HttpReceiver receiver(kOk);
  Config config;
  config.webhook_allow_networks = "127.0.0.0/8";
  WebhookSender guarded(config);
  BOOST_TEST(guarded.send(request(receiver.url())).error == "");
  BOOST_TEST(guarded.send(request("http://10.0.0.1:8080/")).error == "Address not allowed: 10.0.0.1 is private");
  BOOST_TEST(guarded.send(request("http://127.0.0.1:25/")).error == "Port not allowed: 25");
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker
