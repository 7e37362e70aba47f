#include "tests/api/fixture.hpp"

using namespace gamepicker;
using namespace gamepicker::test;

namespace {

constexpr char kWebhook[] =
    R"({"name":"discord","url":"https://example.com/hook","secret":"hush","events":["game.*","session.ended"]})";

}  // namespace

BOOST_FIXTURE_TEST_SUITE(webhooks, ApiFixture)

BOOST_AUTO_TEST_CASE(a_webhook_is_created_read_changed_and_deleted_without_its_secret_ever_shown) {
  const Response created = admin("POST", "/api/webhooks", kWebhook);
  BOOST_TEST(created.status == 201);
  BOOST_TEST(at(created, "message") == "Webhook created successfully");
  BOOST_TEST(at(created, "events[1]") == "session.ended");
  BOOST_TEST(at(created, "enabled") == "true");
  const Response read = admin("GET", "/api/webhooks/1");
  BOOST_TEST(read.body.find("secret") == std::string::npos);
  BOOST_TEST(admin("GET", "/api/webhooks").body == "[" + read.body + "]");

  const Response updated =
      admin("PATCH", "/api/webhooks/1", R"({"name":"new","events":["*"],"secret":"hush2","enabled":false})");
  BOOST_TEST(updated.status == 200);
  BOOST_TEST(at(updated, "message") == "Webhook updated successfully");
  BOOST_TEST(at(updated, "name") == "new");
  BOOST_TEST(at(updated, "url") == "https://example.com/hook");
  BOOST_TEST(at(updated, "events[0]") == "*");
  BOOST_TEST(at(updated, "enabled") == "false");
  BOOST_TEST(updated.body.find("hush") == std::string::npos);
  const std::string sealed = one("SELECT sealed_secret FROM webhooks");
  BOOST_TEST(sealed.find("hush") == std::string::npos);
  BOOST_TEST(api.secrets.open(sealed) == "hush2");

  BOOST_TEST(admin("DELETE", "/api/webhooks/1").body == R"({"message":"Webhook deleted successfully","webhookId":1})");
  check_errors(*this, {{"GET", "/api/webhooks/1", "", 404, "Webhook not found"}});
}

BOOST_AUTO_TEST_CASE(webhook_errors_are_the_contracts) {
  admin("POST", "/api/webhooks", kWebhook);
  const std::string missing = "Missing required fields: name, url, secret, events";
  const auto with = [](const std::string& url, const std::string& events) {
    return R"({"name":"n","url":")" + url + R"(","secret":"s","events":)" + events + "}";
  };
  check_errors(*this,
               {
                   {"POST", "/api/webhooks", "", 400, missing},
                   {"POST", "/api/webhooks", R"({"name":"n","url":"http://a/","secret":"s"})", 400, missing},
                   {"POST", "/api/webhooks", with("http://a/", "\"*\""), 400, "events must be an array"},
                   {"POST", "/api/webhooks", with("http://a/", "[7]"), 400, "events[0] must be a string"},
                   {"POST", "/api/webhooks", with("http://a/", "[]"), 400, "events must not be empty"},
                   {"POST", "/api/webhooks", with("http://a/", "[\"x.y\"]"), 400, "Unknown event type: x.y"},
                   {"POST", "/api/webhooks", with("ftp://a/", "[\"*\"]"), 400, "Invalid URL format"},
                   {"POST", "/api/webhooks", with("nonsense", "[\"*\"]"), 400, "Invalid URL format"},
                   {"POST", "/api/webhooks", with("http://", "[\"*\"]"), 400, "Invalid URL format"},
                   {"POST", "/api/webhooks", with("http://[[]]a.example/", "[\"*\"]"), 400, "Invalid URL format"},
                   {"POST", "/api/webhooks", with("http://a<b.example/", "[\"*\"]"), 400, "Invalid URL format"},
                   {"PATCH", "/api/webhooks/1", "{}", 400, "No fields to update"},
                   {"PATCH", "/api/webhooks/1", R"({"url":"x"})", 400, "Invalid URL format"},
                   {"PATCH", "/api/webhooks/1", R"({"events":7})", 400, "events must be an array"},
                   {"PATCH", "/api/webhooks/1", R"({"enabled":"yes"})", 400, "enabled must be true or false"},
                   {"PATCH", "/api/webhooks/9", R"({"name":"x"})", 404, "Webhook not found"},
                   {"DELETE", "/api/webhooks/9", "", 404, "Webhook not found"},
                   {"POST", "/api/webhooks/test/9", "", 404, "Webhook not found"},
                   {"GET", "/api/webhooks/9/logs", "", 404, "Webhook not found"},
                   {"GET", "/api/webhooks/1/logs?limit=501", "", 400, "limit must be a whole number from 1 to 500"},
                   {"GET", "/api/webhooks/1/logs?status=x", "", 400, "status must be failed or succeeded"},
               });
  BOOST_TEST(call("GET", "/api/webhooks").status == 401);
}

BOOST_AUTO_TEST_CASE(an_event_queues_one_delivery_for_each_matching_enabled_webhook) {
  const auto create = [&](const std::string& events, bool enabled) {
    admin("POST", "/api/webhooks",
          R"({"name":"n","url":"http://a/","secret":"s","events":)" + events +
              ",\"enabled\":" + (enabled ? "true" : "false") + "}");
  };
  create(R"(["session.started"])", true);
  create(R"(["session.*","*","session.started"])", true);
  create(R"(["game.*"])", true);
  create(R"(["*"])", false);
  open_session();
  BOOST_TEST(one("SELECT GROUP_CONCAT(webhook_id ORDER BY webhook_id) FROM webhook_deliveries") == "1,2");
  BOOST_TEST(one("SELECT GROUP_CONCAT(webhook_id ORDER BY webhook_id) FROM webhook_queue") == "1,2");
}

BOOST_AUTO_TEST_CASE(a_test_is_queued_for_its_webhook_alone_even_when_disabled) {
  admin("POST", "/api/webhooks", kWebhook);
  admin("POST", "/api/webhooks", kWebhook);
  admin("PATCH", "/api/webhooks/2", R"({"enabled":false})");
  BOOST_TEST(admin("POST", "/api/webhooks/test/2").body ==
             R"({"message":"Test webhook sent","note":"Check webhook_logs table for delivery status"})");
  BOOST_TEST(one("SELECT GROUP_CONCAT(webhook_id) FROM webhook_queue") == "2");
  BOOST_TEST(event_data_of("game.added").find("Test Game") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(logs_come_newest_first_and_deleting_takes_them_along) {
  admin("POST", "/api/webhooks", kWebhook);
  admin("POST", "/api/webhooks/test/1");
  database.execute(
      "INSERT INTO webhook_logs (webhook_id, delivery_id, attempt, response_status, error_message, duration_ms) VALUES "
      "(1, 1, 1, 500, 'HTTP 500', 12), (1, 1, 2, 200, NULL, 8)");
  const Response logs = admin("GET", "/api/webhooks/1/logs");
  BOOST_TEST(at(logs, "[0].attempt") == "2");
  BOOST_TEST(at(logs, "[0].error_message") == "null");
  BOOST_TEST(at(logs, "[0].event_type") == "game.added");
  BOOST_TEST(at(logs, "[0].payload.game.title") == "Test Game");
  BOOST_TEST(at(logs, "[1].response_status") == "500");
  BOOST_TEST(at(admin("GET", "/api/webhooks/1/logs?status=failed"), "[0].attempt") == "1");
  BOOST_TEST(at(admin("GET", "/api/webhooks/1/logs?before=2"), "[0].attempt") == "1");
  admin("DELETE", "/api/webhooks/1");
  BOOST_TEST(one("SELECT (SELECT COUNT(*) FROM webhook_logs) + (SELECT COUNT(*) FROM webhook_queue) + "
                 "(SELECT COUNT(*) FROM webhook_deliveries)") == "0");
}

BOOST_AUTO_TEST_SUITE_END()
