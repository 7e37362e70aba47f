#include "tests/chaos/ledger.hpp"

#include <charconv>
#include <map>
#include <stdexcept>
#include <utility>

#include "tests/bench/load_frames.hpp"
#include "tests/chaos/log.hpp"

namespace chaos {
namespace {

using gamepicker::test::Connection;
using gamepicker::test::Sink;

/// Beyond any number of a writer or an event of one.
constexpr std::uint64_t kNobody = ~std::uint64_t{0};

std::uint64_t event_key(std::string_view body) {
  const auto writer = bench::number_after(body, R"("writer":)");
  const auto number = bench::number_after(body, R"("number":)");
  return writer && number ? *writer << 40 | *number : kNobody;
}

std::string name_of(const Receipt& receipt) {
  return "delivery " + std::to_string(receipt.delivery) + " attempt " + std::to_string(receipt.attempt);
}

/// The log has the attempts 1 to n of a delivery once each, without an error in the last alone if it succeeded.
constexpr char kMisfitted[] =
    "SELECT COUNT(*) FROM webhook_deliveries d LEFT JOIN (SELECT delivery_id, COUNT(*) AS n, "
    "COUNT(DISTINCT attempt) AS different, MAX(attempt) AS last, "
    "SUM(error_message IS NULL) AS good, MAX(IF(error_message IS NULL, attempt, 0)) AS good_one "
    "FROM webhook_logs GROUP BY delivery_id) l ON l.delivery_id = d.id "
    "WHERE NOT COALESCE(l.n = d.attempts AND l.different = l.n AND l.last = l.n "
    "AND l.good = (d.status = 'succeeded') AND (l.good = 0 OR l.good_one = l.last), 0)";

}  // namespace

Sink::Reply Ledger::note(const Sink::Request& request) {
  Receipt receipt;
  std::from_chars(request.target.data() + 1, request.target.data() + request.target.size(), receipt.webhook);
  receipt.attempt = static_cast<std::uint32_t>(request.number("x-webhook-attempt"));
  receipt.delivery = request.number("x-webhook-delivery");
  receipt.event = event_key(request.body);
  receipt.body = hash_of(request.body);
  receipt.at = std::chrono::steady_clock::now();
  const std::uint32_t chance = hash_of(std::to_string(seed_) + name_of(receipt)) >> 8;
  {
    const std::lock_guard lock(mutex_);
    receipt.accepted = receipt.delivery <= failing_after_ || chance % 100 >= failing_;
    newest_ = std::max(newest_, receipt.delivery);
    receipts_.push_back(receipt);
  }
  ++size_;
  return {receipt.accepted ? 200 : 500, delay_};
}

void Ledger::fail(unsigned percent) {
  const std::lock_guard lock(mutex_);
  failing_ = percent;
  failing_after_ = newest_;
}

Deliveries Deliveries::read(Connection& connection) {
  Deliveries deliveries;
  connection.check();
  if (!connection.ready()) throw std::runtime_error("the database is away");
  const bool complete =
      connection.rows("SELECT id, channel, seq, body FROM events",
                      [&](MYSQL_ROW row) {
                        deliveries.events.emplace(std::stoull(row[0]), Event{event_key(row[3]), hash_of(row[3]),
                                                                             std::stoull(row[2]), row[1]});
                      }) &&
      connection.rows(
          "SELECT id, event_id, webhook_id, status = 'succeeded', status <> 'pending' AND finished_at IS NOT NULL, "
          "attempts FROM webhook_deliveries",
          [&](MYSQL_ROW row) {
            deliveries.all.emplace(std::stoull(row[0]),
                                   Delivery{std::stoull(row[1]), static_cast<std::uint32_t>(std::stoul(row[2])),
                                            *row[3] == '1', *row[4] == '1', std::stoull(row[5])});
          }) &&
      connection.number("SELECT COUNT(*) FROM webhook_queue", deliveries.queued) &&
      connection.number(kMisfitted, deliveries.misfitted);
  if (!complete) throw std::runtime_error("the deliveries could not be read: " + connection.error());
  return deliveries;
}

std::unordered_set<std::uint64_t> in_flight(Connection& connection) {
  while (true) {
    std::unordered_set<std::uint64_t> ids;
    if (!connection.ready()) return ids;
    if (connection.rows("SELECT delivery_id FROM webhook_queue WHERE lease_token IS NOT NULL",
                        [&](MYSQL_ROW row) { ids.insert(std::stoull(row[0])); }) &&
        connection.run("ROLLBACK")) {
      return ids;
    }
    connection.drop();
  }
}

namespace {

/// What came that is not owed to anybody, or not as it was stored.
void judge_contents(const std::vector<Receipt>& receipts, const Deliveries& deliveries) {
  Offences unknown, altered;
  for (const Receipt& receipt : receipts) {
    const auto delivery = deliveries.all.find(receipt.delivery);
    const auto event =
        delivery == deliveries.all.end() ? deliveries.events.end() : deliveries.events.find(delivery->second.event);
    if (event == deliveries.events.end() || delivery->second.webhook != receipt.webhook ||
        event->second.key != receipt.event) {
      unknown.add(name_of(receipt));
    } else if (event->second.body != receipt.body) {
      altered.add(name_of(receipt));
    }
  }
  unknown.report("nothing came that was not committed, and each under the number of its delivery");
  altered.report("every body is the stored one, on every attempt");
}

void judge_completeness(const std::vector<Receipt>& receipts, const Deliveries& deliveries, std::uint32_t webhooks) {
  std::unordered_set<std::uint64_t> accepted;
  for (const Receipt& receipt : receipts) {
    if (receipt.accepted) accepted.insert(receipt.delivery);
  }
  Offences lost, unended, untrue;
  std::unordered_map<std::uint64_t, std::uint32_t> owed;
  for (const auto& [id, delivery] : deliveries.all) {
    ++owed[delivery.event];
    if (!delivery.ended) unended.add("delivery " + std::to_string(id));
    if (delivery.ended && !delivery.succeeded) lost.add("delivery " + std::to_string(id) + ", given up");
    if (delivery.succeeded && !accepted.contains(id)) untrue.add("delivery " + std::to_string(id));
  }
  for (const auto& [id, event] : deliveries.events) {
    if (event.key != kNobody && owed[id] != webhooks) lost.add("event " + std::to_string(id) + ", not owed to all");
  }
  lost.report("nothing is lost: every committed event came to every webhook");
  untrue.report("what is called a success was accepted");
  unended.report("every delivery has come to its one end");
  report("nothing is left in the queue", deliveries.queued);
  report("every attempt has one row in the log, and those of a delivery count from 1", deliveries.misfitted);
}

/// An attempt that came before, or any after one that was accepted.
void judge_duplicates(const std::vector<Receipt>& receipts, const Deaths& deaths, std::size_t quiet) {
  std::unordered_map<std::uint64_t, std::uint64_t> excused;
  std::uint64_t in_flight = 0;
  for (const auto& death : deaths) {
    in_flight += death.size();
    for (const std::uint64_t id : death) ++excused[id];
  }
  struct State {
    std::uint32_t last_attempt = 0;
    bool accepted = false;
  };
  std::unordered_map<std::uint64_t, State> states;
  Offences calm, inexplicable;
  std::uint64_t duplicates = 0, retries = 0;
  for (std::size_t i = 0; i < receipts.size(); ++i) {
    const Receipt& receipt = receipts[i];
    State& state = states[receipt.delivery];
    if (state.accepted || receipt.attempt <= state.last_attempt) {
      ++duplicates;
      if (i < quiet) calm.add(name_of(receipt));
      if (excused[receipt.delivery] == 0) {
        inexplicable.add(name_of(receipt));
      } else {
        --excused[receipt.delivery];
      }
    } else if (state.last_attempt > 0) {
      ++retries;
    }
    state.last_attempt = std::max(state.last_attempt, receipt.attempt);
    state.accepted = state.accepted || receipt.accepted;
  }
  calm.report("without faults nothing comes twice");
  inexplicable.report("what came again was in flight when its relay was killed, as often as that");
  std::cout << receipts.size() << " requests, " << retries << " retries, " << duplicates << " duplicates, " << in_flight
            << " in flight at " << deaths.size() << " deaths" << std::endl;
}

void judge_order(const std::vector<Receipt>& receipts, const Deliveries& deliveries, std::uint32_t concurrent,
                 std::size_t quiet) {
  std::map<std::pair<std::uint32_t, std::string>, std::uint64_t> last;
  Offences inversions;
  for (std::size_t i = 0; i < quiet; ++i) {
    const Receipt& receipt = receipts[i];
    const auto delivery = deliveries.all.find(receipt.delivery);
    if (receipt.webhook >= concurrent || delivery == deliveries.all.end()) continue;
    const auto event = deliveries.events.find(delivery->second.event);
    if (event == deliveries.events.end()) continue;
    std::uint64_t& before = last[{receipt.webhook, event->second.channel}];
    if (event->second.seq < before) {
      inversions.add(name_of(receipt) + ", " + event->second.channel + ' ' + std::to_string(event->second.seq) +
                     " after " + std::to_string(before));
    }
    before = std::max(before, event->second.seq);
  }
  inversions.report("without faults a webhook gets the events of a channel in their order");
}

}  // namespace

void judge(const std::vector<Receipt>& receipts, const Deliveries& deliveries, const Deaths& deaths,
           std::uint32_t webhooks, std::uint32_t concurrent, std::size_t quiet) {
  judge_completeness(receipts, deliveries, webhooks);
  judge_contents(receipts, deliveries);
  judge_duplicates(receipts, deaths, quiet);
  judge_order(receipts, deliveries, concurrent, quiet);
}

}  // namespace chaos
