#include <thread>

#include "handlers/outbox.hpp"
#include "tests/api/fixture.hpp"

using namespace gamepicker;
using namespace gamepicker::test;

namespace {

const Event kEvent{"orders", "made", R"({"n":1})"};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(database, ApiFixture)

BOOST_AUTO_TEST_CASE(a_transaction_that_throws_leaves_nothing_and_no_offset_hole) {
  const auto enqueue = [&](bool fail) {
    return api.database.transaction([&](db::Transaction& tx) {
      outbox::enqueue(tx, kEvent);
      if (fail) throw std::runtime_error("on purpose");
      return 0;
    });
  };
  enqueue(false);
  BOOST_CHECK_THROW(enqueue(true), std::runtime_error);
  enqueue(false);
  BOOST_TEST(one("SELECT GROUP_CONCAT(seq ORDER BY id) FROM events") == "1,2");
  BOOST_TEST(one("SELECT head FROM channels") == "2");
}

BOOST_AUTO_TEST_CASE(the_queries_of_a_snapshot_see_one_moment_and_it_ends_with_it) {
  const auto sessions = [](db::Transaction& tx) {
    db::Rows row = tx.query("SELECT COUNT(*) FROM sessions");
    row.next();
    return row.integer();
  };
  api.database.snapshot([&](db::Transaction& tx) {
    BOOST_TEST(sessions(tx) == 0);
    database.execute("INSERT INTO sessions () VALUES ()");
    BOOST_TEST(sessions(tx) == 0);
    return 0;
  });
  BOOST_CHECK_THROW(api.database.snapshot([&](db::Transaction&) -> int { throw HttpError(404, "none"); }), HttpError);
  BOOST_TEST(api.database.read(sessions) == 1);
  BOOST_TEST(one("SELECT COUNT(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p "
                 "ON p.id = t.trx_mysql_thread_id WHERE p.db = DATABASE() AND p.id <> CONNECTION_ID()") == "0");
}

BOOST_AUTO_TEST_CASE(a_deadlock_runs_the_whole_function_again) {
  Api other(api.config);
  std::atomic<int> both_hold = 0;
  std::atomic<int> runs = 0;
  // Each side locks its first game, waits for the other to have done so, and wants the other's: one of them must lose.
  const auto lock_both = [&](Api& side, int first, int second) {
    side.database.transaction([&](db::Transaction& tx) {
      ++runs;
      tx.execute("UPDATE games SET upvotes = upvotes + 1 WHERE id = ?", first);
      ++both_hold;
      const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(5);
      while (both_hold < 2 && std::chrono::steady_clock::now() < limit) std::this_thread::yield();
      tx.execute("UPDATE games SET upvotes = upvotes + 1 WHERE id = ?", second);
      return 0;
    });
  };
  std::thread thread([&] { lock_both(other, 2, 1); });
  lock_both(api, 1, 2);
  thread.join();
  BOOST_TEST(runs == 3);
  BOOST_TEST(one("SELECT CONCAT(MIN(upvotes), MAX(upvotes)) FROM games WHERE id IN (1, 2)") == "22");
}

BOOST_AUTO_TEST_CASE(a_connection_found_dead_is_replaced_without_the_client_noticing) {
  const auto kill_connections = [&] {
    for (const auto& row : database.query(
             "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()")) {
      database.execute("KILL " + row[0]);
    }
  };
  BOOST_TEST(call("GET", "/api/games/1").status == 200);
  kill_connections();
  BOOST_TEST(call("GET", "/api/games/1").status == 200);
  open_session();
  kill_connections();
  BOOST_TEST(admin("POST", "/api/sessions/1/close").status == 200);
}

BOOST_AUTO_TEST_CASE(a_connection_lost_inside_a_transaction_changes_nothing_and_is_503) {
  const auto update = [&] {
    return api.database.transaction([&](db::Transaction& tx) {
      tx.execute("UPDATE games SET upvotes = 50 WHERE id = 1");
      for (const auto& row : database.query(
               "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()")) {
        database.execute("KILL " + row[0]);
      }
      tx.execute("UPDATE games SET upvotes = 51 WHERE id = 1");
      return 0;
    });
  };
  BOOST_CHECK_THROW(update(), db::Unavailable);
  BOOST_TEST(one("SELECT upvotes FROM games WHERE id = 1") == "0");
}

BOOST_AUTO_TEST_CASE(another_schema_version_is_not_served) {
  database.execute(
      "INSERT INTO schema_migrations (version, name, checksum, started_at, finished_at) VALUES "
      "(999, 'later', REPEAT('0', 64), UTC_TIMESTAMP(), UTC_TIMESTAMP())");
  Api fresh(api.config);
  Dispatcher fresh_dispatcher(fresh, "games");
  Request request;
  request.method = "GET";
  request.path = "/api/games";
  BOOST_TEST(send(fresh_dispatcher, request).status == 503);
}

BOOST_AUTO_TEST_CASE(two_session_creates_at_once_leave_one_active) {
  for (int round = 0; round < 5; ++round) {
    Api other(api.config);
    Dispatcher other_dispatcher(other, "sessions");
    Request request;
    request.method = "POST";
    request.path = "/api/sessions";
    request.authorization = "Bearer " + admin_token;
    int other_status = 0;
    std::thread thread([&] { other_status = send(other_dispatcher, request).status; });
    const int status = admin("POST", "/api/sessions").status;
    thread.join();
    BOOST_TEST(status + other_status == 201 + 400);
    BOOST_TEST(one("SELECT COUNT(*) FROM sessions WHERE is_active = 1") == "1");
    const std::string id = one("SELECT id FROM sessions WHERE is_active = 1");
    BOOST_TEST(admin("POST", "/api/sessions/" + id + "/close").status == 200);
  }
}

BOOST_AUTO_TEST_SUITE_END()
