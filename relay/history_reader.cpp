#include "relay/history_reader.hpp"

#include <algorithm>
#include <chrono>

#include "relay/event_rows.hpp"
#include "shared/log.hpp"

namespace gamepicker {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstBackOff{100};
constexpr milliseconds kLongestBackOff{2'000};
/// A page waits in the mailbox and in the queues of slow clients, so it is small. One event always fits.
constexpr std::size_t kPageEvents = 500;
constexpr std::size_t kPageBytes = 256 * 1024;

constexpr std::string_view kReadHead = "SELECT head FROM channels WHERE name = ?";

std::string read_page_sql() {
  return select_events() + "WHERE e.channel = ? AND e.seq > ? ORDER BY e.seq LIMIT " + std::to_string(kPageEvents);
}

}  // namespace

HistoryReader::HistoryReader(const Config& config, Feed& feed) : feed_(feed), database_(config) {}

HistoryReader::~HistoryReader() {
  stop();
}

void HistoryReader::start() {
  thread_ = std::thread([this] { run(); });
}

void HistoryReader::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void HistoryReader::read(std::string channel, std::uint64_t after) {
  {
    const std::lock_guard lock(mutex_);
    questions_.emplace_back(std::move(channel), after);
  }
  changed_.notify_all();
}

bool HistoryReader::wait_for_question(Question& question) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return stopping_ || !questions_.empty(); });
  if (stopping_) return false;
  question = std::move(questions_.front());
  questions_.pop_front();
  return true;
}

void HistoryReader::run() {
  Question question;
  while (wait_for_question(question)) {
    for (milliseconds delay = kFirstBackOff;; delay = std::min(2 * delay, kLongestBackOff)) {
      try {
        feed_.history(answer(question));
        break;
      } catch (const DatabaseError& error) {
        log_warning(std::string("history: ") + error.what());
        std::unique_lock lock(mutex_);
        if (changed_.wait_for(lock, delay, [this] { return stopping_; })) return;
      }
    }
  }
}

HistoryPage HistoryReader::answer(const Question& question) {
  HistoryPage page;
  page.channel = question.first;
  page.after = question.second;
  // The head first: what is committed in between then only makes the page longer than it had to be.
  const auto head = database_.query(kReadHead, {page.channel});
  page.head = head.empty() ? 0 : head.front().id(0);
  std::size_t bytes = 0;
  for (const SqlRow& row : database_.query(read_page_sql(), {page.channel, page.after})) {
    FramePtr frame = read_frame(database_, row);
    if (page.first == 0) page.first = row.id(2);
    page.last = row.id(2);
    if (frame) bytes += frame->bytes.size();
    if (frame) page.frames.push_back(std::move(frame));
    if (bytes >= kPageBytes) break;
  }
  return page;
}

}  // namespace gamepicker
