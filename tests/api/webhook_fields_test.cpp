#include "shared/json_writer.hpp"
#include "tests/api/fixture.hpp"

using namespace gamepicker;
using namespace gamepicker::test;

namespace {

/// The body of a new webhook with these members behind the required ones.
std::string webhook(const std::string& members) {
  return R"({"name":"n","url":"https://example.com/hook","secret":"hush","events":["*"])" +
         (members.empty() ? "" : "," + members) + "}";
}

std::string list_of(const char* element, int count) {
  std::string list;
  for (int i = 0; i < count; ++i) list.append(i == 0 ? "" : ",").append(element);
  return "[" + list + "]";
}

std::string headers_of(int count, const std::string& value) {
  std::string members;
  for (int i = 0; i < count; ++i) {
    members.append(i == 0 ? "" : ",").append("\"X-" + std::to_string(i) + "\":\"" + value + "\"");
  }
  return R"("headers":{)" + members + "}";
}

/// The API with addresses guarded, as it is in production.
struct GuardedFixture : ApiFixture {
  GuardedFixture() : guarded(guarded_config(database)), guarded_dispatcher(guarded, "") {}

  static Config guarded_config(const TestDatabase& database) {
    Config config = api_config(database);
    config.webhook_allow_private = false;
    return config;
  }

  Response ask(const std::string& method, const std::string& path, const std::string& body) {
    Request request;
    request.method = method;
    request.path = path;
    request.body = body;
    request.authorization = "Bearer " + admin_token;
    return send(guarded_dispatcher, request);
  }

  Api guarded;
  Dispatcher guarded_dispatcher;
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(webhook_fields, ApiFixture)

BOOST_AUTO_TEST_CASE(every_optional_field_is_kept_and_null_brings_its_default_back) {
  const std::string defaults =
      R"("method":"POST","headers":[],"disabled_reason":null,"retryAttempts":null,"retryDelay":null,"timeout":null,)"
      R"("channels":[],"rateLimit":null,"concurrency":1)";
  BOOST_TEST(admin("POST", "/api/webhooks", webhook("")).body.find(defaults) != std::string::npos);
  const Response created = admin("POST", "/api/webhooks",
                                 webhook(R"("method":"PUT","headers":{"X-Team":"red","Authorization":"Bearer t"},)"
                                         R"("retryAttempts":0,"retryDelay":250,"timeout":100,"rateLimit":10000,)"
                                         R"("channels":["session.*","orders"],"concurrency":32,"enabled":0)"));
  BOOST_TEST(created.status == 201);
  const std::string given =
      R"("enabled":false,"created_at":")" + at(created, "created_at") +
      R"(","method":"PUT","headers":["Authorization","X-Team"],"disabled_reason":null,"retryAttempts":0,)"
      R"("retryDelay":250,"timeout":100,"channels":["session.*","orders"],"rateLimit":10000,"concurrency":32)";
  BOOST_TEST(created.body.find(given) != std::string::npos, created.body);
  BOOST_TEST(admin("GET", "/api/webhooks/2").body.find(given) != std::string::npos);
  BOOST_TEST(one("SELECT all_channels FROM webhooks WHERE id = 2") == "0");
  const std::string sealed = one("SELECT sealed_headers FROM webhooks WHERE id = 2");
  BOOST_TEST(api.secrets.open(sealed) == R"({"Authorization":"Bearer t","X-Team":"red"})");

  const Response kept = admin("PATCH", "/api/webhooks/2", R"({"name":"m"})");
  BOOST_TEST(kept.body.find(given) != std::string::npos);
  BOOST_TEST(one("SELECT sealed_headers FROM webhooks WHERE id = 2") == sealed);
  const Response reset = admin("PATCH", "/api/webhooks/2",
                               R"({"method":null,"headers":null,"retryAttempts":null,"retryDelay":null,)"
                               R"("timeout":null,"channels":null,"rateLimit":null,"concurrency":null})");
  BOOST_TEST(reset.status == 200);
  BOOST_TEST(reset.body.find(defaults) != std::string::npos, reset.body);
  BOOST_TEST(one("SELECT CONCAT(all_channels, sealed_headers IS NULL) FROM webhooks WHERE id = 2") == "11");
  BOOST_TEST(at(admin("PATCH", "/api/webhooks/2", R"({"channels":["a","a"]})"), "channels[0]") == "a");
  BOOST_TEST(one("SELECT COUNT(*) FROM webhook_channels") == "1");
  BOOST_TEST(admin("PATCH", "/api/webhooks/2", R"({"channels":[],"headers":{}})").body.find(defaults) !=
             std::string::npos);
  BOOST_TEST(one("SELECT all_channels FROM webhooks WHERE id = 2") == "1");
}

BOOST_AUTO_TEST_CASE(the_largest_of_everything_fits) {
  const std::string channel(200, '_');
  const Response created = admin("POST", "/api/webhooks",
                                 webhook(R"("retryAttempts":20,"retryDelay":7200000,"timeout":30000,"channels":[")" +
                                         channel + R"("],)" + headers_of(8, std::string(980, 'v'))));
  BOOST_TEST(created.status == 201);
  BOOST_TEST(one("SELECT like_pattern FROM webhook_channels").size() == 400U);
  BOOST_TEST(admin("PATCH", "/api/webhooks/1", "{" + headers_of(20, std::string(300, '~')) + "}").status == 200);
}

BOOST_AUTO_TEST_CASE(a_bad_field_is_refused_by_its_name) {
  struct Bad {
    std::string members;
    std::string error;
  };
  const std::vector<Bad> table = {
      {R"("method":"GET")", "method must be POST or PUT"},
      {R"("method":"post")", "method must be POST or PUT"},
      {R"("method":7)", "method must be a string"},
      {R"("headers":[])", "headers must be an object"},
      {R"("headers":"X")", "headers must be an object"},
      {R"("headers":{"X-A":1})", "headers.X-A must be a string"},
      {R"("headers":{"X-A":null})", "headers.X-A must be a string"},
      {R"("headers":{"X-A":"a\r\nX-B: b"})", "headers.X-A must be one line without blanks at its ends"},
      {R"("headers":{"X-A":" a"})", "headers.X-A must be one line without blanks at its ends"},
      {R"("headers":{"X-A":"a\u007f"})", "headers.X-A must be one line without blanks at its ends"},
      {R"("headers":{"X-A":"a\u0000"})", "headers.X-A must not contain U+0000"},
      {R"("headers":{"X-A":")" + std::string(1001, 'v') + "\"}", "headers.X-A must be at most 1000 characters"},
      {R"("headers":{"":"v"})", "headers must have names of HTTP token characters, 1 to 100 each"},
      {R"("headers":{"a b":"v"})", "headers must have names of HTTP token characters, 1 to 100 each"},
      {R"("headers":{"a:":"v"})", "headers must have names of HTTP token characters, 1 to 100 each"},
      {R"("headers":{")" + std::string(101, 'n') + R"(":"v"})",
       "headers must have names of HTTP token characters, 1 to 100 each"},
      {R"("headers":{"X-A":"1","x-a":"2"})", "headers must not have x-a twice"},
      {headers_of(21, "v"), "headers must have at most 20 entries"},
      {headers_of(9, std::string(1000, 'v')), "headers must be at most 8000 bytes of JSON"},
      {headers_of(5, std::string(1000, '\\') + std::string(1000, '\\')), "headers must be at most 8000 bytes of JSON"},
      {R"("retryAttempts":-1)", "retryAttempts must be at least 0"},
      {R"("retryAttempts":21)", "retryAttempts must be at most 20"},
      {R"("retryAttempts":"3")", "retryAttempts must be an integer"},
      {R"("retryDelay":-1)", "retryDelay must be at least 0"},
      {R"("retryDelay":7200001)", "retryDelay must be at most 7200000"},
      {R"("retryDelay":1.5)", "retryDelay must be an integer"},
      {R"("timeout":99)", "timeout must be at least 100"},
      {R"("timeout":30001)", "timeout must be at most 30000"},
      {R"("timeout":true)", "timeout must be an integer"},
      {R"("rateLimit":0)", "rateLimit must be at least 1"},
      {R"("rateLimit":10001)", "rateLimit must be at most 10000"},
      {R"("rateLimit":[])", "rateLimit must be an integer"},
      {R"("concurrency":0)", "concurrency must be at least 1"},
      {R"("concurrency":33)", "concurrency must be at most 32"},
      {R"("concurrency":{})", "concurrency must be an integer"},
      {R"("channels":"a")", "channels must be an array"},
      {R"("channels":[7])", "channels[0] must be a string"},
      {R"("channels":["a",""])", "channels[1] must be a channel name, with * for any characters"},
      {R"("channels":["a b"])", "channels[0] must be a channel name, with * for any characters"},
      {R"("channels":["a%"])", "channels[0] must be a channel name, with * for any characters"},
      {R"("channels":["a|b"])", "channels[0] must be a channel name, with * for any characters"},
      {R"("channels":[")" + std::string(201, 'c') + "\"]", "channels[0] must be at most 200 characters"},
      {R"("channels":)" + list_of("\"a\"", 51), "channels must have at most 50 entries"},
      {R"("events":)" + list_of("\"*\"", 51), "events must have at most 50 entries"},
      {R"("enabled":2)", "enabled must be true or false"},
  };
  admin("POST", "/api/webhooks", webhook(""));
  std::vector<ErrorCase> cases;
  for (const Bad& bad : table) {
    cases.push_back({"POST", "/api/webhooks", webhook(bad.members), 400, bad.error});
    cases.push_back({"PATCH", "/api/webhooks/1", "{" + bad.members + "}", 400, bad.error});
  }
  check_errors(*this, cases);
  BOOST_TEST(one("SELECT COUNT(*) FROM webhooks") == "1");
}

BOOST_AUTO_TEST_CASE(headers_of_the_contract_and_of_the_connection_cannot_be_set) {
  std::vector<ErrorCase> cases;
  for (const char* name : {"Content-Type",
                           "content-type",
                           "User-Agent",
                           "Host",
                           "Content-Length",
                           "Connection",
                           "Transfer-Encoding",
                           "TE",
                           "Trailer",
                           "Upgrade",
                           "Expect",
                           "Keep-Alive",
                           "Proxy-Authorization",
                           "Proxy-Connection",
                           "X-Webhook-Event",
                           "X-Webhook-Signature",
                           "x-webhook-anything",
                           "webhook-id",
                           "Webhook-Signature",
                           "webhook-timestamp"}) {
    cases.push_back({"POST", "/api/webhooks", webhook(R"("headers":{")" + std::string(name) + R"(":"v"})"), 400,
                     std::string("headers must not have ") + name});
  }
  check_errors(*this, cases);
}

BOOST_AUTO_TEST_CASE(a_new_secret_keeps_the_old_one_for_a_day_and_the_same_one_changes_nothing) {
  admin("POST", "/api/webhooks", webhook(""));
  BOOST_TEST(one("SELECT previous_sealed_secret FROM webhooks") == "NULL");
  admin("PATCH", "/api/webhooks/1", R"({"secret":"louder"})");
  const auto check = [&] {
    BOOST_TEST(api.secrets.open(one("SELECT sealed_secret FROM webhooks")) == "louder");
    BOOST_TEST(api.secrets.open(one("SELECT previous_sealed_secret FROM webhooks")) == "hush");
    BOOST_TEST(one("SELECT ABS(TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(3) + INTERVAL 24 HOUR, previous_secret_until)) < 60 "
                   "FROM webhooks") == "1");
  };
  check();
  // A client that repeats its request must not make both the same.
  admin("PATCH", "/api/webhooks/1", R"({"secret":"louder","name":"again"})");
  check();
  const Response read = admin("GET", "/api/webhooks/1");
  for (const char* hidden : {"hush", "louder", "secret"}) BOOST_TEST(read.body.find(hidden) == std::string::npos);
}

BOOST_AUTO_TEST_CASE(enabling_and_another_url_end_the_back_off) {
  admin("POST", "/api/webhooks", webhook(""));
  const auto fail = [&] {
    database.execute("UPDATE webhooks SET enabled = 0, disabled_reason = 'gone'");
    database.execute(
        "REPLACE INTO webhook_health VALUES (1, 7, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), 'HTTP 500', NOW())");
  };
  const auto health = [&] {
    return one(
        "SELECT CONCAT_WS(' ', failures, failing_since IS NULL, backoff_until IS NULL, last_error) "
        "FROM webhook_health");
  };
  fail();
  admin("PATCH", "/api/webhooks/1", R"({"name":"m","url":"https://example.com/hook"})");
  BOOST_TEST(health() == "7 0 0 HTTP 500");
  BOOST_TEST(at(admin("GET", "/api/webhooks/1"), "disabled_reason") == "gone");
  admin("PATCH", "/api/webhooks/1", R"({"url":"https://example.com/other"})");
  BOOST_TEST(health() == "0 1 1 HTTP 500");
  BOOST_TEST(at(admin("GET", "/api/webhooks/1"), "disabled_reason") == "gone");
  fail();
  BOOST_TEST(at(admin("PATCH", "/api/webhooks/1", R"({"enabled":true})"), "disabled_reason") == "null");
  BOOST_TEST(health() == "0 1 1 HTTP 500");
}

BOOST_AUTO_TEST_CASE(channels_choose_events_by_the_channel_they_are_about) {
  for (const char* channels : {"null", R"(["session.1"])", R"(["session.2"])", R"(["x","se*n.*"])", R"(["session_1"])",
                               R"(["*"])", R"(["Session.1"])", R"(["session.1*"])"}) {
    admin("POST", "/api/webhooks", webhook(std::string(R"("channels":)") + channels));
  }
  const std::string session = open_session();
  database.execute("DELETE FROM webhook_deliveries");
  admin("POST", "/api/sessions/" + session + "/close");
  BOOST_TEST(session == "1");
  BOOST_TEST(one("SELECT GROUP_CONCAT(webhook_id ORDER BY webhook_id) FROM webhook_deliveries") == "1,2,4,6,8");
}

BOOST_AUTO_TEST_CASE(headers_sealed_with_another_key_can_be_set_anew) {
  admin("POST", "/api/webhooks", webhook(R"("headers":{"X-A":"1"})"));
  database.execute("UPDATE webhooks SET sealed_headers = 'v1:AAAA', sealed_secret = 'v1:AAAA'");
  BOOST_TEST(at(admin("GET", "/api/webhooks/1"), "headers[0]") == "null");
  const Response changed = admin("PATCH", "/api/webhooks/1", R"({"headers":{"X-B":"2"},"secret":"new"})");
  BOOST_TEST(at(changed, "headers[0]") == "X-B");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_FIXTURE_TEST_SUITE(webhook_urls, GuardedFixture)

BOOST_AUTO_TEST_CASE(addresses_that_are_not_public_are_refused_when_saved_in_every_spelling) {
  const std::string loopback = "url: Address not allowed: 127.0.0.1 is loopback";
  const std::vector<std::pair<std::string, std::string>> table = {
      {"http://127.0.0.1/", loopback},
      {"http://127.0.0.1./", loopback},
      {"http://2130706433/", loopback},
      {"http://0x7f.1/", loopback},
      {"http://127.1/", loopback},
      {"http://017700000001/", loopback},
      {"https://0x7f000001:443/x?y", loopback},
      {"http://localhost/", "url: Address not allowed: localhost is loopback"},
      {"http://LOCALHOST./", "url: Address not allowed: LOCALHOST. is loopback"},
      {"http://10.1.2.3/", "url: Address not allowed: 10.1.2.3 is private"},
      {"http://169.254.169.254/", "url: Address not allowed: 169.254.169.254 is link-local or metadata"},
      {"http://0.0.0.0/", "url: Address not allowed: 0.0.0.0 is unspecified"},
      {"http://[::1]/", "url: Address not allowed: ::1 is loopback"},
      {"http://[0:0:0:0:0:0:0:1]/", "url: Address not allowed: ::1 is loopback"},
      {"http://[::ffff:127.0.0.1]/", "url: Address not allowed: ::ffff:127.0.0.1 is v4-mapped"},
      {"http://[fe80::1]/", "url: Address not allowed: fe80::1 is link-local"},
      {"http://[64:ff9b::7f00:1]/", "url: Address not allowed: 64:ff9b::7f00:1 is NAT64"},
      {"http://256.256.256.256/", "url: Address not allowed: 256.256.256.256 is not an address"},
      {"http://example.com:22/", "url: Port not allowed: 22"},
      {"https://example.com:1023/", "url: Port not allowed: 1023"},
      {"http://[fe80::1%25eth0]/", "Invalid URL format"},
      {"http://user:pass@example.com/", "Invalid URL format"},
      {"http://example.com@127.0.0.1/", "Invalid URL format"},
      {"http://example.com\\\\@127.0.0.1/", "Invalid URL format"},
      {"http://[::1/", "Invalid URL format"},
      {"http://example.com:0/", "Invalid URL format"},
      {"http://example.com:65536/", "Invalid URL format"},
      {"http:///x", "Invalid URL format"},
      {"//example.com/", "Invalid URL format"},
      {"javascript:alert(1)", "Invalid URL format"},
      {"file:///etc/passwd", "Invalid URL format"},
      {"http://exa mple.com/", "Invalid URL format"},
      {"http://example.com/a\\nb", "Invalid URL format"},
  };
  for (const auto& [url, error] : table) {
    BOOST_TEST_CONTEXT(url) {
      const Response response =
          ask("POST", "/api/webhooks", R"({"name":"n","url":")" + url + R"(","secret":"s","events":["*"]})");
      BOOST_TEST(response.status == 400);
      BOOST_TEST(at(response, "error") == error);
    }
  }
  for (const char* url : {"https://example.com/hook", "HTTP://EXAMPLE.com:8080", "http://8.8.8.8:443/?a=b#c",
                          "https://[2606:4700::1111]/", "https://xn--bcher-kva.example/"}) {
    BOOST_TEST_CONTEXT(url) {
      const Response response = ask("POST", "/api/webhooks",
                                    R"({"name":"n","url":")" + std::string(url) + R"(","secret":"s","events":["*"]})");
      BOOST_TEST(response.status == 201);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_test_of_an_address_that_was_allowed_when_saved_is_refused) {
  admin("POST", "/api/webhooks", R"({"name":"n","url":"http://127.0.0.1:9/","secret":"s","events":["*"]})");
  const Response refused = ask("POST", "/api/webhooks/test/1", "");
  BOOST_TEST(refused.status == 400);
  BOOST_TEST(at(refused, "error") == "url: Port not allowed: 9");
  BOOST_TEST(at(ask("PATCH", "/api/webhooks/1", R"({"url":"http://127.1/"})"), "error") ==
             "url: Address not allowed: 127.0.0.1 is loopback");
  BOOST_TEST(ask("PATCH", "/api/webhooks/1", R"({"name":"m"})").status == 200);
  BOOST_TEST(one("SELECT COUNT(*) FROM webhook_queue") == "0");
}

BOOST_AUTO_TEST_SUITE_END()
