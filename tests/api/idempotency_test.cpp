#include <atomic>
#include <thread>

#include "tests/api/fixture.hpp"

using namespace gamepicker;
using namespace gamepicker::test;

namespace {

Response send_keyed(Dispatcher& dispatcher, const std::string& token, const std::string& path, const std::string& body,
                    const std::string& key) {
  Request request;
  request.method = "POST";
  request.path = path;
  request.body = body;
  request.authorization = "Bearer " + token;
  request.idempotency_key = key;
  request.request_id = "test-request";
  return send(dispatcher, request);
}

struct OnceFixture : ApiFixture {
  Response keyed(const std::string& path, const std::string& body, const std::string& key) {
    return send_keyed(dispatcher, admin_token, path, body, key);
  }
};

constexpr char kGame[] = R"({"game_id":1})";

}  // namespace

BOOST_FIXTURE_TEST_SUITE(idempotency, OnceFixture)

BOOST_AUTO_TEST_CASE(the_same_key_and_request_gets_the_first_answer_and_does_nothing_else) {
  open_session();
  const Response first = keyed("/api/sessions/1/games", kGame, "k1");
  const Response second = keyed("/api/sessions/1/games", kGame, "k1");
  BOOST_TEST(first.status == 201);
  BOOST_TEST(header(first, "Idempotent-Replayed") == "(missing)");
  BOOST_TEST(second.status == 201);
  BOOST_TEST(second.body == first.body);
  BOOST_TEST(header(second, "Idempotent-Replayed") == "true");
  BOOST_TEST(one("SELECT COUNT(*) FROM session_games") == "1");
  BOOST_TEST(keyed("/api/sessions/1/games", kGame, "k2").status == 201);
  BOOST_TEST(one("SELECT COUNT(*) FROM session_games") == "2");
}

BOOST_AUTO_TEST_CASE(the_same_key_with_another_request_is_refused) {
  open_session();
  keyed("/api/sessions/1/games", kGame, "k");
  for (const auto& [path, body] : std::vector<std::pair<std::string, std::string>>{
           {"/api/sessions/1/games", R"({"game_id":2})"}, {"/api/sessions/1/close", kGame}}) {
    const Response response = keyed(path, body, "k");
    BOOST_TEST(response.status == 409);
    BOOST_TEST(at(response, "error") == "Idempotency-Key reused with a different request");
  }
}

BOOST_AUTO_TEST_CASE(keys_belong_to_their_caller_and_last_a_day) {
  open_session();
  play("1", 1);
  const std::string vote = R"({"username":"a","vote":"up","timestamp":"2999-01-01T00:00:00Z"})";
  BOOST_TEST(keyed("/api/votes/live", vote, "k").status == 200);
  const std::string bot = api.tokens.issue(Role::bot, "admin", std::chrono::hours(1));
  BOOST_TEST(send_keyed(dispatcher, bot, "/api/votes/live", vote, "k").status ==
             409);  // not replayed: a duplicate vote
  database.execute("UPDATE idempotency_keys SET created_at = UTC_TIMESTAMP(3) - INTERVAL 25 HOUR");
  database.execute("DELETE FROM live_votes");
  const Response later = keyed("/api/votes/live", vote, "k");
  BOOST_TEST(later.status == 200);
  BOOST_TEST(header(later, "Idempotent-Replayed") == "(missing)");
}

BOOST_AUTO_TEST_CASE(a_refusal_is_remembered_too_and_changes_nothing) {
  const Response first = keyed("/api/sessions/1/games", kGame, "k");
  BOOST_TEST(first.status == 404);
  open_session();
  const Response second = keyed("/api/sessions/1/games", kGame, "k");
  BOOST_TEST(second.status == 404);
  BOOST_TEST(second.body == first.body);
  BOOST_TEST(header(second, "Idempotent-Replayed") == "true");
  BOOST_TEST(keyed("/api/sessions/1/games", "{", "k2").body == keyed("/api/sessions/1/games", "{", "k2").body);
  BOOST_TEST(one("SELECT COUNT(*) FROM session_games") == "0");
}

BOOST_AUTO_TEST_CASE(a_conflict_found_by_the_database_is_remembered_as_well) {
  open_session();
  const Response first = keyed("/api/sessions", "", "k");
  BOOST_TEST(first.status == 400);
  BOOST_TEST(at(first, "activeSessionId") == "1");
  BOOST_TEST(keyed("/api/sessions", "", "k").body == first.body);
}

BOOST_AUTO_TEST_CASE(bad_keys_are_refused) {
  for (const std::string& key : {std::string(), std::string(65, 'k'), std::string("a b"), std::string("ä"),
                                 std::string("a\tb"), std::string("a\x7f")}) {
    const Response response = keyed("/api/sessions", "", key);
    BOOST_TEST(response.status == 400);
    BOOST_TEST(at(response, "error") == "Idempotency-Key must be 1 to 64 visible ASCII characters");
  }
  BOOST_TEST(keyed("/api/sessions", "", std::string(64, '~')).status == 201);
}

BOOST_AUTO_TEST_CASE(open_endpoints_and_other_methods_do_not_look_at_the_key) {
  for (int i = 0; i < 2; ++i) {
    const Response pick = keyed("/api/pick", "", "k");
    BOOST_TEST(pick.status == 200);
    BOOST_TEST(header(pick, "Idempotent-Replayed") == "(missing)");
  }
}

BOOST_AUTO_TEST_CASE(a_token_is_issued_once_for_a_key_and_does_not_lie_open_in_the_database) {
  const std::string body = R"({"role":"bot","name":"b","expiresIn":"1h"})";
  const Response first = keyed("/api/auth/tokens", body, "k");
  BOOST_TEST(first.status == 201);
  BOOST_TEST(keyed("/api/auth/tokens", body, "k").body == first.body);
  const std::string token = at(first, "token");
  BOOST_TEST(one("SELECT COUNT(*) FROM idempotency_keys WHERE sealed_body LIKE '%" + token.substr(0, 20) + "%'") ==
             "0");
}

BOOST_AUTO_TEST_CASE(a_request_that_is_still_running_is_told_so) {
  open_session();
  // Another worker has taken the key and has not committed.
  const auto other = database.connect();
  other->execute(
      "BEGIN; INSERT INTO idempotency_keys (subject, idempotency_key, fingerprint, status, sealed_body) "
      "VALUES ('admin:admin', 'k', '', 0, '')");
  const Response response = keyed("/api/sessions/1/games", kGame, "k");
  BOOST_TEST(response.status == 409);
  BOOST_TEST(at(response, "error") == "A request with this Idempotency-Key is in progress");
  other->execute("ROLLBACK");
  BOOST_TEST(keyed("/api/sessions/1/games", kGame, "k").status == 201);
}

BOOST_AUTO_TEST_CASE(of_twenty_at_once_one_does_the_work) {
  open_session();
  std::atomic<int> created = 0;
  std::atomic<int> running = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 20; ++i) {
    threads.emplace_back([&] {
      Api mine(api.config);
      Dispatcher my_dispatcher(mine, "sessions");
      const int status = send_keyed(my_dispatcher, admin_token, "/api/sessions/1/games", kGame, "k").status;
      if (status == 201) ++created;
      if (status == 409) ++running;
    });
  }
  for (std::thread& thread : threads) thread.join();
  BOOST_TEST(created + running == 20);
  BOOST_TEST(created >= 1);
  BOOST_TEST(one("SELECT COUNT(*) FROM session_games") == "1");
}

BOOST_AUTO_TEST_SUITE_END()
