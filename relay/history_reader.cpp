#include "relay/history_reader.hpp"

#include <algorithm>

#include "relay/event_rows.hpp"

namespace gamepicker {
namespace {

/// A page waits in the mailbox and in the queues of slow clients, so it is small: a client that reads never owes its
/// queue to one. One event always fits.
constexpr std::size_t kPageEvents = 500;
constexpr std::size_t kPageBytes = 256 * 1024;

constexpr std::string_view kReadHead = "SELECT head, tail FROM channels WHERE name = ?";

std::string read_page_sql() {
  return select_events() + "WHERE e.channel = ? AND e.seq > ? ORDER BY e.seq LIMIT " + std::to_string(kPageEvents);
}

}  // namespace

HistoryReader::HistoryReader(const Config& config, Feed& feed, Counter& database_errors)
    : feed_(feed),
      kept_per_channel_(config.retention_events_per_channel),
      page_bytes_(std::min<std::size_t>(kPageBytes, config.relay_max_queue_bytes / 2)),
      database_(config),
      worker_(database_errors) {}

void HistoryReader::start() {
  worker_.start([this] { run(); });
}

void HistoryReader::read(std::string channel, std::uint64_t after) {
  {
    const std::lock_guard lock(worker_.mutex());
    questions_.emplace_back(std::move(channel), after);
  }
  worker_.notify();
}

bool HistoryReader::wait_for_question(Question& question) {
  std::unique_lock lock(worker_.mutex());
  if (!worker_.wait(lock, [this] { return !questions_.empty(); })) return false;
  question = std::move(questions_.front());
  questions_.pop_front();
  return true;
}

void HistoryReader::run() {
  Question question;
  while (wait_for_question(question)) {
    if (!worker_.persist("history", [&] { feed_.history(answer(question)); })) return;
  }
}

HistoryPage HistoryReader::answer(const Question& question) {
  HistoryPage page;
  page.channel = question.first;
  page.after = question.second;
  // The head first: what is committed in between then only makes the page longer than it had to be.
  const auto head = database_.query(kReadHead, {page.channel});
  page.head = head.empty() ? 0 : head.front().id(0);
  page.tail = head.empty() ? 0 : head.front().id(1);
  if (page.head > kept_per_channel_) page.tail = std::max(page.tail, page.head - kept_per_channel_);
  // Of what lies before the tail some is still there, for webhooks: not for subscribers.
  const std::uint64_t from = std::max(page.after, page.tail);
  std::size_t bytes = 0;
  for (const SqlRow& row : database_.query(read_page_sql(), {page.channel, from})) {
    FramePtr frame = read_frame(database_, row);
    if (frame) bytes += frame->bytes.size();
    if (bytes > page_bytes_ && page.last != 0) break;
    if (page.last == 0) page.tail = std::max(page.tail, row.id(2) - 1);  // retention came in between
    page.last = row.id(2);
    if (frame) page.frames.push_back(std::move(frame));
  }
  if (page.last == 0 && from < page.head) page.tail = page.head;
  database_.settle();
  return page;
}

}  // namespace gamepicker
