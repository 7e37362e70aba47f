#include "relay/event_reader.hpp"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay/channel_rows.hpp"
#include "relay/database.hpp"
#include "relay/event_cursor.hpp"
#include "relay/event_rows.hpp"
#include "shared/events.hpp"
#include "shared/log.hpp"
#include "shared/nudge.hpp"

namespace gamepicker {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kBusyPoll{100};
constexpr milliseconds kIdlePoll{500};
constexpr milliseconds kBusyFor{2'000};  ///< after the last event or nudge
/// Between two reads that nudges ask for: one reads all events of a burst, and an event after a pause is read at once.
/// At 1,500 commits a second a read for each would take a tenth of the database's time.
constexpr milliseconds kReadSpacing{4};
constexpr milliseconds kCompareEvery{10'000};
constexpr milliseconds kFirstBackOff{100};
constexpr milliseconds kLongestBackOff{2'000};
constexpr std::size_t kBatch = 1000;
constexpr std::size_t kBatchBytes = 1u << 20;  ///< that many are handed on before the batch is complete
/// Late commits just before the start are not missed.
constexpr std::uint64_t kLookBack = 1000;
/// Channels in one question for heads or sessions.
constexpr std::size_t kChannelsPerQuery = 500;

constexpr std::string_view kReadMaxId = "SELECT CAST(COALESCE(MAX(id), 0) AS UNSIGNED) FROM events";

std::string read_new_sql(std::size_t holes) {
  std::string sql = select_events() + "WHERE e.id > ?";
  if (holes > 0) sql += " OR e.id IN (" + placeholders(holes) + ")";
  return sql + " ORDER BY e.id LIMIT " + std::to_string(kBatch);
}

std::string read_range_sql() {
  return select_events() + "WHERE e.channel = ? AND e.seq > ? AND e.seq <= ? ORDER BY e.seq LIMIT " +
         std::to_string(kBatch);
}

}  // namespace

class EventReader::Impl {
 public:
  Impl(const Config& config, Feed& feed, std::function<void()> on_activity, ReaderMetrics& metrics);
  ~Impl();

  void start() {
    thread_ = std::thread([this] { run(); });
  }
  void stop();
  void request(std::string channel, bool track);

 private:
  void run();
  void work();
  void wait(milliseconds limit);
  void back_off(milliseconds delay);
  bool drain_nudges() const;
  void set_up_cursor();
  void answer_requests();
  void answer_tracks(const std::vector<std::string>& channels);
  void read_new();
  void take(const SqlRow& row, Clock::time_point asked_at);
  void fetch(const std::string& channel, std::uint64_t& sent, std::uint64_t last, Counter& filled);
  void add_frame(const SqlRow& row, std::uint64_t& sent, Clock::time_point asked_at);
  void compare_heads();
  void publish();
  void take_back();

  Feed& feed_;
  const std::function<void()> on_activity_;
  ReaderMetrics& metrics_;
  Database database_;
  int nudge_ = -1;
  int wake_ = -1;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;

  std::mutex mutex_;
  std::vector<std::pair<std::string, bool>> requests_;  ///< channel, and whether to track it

  // Below: the thread's own.
  EventCursor cursor_;
  bool cursor_set_ = false;
  std::uint64_t generation_ = 0;
  std::unordered_map<std::string, std::uint64_t> sent_;  ///< the last offset published, per tracked channel
  std::vector<std::string> unanswered_;
  std::vector<FramePtr> frames_;
  std::size_t bytes_ = 0;  ///< of them
  Clock::time_point busy_until_{};
  Clock::time_point compare_at_{};
  Clock::time_point read_at_{};  ///< when the last read began
};

EventReader::Impl::Impl(const Config& config, Feed& feed, std::function<void()> on_activity, ReaderMetrics& metrics)
    : feed_(feed), on_activity_(std::move(on_activity)), metrics_(metrics), database_(config) {
  std::string address = config.relay_nudge_bind;
  if (address.empty()) address = config.relay_nudge.substr(0, config.relay_nudge.find(','));
  if (!address.empty()) nudge_ = bind_nudge_socket(address);
  wake_ = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (wake_ < 0) {
    const int error = errno;
    if (nudge_ >= 0) ::close(nudge_);
    throw std::system_error(error, std::generic_category(), "eventfd");
  }
}

EventReader::Impl::~Impl() {
  stop();
  ::close(wake_);
  if (nudge_ >= 0) ::close(nudge_);
}

void EventReader::Impl::stop() {
  stopping_ = true;
  ::eventfd_write(wake_, 1);
  if (thread_.joinable()) thread_.join();
}

void EventReader::Impl::request(std::string channel, bool track) {
  {
    const std::lock_guard lock(mutex_);
    requests_.emplace_back(std::move(channel), track);
  }
  ::eventfd_write(wake_, 1);
}

void EventReader::Impl::run() {
  milliseconds delay = kFirstBackOff;
  bool failing = false;
  while (!stopping_) {
    try {
      work();
      metrics_.polled.note(Clock::now());
      if (failing) log_info("event reader: the database is back");
      failing = false;
      delay = kFirstBackOff;
      wait(Clock::now() < busy_until_ ? kBusyPoll : kIdlePoll);
    } catch (const std::exception& error) {
      metrics_.errors.add();
      take_back();
      if (!failing) log_error(std::string("event reader: ") + error.what());
      failing = true;
      back_off(delay);
      delay = std::min(delay * 2, kLongestBackOff);
    }
  }
}

void EventReader::Impl::work() {
  database_.connect();
  if (!cursor_set_) set_up_cursor();
  answer_requests();
  read_new();
  const bool reconnected = generation_ != database_.generation();
  if (reconnected || Clock::now() >= compare_at_) {
    compare_heads();
    generation_ = database_.generation();
    compare_at_ = Clock::now() + kCompareEvery;
  }
}

/// Returns on a nudge (kReadSpacing after the last read at the soonest), a request, stop() or after `limit`.
void EventReader::Impl::wait(milliseconds limit) {
  const auto spaced = std::chrono::ceil<milliseconds>(read_at_ + kReadSpacing - Clock::now());
  pollfd descriptors[] = {{wake_, POLLIN, 0}, {nudge_, POLLIN, 0}};  // poll() skips a negative descriptor
  if (spaced <= milliseconds{0} || ::poll(descriptors, 1, static_cast<int>(spaced.count())) == 0) {
    if (::poll(descriptors, 2, static_cast<int>(limit.count())) <= 0) return;
  }
  eventfd_t value = 0;
  ::eventfd_read(wake_, &value);
  if (drain_nudges()) {
    busy_until_ = Clock::now() + kBusyFor;
    on_activity_();
  }
}

/// Requests wait meanwhile; only stop() ends it early.
void EventReader::Impl::back_off(milliseconds delay) {
  const auto until = Clock::now() + delay;
  while (!stopping_) {
    const auto left = std::chrono::ceil<milliseconds>(until - Clock::now());
    if (left <= milliseconds{0}) return;
    pollfd descriptor{wake_, POLLIN, 0};
    ::poll(&descriptor, 1, static_cast<int>(left.count()));
    eventfd_t value = 0;
    ::eventfd_read(wake_, &value);
  }
}

bool EventReader::Impl::drain_nudges() const {
  if (nudge_ < 0) return false;
  bool any = false;
  char byte = 0;
  // A bound, so that a flood of datagrams cannot hold the reader here.
  for (int i = 0; i < 1000 && ::recv(nudge_, &byte, 1, MSG_DONTWAIT) >= 0; ++i) {
    any = true;
    metrics_.nudges.add();
  }
  return any;
}

void EventReader::Impl::set_up_cursor() {
  const std::uint64_t newest = database_.query(kReadMaxId).at(0).id(0);
  cursor_.reset(newest > kLookBack ? newest - kLookBack : 0);
  cursor_set_ = true;
}

/// In the order they were made: an untrack may precede a new track of the same channel.
void EventReader::Impl::answer_requests() {
  std::vector<std::pair<std::string, bool>> requests;
  {
    const std::lock_guard lock(mutex_);
    requests.swap(requests_);
  }
  for (auto& [channel, track] : requests) {
    if (track) {
      unanswered_.push_back(std::move(channel));
    } else {
      std::erase(unanswered_, channel);
      sent_.erase(channel);
    }
  }
  while (!unanswered_.empty()) {
    const auto count = static_cast<std::ptrdiff_t>(std::min(unanswered_.size(), kChannelsPerQuery));
    answer_tracks({unanswered_.begin(), unanswered_.begin() + count});
    unanswered_.erase(unanswered_.begin(), unanswered_.begin() + count);
  }
}

void EventReader::Impl::answer_tracks(const std::vector<std::string>& channels) {
  const auto sessions = read_sessions(database_, channels);
  const auto heads = read_heads(database_, channels);
  database_.settle();
  for (const std::string& channel : channels) {
    if (const auto number = session_of_channel(channel); number && !sessions.contains(*number)) {
      feed_.tracked(channel, std::nullopt);
      continue;
    }
    // A channel that is still tracked goes on from what it was sent, so that nothing between is lost.
    const auto head = heads.find(channel);
    const auto [entry, added] = sent_.try_emplace(channel, head == heads.end() ? 0 : head->second);
    feed_.tracked(channel, entry->second);
  }
}

void EventReader::Impl::read_new() {
  read_at_ = Clock::now();
  bool more = true;
  while (more && !stopping_) {
    SqlValues parameters{cursor_.max_seen()};
    for (const std::uint64_t id : cursor_.young_holes(Clock::now())) parameters.emplace_back(id);
    const std::string sql = read_new_sql(parameters.size() - 1);
    const auto asked_at = Clock::now();
    const auto rows = database_.query(sql, std::move(parameters));
    for (const SqlRow& row : rows) {
      take(row, asked_at);
      cursor_.saw(row.id(0), Clock::now());
    }
    publish();
    if (!rows.empty()) {
      busy_until_ = Clock::now() + kBusyFor;
      on_activity_();
    }
    more = rows.size() == kBatch;
  }
}

void EventReader::Impl::take(const SqlRow& row, Clock::time_point asked_at) {
  const auto entry = sent_.find(row.text(1));
  if (entry == sent_.end()) return;
  const std::uint64_t offset = row.id(2);
  if (offset <= entry->second) return;
  if (offset != entry->second + 1) fetch(entry->first, entry->second, offset - 1, metrics_.filled_fetched);
  if (row.id(0) <= cursor_.max_seen()) metrics_.filled_holes.add();
  add_frame(row, entry->second, asked_at);
}

/// Sends the channel's events after `sent` up to and including `last`. Offset order is commit order, so all of them
/// are visible; what is not there any more was removed by retention. They count as `filled`.
void EventReader::Impl::fetch(const std::string& channel, std::uint64_t& sent, std::uint64_t last, Counter& filled) {
  bool more = true;
  while (more && sent < last) {
    const auto asked_at = Clock::now();
    const auto rows = database_.query(read_range_sql(), {channel, sent, last});
    for (const SqlRow& row : rows) add_frame(row, sent, asked_at);
    filled.add(rows.size());
    more = rows.size() == kBatch;
    publish();
  }
  sent = std::max(sent, last);
}

void EventReader::Impl::add_frame(const SqlRow& row, std::uint64_t& sent, Clock::time_point asked_at) {
  FramePtr frame = read_new_frame(database_, row, asked_at);
  sent = row.id(2);
  if (frame) metrics_.event_lag.observe(Clock::now() - frame->written_at);
  if (!frame) return;
  bytes_ += frame->bytes.size();
  frames_.push_back(std::move(frame));
  if (bytes_ >= kBatchBytes) publish();
}

void EventReader::Impl::compare_heads() {
  std::vector<std::string> channels;
  for (const auto& entry : sent_) channels.push_back(entry.first);
  for (std::size_t from = 0; from < channels.size(); from += kChannelsPerQuery) {
    const auto first = channels.begin() + static_cast<std::ptrdiff_t>(from);
    const auto last =
        channels.begin() + static_cast<std::ptrdiff_t>(std::min(from + kChannelsPerQuery, channels.size()));
    for (const auto& [channel, head] : read_heads(database_, {first, last})) {
      std::uint64_t& sent = sent_.at(channel);
      if (head > sent) {
        fetch(channel, sent, head, metrics_.filled_by_head);
      } else if (head < sent) {
        log_warning("event reader: the database went back in time, channel " + channel + " goes on from its head");
        sent = head;
      }
    }
  }
}

void EventReader::Impl::publish() {
  bytes_ = 0;
  if (frames_.empty()) return;
  database_.settle();
  feed_.publish(std::exchange(frames_, {}));
}

/// After a failure: what was read but not published may be gone, and its ids and offsets given out again.
void EventReader::Impl::take_back() {
  bytes_ = 0;
  for (const FramePtr& frame : std::exchange(frames_, {})) {
    std::uint64_t& sent = sent_.at(frame->channel);
    sent = std::min(sent, frame->offset - 1);
  }
  cursor_set_ = false;
  compare_at_ = {};
}

EventReader::EventReader(const Config& config, Feed& feed, std::function<void()> on_activity, ReaderMetrics& metrics)
    : impl_(std::make_unique<Impl>(config, feed, std::move(on_activity), metrics)) {}
EventReader::~EventReader() = default;
void EventReader::start() {
  impl_->start();
}
void EventReader::stop() {
  impl_->stop();
}
void EventReader::track(std::string channel) {
  impl_->request(std::move(channel), true);
}
void EventReader::untrack(std::string channel) {
  impl_->request(std::move(channel), false);
}

}  // namespace gamepicker
