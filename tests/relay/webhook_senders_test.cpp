#include "relay/webhook_senders.hpp"

#include <map>
#include <optional>
#include <thread>

#include <boost/test/unit_test.hpp>

#include "relay/webhook_queue.hpp"
#include "tests/support/wait_until.hpp"
#include "tests/support/webhooks.hpp"

namespace gamepicker {
namespace {

using namespace std::chrono_literals;

struct Sender {
  explicit Sender(const Config& config) : database(config) { senders.look(); }

  Database database;
  WebhookSenders senders{database};
};

struct SendersFixture {
  test::TestDatabase database;
  test::WebhookData data{database};

  /// Looks until `done`.
  template <typename Done>
  void look_until(Sender& sender, Done done) {
    BOOST_TEST(test::wait_until([&] {
      sender.senders.look();
      return done();
    }));
  }
  /// The server may take a moment to end a connection, and the lock with it.
  void come_back(Sender& sender) {
    const auto back = [&] {
      try {
        sender.senders.look();
      } catch (const DatabaseError&) {
      }
      return sender.senders.registered();
    };
    BOOST_TEST(test::wait_until(back));
  }
  std::string registered() { return database.value("SELECT COUNT(*) FROM webhook_senders"); }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(webhook_senders, SendersFixture)

BOOST_AUTO_TEST_CASE(every_webhook_has_one_owner_and_each_sender_a_fair_share) {
  const std::vector<std::int64_t> senders{3, 4, 9};
  std::map<std::int64_t, int> shares;
  for (std::int64_t id = 1; id <= 3000; ++id) ++shares[owner_of(id, senders)];
  BOOST_TEST(shares.size() == 3u);
  for (const auto& [sender, share] : shares) BOOST_TEST((share > 800 && share < 1200));
}

BOOST_AUTO_TEST_CASE(a_sender_that_goes_moves_only_its_own_webhooks) {
  for (std::int64_t id = 1; id <= 500; ++id) {
    const std::int64_t before = owner_of(id, {3, 4, 9});
    const std::int64_t after = owner_of(id, {3, 9});
    BOOST_TEST((before == 4 || before == after));
  }
  BOOST_TEST(owner_of(7, {}) == 0);
}

BOOST_AUTO_TEST_CASE(two_senders_share_once_each_has_noticed_the_other_and_one_that_leaves_is_missed_at_once) {
  Sender first(database.config());
  BOOST_TEST(first.senders.owns(7));  // alone
  std::optional<Sender> second(std::in_place, database.config());
  BOOST_TEST(second->senders.new_among_others());
  for (std::int64_t id = 1; id <= 50; ++id) BOOST_TEST(!second->senders.owns(id));
  first.senders.look();
  look_until(*second, [&] { return !second->senders.new_among_others(); });
  for (std::int64_t id = 1; id <= 50; ++id) BOOST_TEST(first.senders.owns(id) != second->senders.owns(id));
  second->senders.leave();
  first.senders.look();
  for (std::int64_t id = 1; id <= 50; ++id) BOOST_TEST(first.senders.owns(id));
}

BOOST_AUTO_TEST_CASE(leases_of_a_sender_that_died_are_given_back_at_once) {
  data.webhook(1);
  data.deliver(1);
  Sender first(database.config());
  std::optional<Sender> second(std::in_place, database.config());
  const Claim claim =
      WebhookQueue(second->database).claim({{.webhook_id = 1}}, lease_token(second->senders.number(), 1), 20s);
  BOOST_TEST(claim.deliveries.size() == 1u);
  second.reset();  // the connection ends, as by kill -9: the row stays
  BOOST_TEST(registered() == "2");
  look_until(first, [&] { return registered() == "1"; });
  BOOST_TEST(database.value("SELECT lease_token IS NULL AND due_at <= UTC_TIMESTAMP(3) FROM webhook_queue") == "1");
}

BOOST_AUTO_TEST_CASE(a_sender_whose_connection_was_lost_is_not_dead) {
  Sender first(database.config());
  Sender second(database.config());
  const std::int64_t number = second.senders.number();
  for (const auto& row : database.query("SELECT id FROM information_schema.processlist WHERE db = DATABASE() "
                                        "AND id <> CONNECTION_ID()")) {
    database.execute("KILL " + row.at(0));
  }
  BOOST_CHECK_THROW(first.senders.look(), DatabaseError);
  BOOST_CHECK_THROW(second.senders.look(), DatabaseError);
  come_back(first);
  BOOST_TEST(!second.senders.registered());
  come_back(second);
  BOOST_TEST(second.senders.number() == number);
  std::this_thread::sleep_for(500ms);  // longer than the suspicion
  first.senders.look();
  BOOST_TEST(registered() == "2");
  BOOST_TEST(!first.senders.suspicious());
}

BOOST_AUTO_TEST_CASE(a_sender_that_was_buried_comes_back_under_a_new_number) {
  Sender sender(database.config());
  const std::int64_t number = sender.senders.number();
  database.execute("DELETE FROM webhook_senders");
  sender.database.query("SELECT 1");
  Database other(database.config());
  WebhookSenders again(other);
  again.look();
  BOOST_TEST(again.number() != number);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker
