#include "relay/event_reader.hpp"

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <map>
#include <mutex>
#include <thread>

#include <boost/test/unit_test.hpp>

#include "relay/event_cursor.hpp"
#include "shared/events.hpp"
#include "shared/nudge.hpp"
#include "shared/outbox.hpp"
#include "tests/support/database.hpp"

namespace gamepicker {
namespace {

using namespace std::chrono_literals;

/// Keeps what the reader hands over.
class RecordingFeed : public Feed {
 public:
  void publish(std::vector<FramePtr> frames) override {
    const std::lock_guard lock(mutex_);
    for (const FramePtr& frame : frames) frames_.push_back(frame);
    changed_.notify_all();
  }
  void tracked(const std::string& channel, std::optional<std::uint64_t> head) override {
    const std::lock_guard lock(mutex_);
    heads_[channel] = head;
    changed_.notify_all();
  }

  void history(HistoryPage) override {}
  void written(ClientEventResult) override {}
  void present(PresenceAnswer) override {}

  void forget(const std::string& channel) {
    const std::lock_guard lock(mutex_);
    heads_.erase(channel);
  }
  std::optional<std::uint64_t> head(const std::string& channel) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, 5s, [&] { return heads_.contains(channel); })) {
      throw std::runtime_error("no answer to track " + channel);
    }
    return heads_.at(channel);
  }

  /// "channel:offset" of the frames so far, once there are `count` of them or 15 s have passed.
  std::vector<std::string> frames(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, 15s, [&] { return frames_.size() >= count; });
    std::vector<std::string> names;
    for (const FramePtr& frame : frames_) names.push_back(frame->channel + ":" + std::to_string(frame->offset));
    return names;
  }
  std::string bytes(std::size_t index) {
    const std::lock_guard lock(mutex_);
    return frames_.at(index)->bytes;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<FramePtr> frames_;
  std::map<std::string, std::optional<std::uint64_t>> heads_;
};

struct ReaderFixture {
  test::TestDatabase database;
  RecordingFeed feed;
  ReaderMetrics metrics;
  EventReader reader{database.config(), feed, [] {}, metrics};

  ReaderFixture() {
    database.execute("INSERT INTO sessions (id) VALUES (3)");
    reader.start();
    // Heads are compared at the start, and then only every 10 s: what finds an event is certain.
    while (!metrics.polled.age(std::chrono::steady_clock::now())) std::this_thread::sleep_for(1ms);
  }
  ~ReaderFixture() { reader.stop(); }

  void track(const std::string& channel) {
    feed.forget(channel);
    reader.track(channel);
    BOOST_REQUIRE(feed.head(channel).has_value());
  }

  /// One event, as the outbox writes it, in whatever transaction `connection` is in.
  template <typename Connection>
  static void write_event(Connection& connection, const std::string& channel, const std::string& data = "{}") {
    connection.execute("INSERT INTO channels (name, head) VALUES ('" + channel +
                       "', LAST_INSERT_ID(1)) ON DUPLICATE KEY UPDATE head = LAST_INSERT_ID(head + 1)");
    connection.execute("INSERT INTO events (channel, seq, type, body) VALUES ('" + channel +
                       "', LAST_INSERT_ID(), 'game.added', '" +
                       event_body("game.added", "2026-03-15T20:30:00.000Z", data) + "')");
  }
  /// One event in a transaction of its own.
  void insert(const std::string& channel, const std::string& data = "{}") {
    database.execute("BEGIN");
    write_event(database, channel, data);
    database.execute("COMMIT");
  }
};

using Names = std::vector<std::string>;

#define CHECK_FRAMES(...)                                                                      \
  do {                                                                                         \
    const Names expected{__VA_ARGS__};                                                         \
    const Names seen = feed.frames(expected.size());                                           \
    BOOST_CHECK_EQUAL_COLLECTIONS(seen.begin(), seen.end(), expected.begin(), expected.end()); \
  } while (false)

}  // namespace

BOOST_FIXTURE_TEST_SUITE(event_reader, ReaderFixture)

BOOST_AUTO_TEST_CASE(track_answers_the_head_and_refuses_unknown_sessions) {
  insert("session.3");
  insert("session.3");
  for (const char* channel : {"session.3", "sessions", "session.4", "session.03", "session.x"}) reader.track(channel);
  BOOST_TEST(feed.head("session.3").value() == 2u);
  BOOST_TEST(feed.head("sessions").value() == 0u);
  BOOST_TEST(!feed.head("session.4").has_value());
  BOOST_TEST(!feed.head("session.03").has_value());
  BOOST_TEST(!feed.head("session.x").has_value());
}

BOOST_AUTO_TEST_CASE(events_after_the_head_are_published_as_text_frames) {
  insert("sessions");
  track("sessions");
  insert("sessions");
  insert("session.3");  // nobody listens
  insert("sessions");
  CHECK_FRAMES("sessions:2", "sessions:3");
  BOOST_TEST(feed.bytes(0).find(R"({"type":"game.added","timestamp":"2026-03-15T20:30:00.000Z","data":{},"id":)") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(an_event_that_commits_late_is_not_lost) {
  track("sessions");
  track("session.3");
  const auto late = database.connect();
  late->execute("BEGIN");
  write_event(*late, "sessions");  // takes its id now, is seen at COMMIT
  insert("session.3");
  CHECK_FRAMES("session.3:1");
  late->execute("COMMIT");
  CHECK_FRAMES("session.3:1", "sessions:1");
  BOOST_TEST(metrics.filled_holes.value() == 1u);
}

BOOST_AUTO_TEST_CASE(a_rolled_back_transaction_leaves_nothing_behind) {
  track("sessions");
  const auto other = database.connect();
  other->execute("BEGIN");
  write_event(*other, "sessions");
  other->execute("ROLLBACK");
  insert("sessions");
  insert("sessions");
  CHECK_FRAMES("sessions:1", "sessions:2");
}

BOOST_AUTO_TEST_CASE(a_channels_missing_offsets_are_fetched_before_newer_ones) {
  track("sessions");
  const std::string body = event_body("game.added", "2026-03-15T20:30:00.000Z", "{}");
  // Out of order by id, as several writers with their own id ranges make it.
  database.execute(
      "BEGIN; INSERT INTO channels (name, head) VALUES ('sessions', 3); "
      "INSERT INTO events (id, channel, seq, type, body) VALUES "
      "(10, 'sessions', 3, 'game.added', '" +
      body + "'), (20, 'sessions', 1, 'game.added', '" + body + "'), (30, 'sessions', 2, 'game.added', '" + body +
      "'); COMMIT");
  CHECK_FRAMES("sessions:1", "sessions:2", "sessions:3");
  insert("sessions");
  CHECK_FRAMES("sessions:1", "sessions:2", "sessions:3", "sessions:4");
  BOOST_TEST(metrics.filled_fetched.value() == 2u);
  BOOST_TEST(metrics.filled_holes.value() == 0u);
}

BOOST_AUTO_TEST_CASE(a_lost_connection_loses_no_event) {
  track("sessions");
  for (int round = 0; round < 2; ++round) {
    for (const auto& row : database.query("SELECT id FROM information_schema.processlist WHERE db = DATABASE() "
                                          "AND id <> CONNECTION_ID()")) {
      database.execute("KILL " + row.at(0));
    }
    insert("sessions");
  }
  CHECK_FRAMES("sessions:1", "sessions:2");
}

BOOST_AUTO_TEST_CASE(an_event_behind_the_cursor_is_found_by_comparing_heads) {
  track("sessions");
  track("session.3");
  // An id below everything the reader asks for by now: only the head tells of it.
  database.execute("ALTER TABLE events AUTO_INCREMENT = 100000");
  insert("session.3");
  CHECK_FRAMES("session.3:1");
  const std::string body = event_body("game.added", "2026-03-15T20:30:00.000Z", "{}");
  database.execute(
      "BEGIN; INSERT INTO channels (name, head) VALUES ('sessions', 1); "
      "INSERT INTO events (id, channel, seq, type, body) VALUES (5, 'sessions', 1, 'game.added', '" +
      body + "'); COMMIT");
  CHECK_FRAMES("session.3:1", "sessions:1");
  BOOST_TEST(metrics.filled_by_head.value() == 1u);
}

BOOST_AUTO_TEST_CASE(a_row_that_is_no_event_does_not_hold_up_the_others) {
  track("sessions");
  database.execute(
      "BEGIN; INSERT INTO channels (name, head) VALUES ('sessions', 1); "
      "INSERT INTO events (channel, seq, type, body) VALUES ('sessions', 1, 'x', '{}'); COMMIT");
  insert("sessions");
  CHECK_FRAMES("sessions:2");
}

BOOST_AUTO_TEST_CASE(the_longest_body_arrives_whole) {
  track("sessions");
  std::string text;
  for (int i = 0; i < 60'000; ++i) text += "ä€";
  insert("sessions", "{\"text\":\"" + text + "\"}");
  CHECK_FRAMES("sessions:1");
  BOOST_TEST((feed.bytes(0).find(text) != std::string::npos));
}

BOOST_AUTO_TEST_CASE(an_untracked_channel_falls_silent_and_can_be_tracked_again) {
  track("sessions");
  track("session.3");
  reader.untrack("sessions");
  track("orders");  // requests are taken in order: with this answer the one before it holds
  insert("sessions");
  insert("session.3");
  CHECK_FRAMES("session.3:1");
  track("sessions");
  insert("sessions");
  CHECK_FRAMES("session.3:1", "sessions:2");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(event_reader_nudge)

BOOST_AUTO_TEST_CASE(a_nudge_wakes_the_reader_and_is_passed_on) {
  test::TestDatabase database;
  Config config = database.config();
  config.relay_nudge = "/tmp/" + database.name() + ".sock";
  RecordingFeed feed;
  std::mutex mutex;
  std::condition_variable changed;
  int activities = 0;
  const auto on_activity = [&] {
    const std::lock_guard lock(mutex);
    ++activities;
    changed.notify_all();
  };
  ReaderMetrics metrics;
  EventReader reader(config, feed, on_activity, metrics);
  reader.start();
  reader.track("sessions");
  feed.head("sessions");
  Nudge(config.relay_nudge).send();
  {
    std::unique_lock lock(mutex);
    BOOST_TEST(changed.wait_for(lock, 5s, [&] { return activities > 0; }));
  }
  reader.stop();
  BOOST_TEST(metrics.nudges.value() == 1);
  std::remove(config.relay_nudge.c_str());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(event_cursor)

BOOST_AUTO_TEST_CASE(holes_are_asked_for_until_they_come_or_grow_old) {
  const auto start = EventCursor::Clock::now();
  EventCursor cursor;
  cursor.reset(10);
  cursor.saw(13, start);
  BOOST_TEST((cursor.young_holes(start) == std::vector<std::uint64_t>{11, 12}));
  cursor.saw(12, start);
  BOOST_TEST((cursor.young_holes(start + 60s) == std::vector<std::uint64_t>{11}));
  BOOST_TEST(cursor.young_holes(start + 61s).empty());
  BOOST_TEST(cursor.max_seen() == 13u);
}

BOOST_AUTO_TEST_CASE(a_leap_in_the_ids_keeps_the_newest_holes_only) {
  EventCursor cursor;
  cursor.saw(1'000'000'000'000, EventCursor::Clock::now());
  const auto holes = cursor.young_holes(EventCursor::Clock::now());
  BOOST_TEST(holes.size() == EventCursor::kMaxHoles);
  BOOST_TEST(holes.back() == 999'999'999'999u);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker
