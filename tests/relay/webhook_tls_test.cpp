#include <csignal>
#include <filesystem>

#include <boost/test/unit_test.hpp>
#include <unistd.h>

#include "relay/webhook_connection.hpp"
#include "relay/webhook_sender.hpp"
#include "tests/relay/tls_peer.hpp"
#include "tests/support/http_receiver.hpp"

namespace gamepicker {
namespace {

using namespace std::chrono_literals;
using test::Certificate;
using test::make_certificate;
using test::TlsManners;
using test::TlsPeer;

/// An authority of its own, trusted by the sender like those of the system.
struct TlsFixture {
  const std::string ca_file =
      (std::filesystem::temp_directory_path() / ("webhook-ca-" + std::to_string(::getpid()) + ".pem")).string();
  const Certificate authority = make_certificate({.name = "Test authority", .alternative = "", .authority = true});
  const Certificate good = make_certificate(
      {.name = "good", .alternative = "DNS:localhost,DNS:*.hooks.localhost,IP:127.0.0.1", .issuer = &authority});
  std::unique_ptr<WebhookSender> sender;

  TlsFixture() {
    std::signal(SIGPIPE, SIG_IGN);
    write_pem(authority, ca_file);
    Config config;
    config.webhook_allow_private = true;
    config.webhook_ca_file = ca_file;
    sender = std::make_unique<WebhookSender>(config);
  }
  ~TlsFixture() { std::filesystem::remove(ca_file); }

  WebhookResponse send(const std::string& url) const {
    return sender->send({.delivery_id = 77,
                         .webhook_id = 1,
                         .attempt = 1,
                         .url = url,
                         .headers = {},
                         .secrets = {"s3cret"},
                         .event_type = "game.added",
                         .body = "{}",
                         .timeout = 2s});
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(webhook_tls, TlsFixture)

BOOST_AUTO_TEST_CASE(a_good_certificate_for_a_name_is_accepted_and_its_connection_used_again) {
  for (const int newest : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsPeer peer(good, {.newest = newest});
    for (int i = 0; i < 3; ++i) {
      const auto response = send(peer.url("localhost"));
      BOOST_TEST(response.error == "");
      BOOST_TEST(response.body == "fine");
      BOOST_TEST(response.peer_address == "127.0.0.1");
      BOOST_TEST(response.phases.tls.has_value() == (i == 0));
      BOOST_TEST(response.phases.first_byte.has_value());
    }
    BOOST_TEST(peer.connections() == 1);
    const std::string request = peer.requests().at(0);
    BOOST_TEST(request.starts_with("localhost\nPOST /hook HTTP/1.1\r\n"));
    BOOST_TEST(request.find("\r\nHost: " + peer.url("localhost").substr(8, 15)) != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(a_good_certificate_for_an_address_is_accepted_without_a_name) {
  TlsPeer peer(good, {});
  BOOST_TEST(send(peer.url("127.0.0.1")).error == "");
  BOOST_TEST(peer.requests().at(0).starts_with("\nPOST "));
}

BOOST_AUTO_TEST_CASE(the_dot_of_the_root_is_no_part_of_the_certificates_name) {
  TlsPeer peer(good, {});
  const auto address = Resolver::literal("127.0.0.1", peer.port()).at(0);
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  BOOST_REQUIRE(::connect(socket, &address.get(), address.length) == 0);
  WebhookConnection connection(socket, "127.0.0.1");
  // Not through a URL: few resolvers know "localhost." on their own.
  Watchdog watchdog;
  const auto deadline = std::chrono::steady_clock::now() + 2s;
  BOOST_CHECK_NO_THROW(connection.start_tls(webhook_tls_context(ca_file), "localhost.", watchdog, deadline));
}

BOOST_AUTO_TEST_CASE(every_other_certificate_is_refused_before_a_byte_of_the_request) {
  const Certificate stranger = make_certificate({.name = "Test authority", .alternative = "", .authority = true});
  const Certificate child = make_certificate({.name = "child", .alternative = "", .issuer = &authority});
  const struct {
    const char* what;
    test::CertificateWish wish;
    const char* host;
    const char* error;
  } cases[] = {
      {"expired",
       {.name = "a", .alternative = "DNS:localhost", .issuer = &authority, .from_days = -3, .to_days = -1},
       "localhost",
       "TLS error: certificate has expired"},
      {"not yet valid",
       {.name = "a", .alternative = "DNS:localhost", .issuer = &authority, .from_days = 1, .to_days = 3},
       "localhost",
       "TLS error: certificate is not yet valid"},
      {"another name",
       {.name = "a", .alternative = "DNS:example.com,DNS:*.localhost", .issuer = &authority},
       "localhost",
       "TLS error: the certificate is not for localhost"},
      {"an address for a name",
       {.name = "a", .alternative = "IP:127.0.0.1", .issuer = &authority},
       "localhost",
       "TLS error: the certificate is not for localhost"},
      {"another address",
       {.name = "a", .alternative = "IP:127.0.0.2", .issuer = &authority},
       "127.0.0.1",
       "TLS error: the certificate is not for 127.0.0.1"},
      {"self-signed", {.name = "a", .alternative = "DNS:localhost"}, "localhost", "TLS error: self-signed certificate"},
      {"an unknown authority",
       {.name = "a", .alternative = "DNS:localhost", .issuer = &stranger},
       "localhost",
       "TLS error: "},
      {"an issuer that is no authority",
       {.name = "a", .alternative = "DNS:localhost", .issuer = &child},
       "localhost",
       "TLS error: unable to get local issuer certificate"},
  };
  for (const auto& [what, wish, host, error] : cases) {
    BOOST_TEST_CONTEXT(what) {
      TlsPeer peer(make_certificate(wish), {});
      const auto response = send(peer.url(host));
      BOOST_TEST(response.error.starts_with(error), response.error);
      BOOST_TEST(!response.status.has_value());
      BOOST_TEST((response.phases.connect.has_value() && !response.phases.tls && !response.phases.first_byte));
      BOOST_TEST(response.peer_address == "127.0.0.1");
      BOOST_TEST(response.duration < 1500ms);
      BOOST_TEST(peer.requests().empty());
    }
  }
}

BOOST_AUTO_TEST_CASE(tls_older_than_1_2_is_refused) {
  for (const int newest : {TLS1_VERSION, TLS1_1_VERSION}) {
    TlsPeer peer(good, {.newest = newest});
    const auto response = send(peer.url("localhost"));
    BOOST_TEST(response.error.starts_with("TLS error: "), response.error);
    BOOST_TEST(peer.requests().empty());
  }
}

BOOST_AUTO_TEST_CASE(what_is_not_tls_is_refused) {
  test::HttpReceiver receiver([](const test::HttpReceiver::Request&, int) { return false; });
  const auto silent = send("https" + receiver.url().substr(4));  // it waits for the end of a request that is none
  BOOST_TEST(silent.error == "Timeout after 2000 ms");
  TlsPeer peer(good, {.shakes_hands = false});
  const auto response = send(peer.url("localhost"));
  BOOST_TEST(response.error == "Timeout after 2000 ms");
  BOOST_TEST((response.duration >= 2000ms && response.duration < 2500ms));
}

BOOST_AUTO_TEST_CASE(a_peer_that_leaves_without_a_word_ends_its_answer) {
  for (const bool says_goodbye : {true, false}) {
    TlsPeer peer(good, {.says_goodbye = says_goodbye, .keeps = false, .answer = "HTTP/1.1 200 OK\r\n\r\nfine"});
    for (int i = 0; i < 2; ++i) {
      const auto response = send(peer.url("localhost"));
      BOOST_TEST(response.error == "");
      BOOST_TEST(response.body == "fine");
    }
    BOOST_TEST(peer.connections() == 2);
  }
}

BOOST_AUTO_TEST_CASE(a_kept_connection_that_died_is_replaced) {
  // The answers promise to keep the connection.
  for (const bool says_goodbye : {true, false}) {
    TlsPeer peer(good, {.says_goodbye = says_goodbye, .keeps = false});
    for (int i = 0; i < 5; ++i) BOOST_TEST(send(peer.url("localhost")).error == "");
    BOOST_TEST(peer.connections() == 5);
    BOOST_TEST(peer.requests().size() == 5u);
  }
}

BOOST_AUTO_TEST_CASE(a_large_answer_is_cut_off) {
  TlsPeer peer(good, {.answer = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + std::string(15'000, 'y')});
  BOOST_TEST(send(peer.url("localhost")).error == "Timeout after 2000 ms");
  const std::string more = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + std::string(70'000, 'y');
  TlsPeer larger(good, {.answer = more});
  const auto response = send(larger.url("localhost"));
  BOOST_TEST(response.error == "");
  BOOST_TEST(response.body == std::string(1024, 'y'));
}

BOOST_AUTO_TEST_CASE(an_authority_nobody_named_is_not_trusted) {
  Config config;
  config.webhook_allow_private = true;
  sender = std::make_unique<WebhookSender>(config);
  TlsPeer peer(good, {});
  BOOST_TEST(send(peer.url("localhost")).error == "TLS error: unable to get local issuer certificate");
}

BOOST_AUTO_TEST_CASE(a_file_of_authorities_that_cannot_be_read_stops_the_program_at_its_start) {
  Config config;
  for (const char* path : {"/nonexistent/ca.pem", "/dev/null"}) {
    config.webhook_ca_file = path;
    BOOST_CHECK_EXCEPTION(WebhookSender{config}, ConfigError, [](const ConfigError& error) {
      return std::string(error.what()).starts_with("WEBHOOK_CA_FILE ");
    });
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker
