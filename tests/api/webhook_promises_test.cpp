#include "handlers/outbox.hpp"
#include "shared/clock.hpp"
#include "tests/api/fixture.hpp"
#include "tests/support/webhooks.hpp"

using namespace gamepicker;
using namespace gamepicker::test;

namespace {

/// A request, and the event that webhooks get of it; none where `type` is empty.
struct Change {
  std::string type;
  const char* method;
  std::string path;
  std::string body;
};

struct PromiseFixture : ApiFixture {
  static std::string webhook(const std::string& name, const std::string& events, const std::string& more = "") {
    return R"({"name":")" + name + R"(","url":"https://a.example/","secret":"hush","events":[)" + events + "]" + more +
           "}";
  }
  void create(const std::string& name, const std::string& events, const std::string& more = "") {
    BOOST_REQUIRE_EQUAL(admin("POST", "/api/webhooks", webhook(name, events, more)).status, 201);
  }

  /// Everything the API does that webhooks hear of, in an order in which it is possible.
  static std::vector<Change> changes() {
    const std::string game = "/api/sessions/1/games/1";
    return {
        {"session.started", "POST", "/api/sessions", ""},
        {"game.added", "POST", "/api/sessions/1/games", R"({"game_id":1})"},
        {"game.status-changed", "PATCH", game + "/status", R"({"status":"playing"})"},
        {"player-count.updated", "PATCH", game + "/player-count", R"({"player_count":5})"},
        {"vote.received", "POST", "/api/votes/live",
         R"({"username":"v","vote":"up","timestamp":")" + format_iso(now() + std::chrono::minutes(1)) + "\"}"},
        {"", "POST", "/api/sessions/1/voting/start", ""},
        {"voting.ended", "POST", "/api/sessions/1/voting/end", ""},
        {"game.removed", "DELETE", game, ""},
        {"session.ended", "POST", "/api/sessions/1/close", ""},
        {"broadcast", "POST", "/api/broadcast", R"({"channel":"orders","event":"e","data":1})"},
    };
  }
  Response make(const Change& change) { return admin(change.method, change.path, change.body); }

  /// The types of the events that this webhook is to get, in their order.
  std::string owed(const std::string& name) {
    return one(
        "SELECT GROUP_CONCAT(e.type ORDER BY q.delivery_id) FROM webhook_queue q "
        "JOIN webhook_deliveries d ON d.id = q.delivery_id AND d.webhook_id = q.webhook_id "
        "JOIN events e ON e.id = d.event_id JOIN webhooks w ON w.id = q.webhook_id WHERE w.name = '" +
        name + "'");
  }
};

/// The contract's.
const std::vector<std::string> kTypes = {
    "game.added",          "session.started",     "session.ended", "player-count.updated", "vote.received",
    "voting.ended",        "game.status-changed", "game.removed",  "room.connected",       "room.disconnected",
    "lobby.player-joined", "lobby.updated",       "game.started",  "game.ended",           "game.status",
    "connection",          "disconnection",       "subscribe",     "unsubscribe",          "broadcast",
    "presence_join",       "presence_leave",      "client_event",  "webhook.disabled"};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(webhook_promises, PromiseFixture)

BOOST_AUTO_TEST_CASE(every_event_of_the_contract_can_be_asked_for_by_its_name_and_nothing_else) {
  const Response catalogue = admin("GET", "/api/webhooks/events");
  for (const std::string& type : kTypes) {
    BOOST_TEST_CONTEXT(type) {
      BOOST_TEST(catalogue.body.find("{\"name\":\"" + type + "\",") != std::string::npos);
      BOOST_TEST(at(admin("POST", "/api/webhooks", webhook(type, "\"" + type + "\"")), "events[0]") == type);
    }
  }
  BOOST_TEST(at(catalogue, "[" + std::to_string(kTypes.size()) + "]") == "null");
  std::vector<ErrorCase> cases;
  for (const char* unknown :
       {"game", "game.*.*", "poll.start", "poll.*", "game.picked", "GAME.ADDED", "connection.*"}) {
    const std::string events = std::string("\"*\",\"") + unknown + "\"";
    const std::string error = std::string("Unknown event type: ") + unknown;
    cases.push_back({"POST", "/api/webhooks", webhook("n", events), 400, error});
    cases.push_back({"PATCH", "/api/webhooks/1", "{\"events\":[" + events + "]}", 400, error});
  }
  check_errors(*this, cases);
}

BOOST_AUTO_TEST_CASE(every_event_of_the_api_is_owed_once_to_each_webhook_that_asks_for_it) {
  std::string all;
  for (const Change& change : changes()) {
    if (change.type.empty()) continue;
    create(change.type, "\"" + change.type + "\"");
    all += (all.empty() ? "" : ",") + change.type;
  }
  create("all", "\"*\"");
  create("sessions", R"("session.*")");
  create("games", R"("game.*","game.added")");
  create("others", R"("webhook.disabled","room.*")");
  for (const Change& change : changes()) {
    const Response response = make(change);
    BOOST_TEST(response.status < 300, change.method << " " << change.path << ": " << response.body);
  }
  for (const Change& change : changes()) {
    if (change.type.empty()) continue;
    BOOST_TEST_CONTEXT(change.type) {
      BOOST_TEST(owed(change.type) == change.type);
      const std::string time = change.type == "broadcast" ? "1[0-9]{12}" : "\"20[0-9-]{8}T[0-9:]{8}[.][0-9]{3}Z\"";
      BOOST_TEST(one("SELECT body REGEXP '^[{]\"event\":\"" + change.type + "\",\"timestamp\":" + time +
                     ",\"data\":[{].*[}][}]$' FROM events WHERE type = '" + change.type + "'") == "1");
    }
  }
  BOOST_TEST(owed("all") == all);
  BOOST_TEST(owed("sessions") == "session.started,session.ended");
  BOOST_TEST(owed("games") == "game.added,game.status-changed,game.removed");
  BOOST_TEST(owed("others") == "NULL");
}

BOOST_AUTO_TEST_CASE(a_change_whose_delivery_cannot_be_written_is_not_made) {
  create("all", "\"*\"");
  const auto everything = [&] {
    return database.query("CHECKSUM TABLE sessions, session_games, games, live_votes, events, channels, webhook_queue");
  };
  for (const Change& change : changes()) {
    BOOST_TEST_CONTEXT(change.method << " " << change.path) {
      if (!change.type.empty()) {
        for (const char* table : {"webhook_deliveries", "webhook_queue"}) {
          const auto before = everything();
          database.execute(std::string("CREATE TRIGGER refuse BEFORE INSERT ON ") + table +
                           " FOR EACH ROW SIGNAL SQLSTATE '45000'");
          BOOST_TEST(make(change).status >= 500);
          database.execute("DROP TRIGGER refuse");
          BOOST_TEST((everything() == before), table);
          // The paths name the first session and its first game.
          database.execute("ALTER TABLE sessions AUTO_INCREMENT = 1; ALTER TABLE session_games AUTO_INCREMENT = 1");
        }
      }
      BOOST_TEST(make(change).status < 300);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_change_that_is_given_up_leaves_no_delivery) {
  create("all", "\"*\"");
  const auto change = [&](bool fail) {
    return api.database.transaction([&](db::Transaction& tx) {
      outbox::enqueue(tx, {"orders", "session.ended", "{}"});
      outbox::enqueue_for_webhooks(tx, "orders", "broadcast", R"({"channel":"orders","event":"e","data":1})");
      if (fail) throw std::runtime_error("on purpose");
      return 0;
    });
  };
  BOOST_CHECK_THROW(change(true), std::runtime_error);
  const std::string count =
      "SELECT CONCAT_WS(' ', (SELECT COUNT(*) FROM events), (SELECT COUNT(*) FROM webhook_deliveries), "
      "(SELECT COUNT(*) FROM webhook_queue))";
  BOOST_TEST(one(count) == "0 0 0");
  change(false);
  BOOST_TEST(one(count) == "2 2 2");
}

BOOST_AUTO_TEST_CASE(a_test_says_exactly_this_whatever_the_webhook_asks_for) {
  create("n", R"("session.ended")", R"(,"channels":["orders"],"enabled":false)");
  admin("POST", "/api/webhooks/test/1");
  BOOST_TEST(owed("n") == "game.added");
  BOOST_TEST(event_data_of("game.added") ==
             R"({"session":{"id":0,"is_active":true,"games_played":0},"game":{"id":0,"title":"Test Game",)"
             R"("pack_name":"Test Pack","min_players":2,"max_players":8,"manually_added":false,"room_code":null}})");
}

BOOST_AUTO_TEST_CASE(all_four_names_are_told_whichever_is_missing) {
  const std::vector<std::string> members = {R"("name":"n")", R"("url":"https://a.example/")", R"("secret":"s")",
                                            R"("events":["*"])"};
  std::vector<ErrorCase> cases;
  for (std::size_t missing = 0; missing < members.size(); ++missing) {
    std::string body;
    for (std::size_t i = 0; i < members.size(); ++i) {
      if (i != missing) body += (body.empty() ? "" : ",") + members[i];
    }
    cases.push_back(
        {"POST", "/api/webhooks", "{" + body + "}", 400, "Missing required fields: name, url, secret, events"});
  }
  check_errors(*this, cases);
}

BOOST_AUTO_TEST_CASE(any_field_can_be_changed_alone_and_the_others_stay) {
  const std::vector<std::pair<std::string, std::string>> given = {{"name", "\"m\""},
                                                                  {"url", "\"https://b.example/\""},
                                                                  {"events", R"(["game.added"])"},
                                                                  {"enabled", "false"},
                                                                  {"method", "\"PUT\""},
                                                                  {"headers", R"({"X-A":"1"})"},
                                                                  {"retryAttempts", "2"},
                                                                  {"retryDelay", "70"},
                                                                  {"timeout", "800"},
                                                                  {"channels", R"(["x.*"])"},
                                                                  {"rateLimit", "6"},
                                                                  {"concurrency", "5"}};
  const std::vector<std::string> shown = {"id",         "created_at",  "name",       "url",         "events[0]",
                                          "enabled",    "method",      "headers[0]", "timeout",     "retryAttempts",
                                          "retryDelay", "channels[0]", "rateLimit",  "concurrency", "disabled_reason"};
  create("n", "\"*\"");
  for (const auto& [name, value] : given) {
    const Response before = admin("GET", "/api/webhooks/1");
    const std::string body = "{\"" + name + "\":" + value + "}";
    BOOST_TEST_CONTEXT(body) {
      BOOST_TEST(admin("PATCH", "/api/webhooks/1", body).status == 200);
      const Response after = admin("GET", "/api/webhooks/1");
      for (const std::string& member : shown) {
        const bool changed = member == name || member == name + "[0]";
        BOOST_TEST((at(before, member) != at(after, member)) == changed, member);
      }
      BOOST_TEST(api.secrets.open(one("SELECT sealed_secret FROM webhooks")) == "hush");
    }
  }
}

BOOST_AUTO_TEST_CASE(secrets_and_the_values_of_headers_are_neither_stored_as_they_are_nor_ever_answered) {
  const std::vector<std::string> hidden = {"hush", "louder", "Bearer t", "Bearer u"};
  std::string all = admin("POST", "/api/webhooks", webhook("n", "\"*\"", R"(,"headers":{"X-A":"Bearer t"})")).body;
  const auto store = [&] {
    for (const char* table : {"webhooks", "events", "webhook_deliveries", "idempotency_keys"}) {
      for (const auto& row : database.query(std::string("SELECT * FROM ") + table)) {
        for (const std::string& value : row) all += value + "\n";
      }
    }
  };
  admin("POST", "/api/webhooks/test/1");
  store();
  all += admin("PATCH", "/api/webhooks/1", R"({"secret":"louder","headers":{"X-A":"Bearer u"}})").body;
  store();
  for (const char* path : {"", "/1", "/1/logs", "/1/deliveries", "/1/status"}) {
    all += admin("GET", std::string("/api/webhooks") + path).body;
  }
  for (const std::string& text : hidden) BOOST_TEST(all.find(text) == std::string::npos, text);
  BOOST_TEST(api.secrets.open(one("SELECT sealed_secret FROM webhooks")) == "louder");
  BOOST_TEST(api.secrets.open(one("SELECT previous_sealed_secret FROM webhooks")) == "hush");
  BOOST_TEST(api.secrets.open(one("SELECT sealed_headers FROM webhooks")) == R"({"X-A":"Bearer u"})");
}

BOOST_AUTO_TEST_CASE(a_log_row_and_a_delivery_say_exactly_this) {
  create("n", "\"*\"");
  WebhookData data{database};
  const std::string id = data.deliver(1, "orders", R"({"n":[1,null]})");
  database.execute(
      "INSERT INTO webhook_logs (webhook_id, delivery_id, attempt, error_message, duration_ms, created_at) VALUES "
      "(1, 1, 2, 'Timeout after 5000 ms', 5000, '2026-03-15 20:30:00.5')");
  BOOST_TEST(admin("GET", "/api/webhooks/1/logs").body ==
             R"([{"id":1,"webhook_id":1,"event_type":"game.added","payload":{"n":[1,null]},"response_status":null,)"
             R"("error_message":"Timeout after 5000 ms","created_at":"2026-03-15T20:30:00.500Z","delivery_id":1,)"
             R"("attempt":2,"duration_ms":5000,"response_body":null,"peer_address":null,"timings":{"dns_ms":null,)"
             R"("connect_ms":null,"tls_ms":null,"first_byte_ms":null,"total_ms":5000}}])");
  database.execute(
      "DELETE FROM webhook_queue; UPDATE webhook_deliveries SET event_id = 41, status = 'failed', attempts = 8, "
      "created_at = '2026-03-15 20:30:00', finished_at = '2026-03-15 20:31:00'; UPDATE events SET id = 41");
  BOOST_TEST(admin("GET", "/api/webhooks/1/deliveries").body ==
             "[{\"id\":" + id +
                 R"(,"event_id":41,"event_type":"game.added","status":"failed","attempts":8,"next_attempt_at":null,)"
                 R"("created_at":"2026-03-15T20:30:00.000Z","finished_at":"2026-03-15T20:31:00.000Z"}])");
}

BOOST_AUTO_TEST_CASE(a_page_is_fifty_rows_unless_another_length_is_asked_for) {
  create("n", "\"*\"");
  WebhookData data{database};
  for (int i = 0; i < 52; ++i) data.deliver(1, "orders");
  database.execute(
      "INSERT INTO webhook_logs (webhook_id, delivery_id, attempt, duration_ms) "
      "SELECT 1, id, 1, 1 FROM webhook_deliveries");
  for (const char* list : {"logs", "deliveries"}) {
    BOOST_TEST_CONTEXT(list) {
      const auto rows = [&](const std::string& query) {
        const Response page = admin("GET", std::string("/api/webhooks/1/") + list + query);
        int count = 0;
        while (at(page, "[" + std::to_string(count) + "]") != "null") ++count;
        return count;
      };
      BOOST_TEST(rows("") == 50);
      BOOST_TEST(rows("?limit=1") == 1);
      BOOST_TEST(rows("?limit=500") == 52);
      const std::string path = std::string("/api/webhooks/1/") + list;
      check_errors(*this, {{"GET", path + "?limit=0", "", 400, "limit must be a whole number from 1 to 500"}});
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
