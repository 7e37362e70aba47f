// The order in which deliveries are claimed while others write, commit and lock.
#include <atomic>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "relay/webhook_queue.hpp"
#include "tests/support/webhooks.hpp"

namespace gamepicker {
namespace {

using namespace std::chrono_literals;

struct OrderFixture {
  test::TestDatabase database;
  test::WebhookData data{database};
  Database connection{database.config()};
  WebhookQueue queue{connection};
  std::uint64_t last_token = 0;
  std::size_t claimed = 0;
  std::size_t inversions = 0;

  std::vector<ClaimedDelivery> claim_of(std::int64_t webhook_id, std::size_t count) {
    return queue.claim({{.webhook_id = webhook_id, .count = count}}, ++last_token, 20s).deliveries;
  }
  /// Until the writers have ended and nothing is left.
  template <typename Condition>
  void claim_all(Condition ended) {
    std::uint64_t last = 0;
    for (bool more = true; more;) {
      more = !ended();
      for (const ClaimedDelivery& delivery : claim_of(1, 64)) {
        if (delivery.delivery_id < last) ++inversions;
        last = std::max(last, delivery.delivery_id);
        ++claimed;
        more = true;
      }
    }
  }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(webhook_claim_order, OrderFixture)

BOOST_AUTO_TEST_CASE(a_row_another_relay_is_claiming_is_not_waited_for_and_not_overtaken) {
  data.webhook(1);
  data.webhook(2);
  const std::string first = data.deliver(1);
  const std::string second = data.deliver(1);
  data.deliver(1);
  const std::string others = data.deliver(2);
  const auto other = database.connect();
  other->execute("BEGIN");
  other->query("SELECT * FROM webhook_queue WHERE delivery_id = " + second + " FOR UPDATE");
  const Claim claim = queue.claim({{.webhook_id = 1, .count = 5}, {.webhook_id = 2, .count = 5}}, 1, 20s);
  BOOST_REQUIRE(claim.deliveries.size() == 2u);
  BOOST_TEST(std::to_string(claim.deliveries[0].delivery_id) == first);
  BOOST_TEST(std::to_string(claim.deliveries[1].delivery_id) == others);
  BOOST_TEST((claim.held_up == std::set<std::int64_t>{1}));
  other->execute("COMMIT");
  const auto left = claim_of(1, 5);
  BOOST_REQUIRE(left.size() == 2u);
  BOOST_TEST(std::to_string(left[0].delivery_id) == second);
}

BOOST_AUTO_TEST_CASE(what_is_written_together_is_claimed_in_its_order_however_the_commit_falls) {
  constexpr std::size_t kTransactions = 1000;
  constexpr std::size_t kTogether = 20;
  data.webhook(1);
  std::string transaction = "START TRANSACTION; ";
  for (std::size_t i = 0; i < kTogether; ++i) {
    transaction += "CALL enqueue_event('session.3', 'game.added', 'game', '{}', NULL, 1); ";
  }
  transaction += "COMMIT";
  std::atomic<bool> written = false;
  std::thread writer([&] {
    const auto session = database.connect();
    for (std::size_t i = 0; i < kTransactions; ++i) session->execute(transaction);
    written = true;
  });
  claim_all([&] { return written.load(); });
  writer.join();
  BOOST_TEST(claimed == kTransactions * kTogether);
  BOOST_TEST(inversions == 0u);
}

BOOST_AUTO_TEST_CASE(what_writers_commit_side_by_side_is_claimed_in_the_order_of_their_channel) {
  constexpr std::size_t kWriters = 6;
  constexpr std::size_t kEach = 500;
  data.webhook(1);
  std::atomic<std::size_t> done = 0;
  std::vector<std::thread> writers;
  for (std::size_t i = 0; i < kWriters; ++i) {
    writers.emplace_back([&, i] {
      const auto session = database.connect();
      // A write before the channel's lock is waited for: the transaction has its id already.
      for (std::size_t n = 0; n < kEach; ++n) {
        session->execute("START TRANSACTION; INSERT INTO packs (name) VALUES ('" + std::to_string(i) + "/" +
                         std::to_string(n) +
                         "'); CALL enqueue_event('session.3', 'game.added', 'game', '{}', NULL, 1); COMMIT");
      }
      ++done;
    });
  }
  claim_all([&] { return done == kWriters; });
  for (std::thread& writer : writers) writer.join();
  BOOST_TEST(claimed == kWriters * kEach);
  BOOST_TEST(inversions == 0u);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker
