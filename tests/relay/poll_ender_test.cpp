#include "relay/poll_ender.hpp"

#include <chrono>

#include <boost/test/unit_test.hpp>

#include "tests/support/wait_until.hpp"
#include "tests/support/webhooks.hpp"

using namespace gamepicker;
using namespace gamepicker::test;

namespace {

struct PollEnderFixture {
  Counter database_errors;
  /// Waits until the query's first value is `wanted`.
  bool becomes(const std::string& sql, const std::string& wanted) {
    return wait_until([&] { return database.value(sql) == wanted; });
  }
  /// A relay starts when the end of a poll has been due for a minute.
  void make_up_for_an_end();

  TestDatabase database;
};

constexpr char kEnded[] = "SELECT COUNT(*) FROM events WHERE type = 'voting.ended'";

void PollEnderFixture::make_up_for_an_end() {
  database.execute(
      "INSERT INTO sessions (poll_started_at, poll_ends_at) VALUES "
      "(UTC_TIMESTAMP(3) - INTERVAL 1 HOUR, UTC_TIMESTAMP(3) - INTERVAL 1 MINUTE)");
  PollEnder polls(database.config(), database_errors);
  polls.start();
  BOOST_TEST(becomes(kEnded, "1"));
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(poll_ender, PollEnderFixture)

BOOST_AUTO_TEST_CASE(a_poll_ends_when_it_is_due_and_not_before) {
  database.execute(
      "INSERT INTO sessions (poll_started_at, poll_ends_at, poll_leading_game_id, poll_leading_label, "
      "poll_leading_votes) VALUES (UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) + INTERVAL 2 SECOND, 7, 'Quip \xF0\x9F\x8E\xB2', 3)");
  const std::string due = database.value("SELECT poll_ends_at FROM sessions");
  PollEnder polls(database.config(), database_errors);
  polls.start();
  BOOST_TEST(becomes(kEnded, "1"));
  BOOST_TEST(database.value("SELECT created_at >= '" + due + "' FROM events") == "1");
  BOOST_TEST(database.value("SELECT body LIKE '%\"data\":{\"sessionId\":1,\"winnerGameId\":7,\"winnerLabel\":\"Quip "
                            "\xF0\x9F\x8E\xB2\",\"winnerVotes\":3}}' FROM events") == "1");
  BOOST_TEST(database.value("SELECT COALESCE(poll_started_at, poll_ends_at, poll_leading_game_id, 'none') "
                            "FROM sessions") == "none");
}

BOOST_AUTO_TEST_CASE(an_end_that_came_due_while_no_relay_ran_is_made_up_for) {
  make_up_for_an_end();
}

BOOST_AUTO_TEST_CASE(webhooks_are_owed_an_end_that_came_by_itself) {
  WebhookData data{database};
  for (int id = 1; id <= 3; ++id) data.webhook(id);
  database.execute("INSERT INTO webhook_patterns VALUES (1, 'voting.ended', 0), (2, 'voting.*', 0), (3, 'game.*', 0)");
  make_up_for_an_end();
  BOOST_TEST(database.value("SELECT GROUP_CONCAT(webhook_id ORDER BY webhook_id) FROM webhook_queue") == "1,2");
}

BOOST_AUTO_TEST_CASE(of_several_relays_one_ends_a_poll) {
  database.execute("INSERT INTO sessions (is_active) VALUES (0), (0), (0), (0), (0), (0), (0), (0)");
  database.execute(
      "UPDATE sessions SET poll_started_at = UTC_TIMESTAMP(3), poll_ends_at = UTC_TIMESTAMP(3) + INTERVAL 1 SECOND");
  PollEnder first(database.config(), database_errors);
  PollEnder second(database.config(), database_errors);
  first.start();
  second.start();
  BOOST_TEST(becomes("SELECT COUNT(*) FROM sessions WHERE poll_ends_at IS NOT NULL", "0"));
  first.stop();
  second.stop();
  BOOST_TEST(database.value(kEnded) == "8");
}

BOOST_AUTO_TEST_SUITE_END()
