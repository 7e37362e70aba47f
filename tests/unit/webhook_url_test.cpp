#include "shared/webhook_url.hpp"

#include <boost/test/unit_test.hpp>

#include "shared/webhook_headers.hpp"

namespace gamepicker {

BOOST_AUTO_TEST_SUITE(webhook_url)

BOOST_AUTO_TEST_CASE(urls_are_taken_apart_without_changes) {
  struct {
    const char* text;
    const char* host;
    int port;
    const char* target;
    const char* header;
  } const cases[] = {
      {"http://example.com", "example.com", 80, "/", "example.com"},
      {"HTTPS://example.com/a?b#c", "example.com", 443, "/a?b", "example.com"},
      {"https://example.com:8443?x", "example.com", 8443, "/?x", "example.com:8443"},
      {"http://[2001:db8::1]:8080/", "2001:db8::1", 8080, "/", "[2001:db8::1]:8080"},
      {"http://h/ a\r\nX: y", "h", 80, "/%20a%0D%0AX:%20y", "h"},
      {"http://h:/", "h", 80, "/", "h"},
  };
  for (const auto& expected : cases) {
    const auto url = WebhookUrl::parse(expected.text);
    BOOST_REQUIRE_MESSAGE(url.has_value(), expected.text);
    BOOST_TEST(url->host == expected.host);
    BOOST_TEST(url->port == expected.port);
    BOOST_TEST(url->target == expected.target);
    BOOST_TEST(url->host_header() == expected.header);
  }
  for (const char* bad : {"",
                          "http://",
                          "http:///x",
                          "ftp://h/",
                          "http://u:p@h/",
                          "http://h:0/",
                          "http://h:70000/",
                          "http://h:8o/",
                          "http://[::1/",
                          "http://[::1]x/",
                          "http://a b/",
                          "//h/",
                          "http:/h/",
                          "http:h",
                          "http://h@127.0.0.1/",
                          "http://example.com\\@127.0.0.1/",
                          "http://[fe80::1%25lo]/",
                          "http://[[::1]]/",
                          "http://[127.0.0.1]/",
                          "http://::1/",
                          "http://127.0.0.%31/",
                          "http://ex ample.com/",
                          "http://exa\tmple.com/",
                          "http://a,b/",
                          "http://[]/",
                          "http://\xef\xbc\x91\x32\x37.0.0.1/",
                          "http://h\\x/",
                          "http://h:+80/",
                          "http://h:80:80/"}) {
    BOOST_TEST(!WebhookUrl::parse(bad).has_value(), bad);
  }
}

BOOST_AUTO_TEST_CASE(the_contracts_headers_are_reserved_in_any_case) {
  for (const char* name : {"Host", "content-length", "CONNECTION", "Transfer-Encoding", "Content-Type", "User-Agent",
                           "X-Webhook-Event", "x-webhook-signature", "X-Webhook-Delivery", "X-Webhook-Attempt",
                           "Webhook-Id", "webhook-timestamp", "Webhook-Signature"}) {
    BOOST_TEST(is_reserved_webhook_header(name), name);
  }
  for (const char* name : {"", "Authorization", "X-Webhook", "Hosts", "X-Host"}) {
    BOOST_TEST(!is_reserved_webhook_header(name), name);
  }
}

BOOST_AUTO_TEST_CASE(a_header_is_a_token_and_one_line) {
  for (const char* name : {"A", "X-Api-Key", "x.y_z~1"}) BOOST_TEST(is_header_name(name), name);
  for (const char* name : {"", "a b", "a:", "a\r\nb", "\xc3\xa4", "a\"", "(a)"})
    BOOST_TEST(!is_header_name(name), name);
  for (const char* value : {"", "a", "Bearer a.b=", "a\tb", "\xc3\xa4"}) BOOST_TEST(is_header_value(value), value);
  for (const char* value : {"a\r\nb", "a\nb", " a", "a ", "\x7f", "\x01"}) BOOST_TEST(!is_header_value(value), value);
  BOOST_TEST(!is_header_value(std::string_view("a\0b", 3)));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker
