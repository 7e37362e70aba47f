#include "relay/mailbox.hpp"

#include <cerrno>
#include <system_error>

#include <sys/eventfd.h>
#include <unistd.h>

namespace gamepicker {
namespace {

constexpr std::size_t kMaxBytes = 32u << 20;

int make_eventfd() {
  const int descriptor = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (descriptor < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
  return descriptor;
}

std::size_t weight_of(const std::vector<FramePtr>& frames) {
  std::size_t bytes = 0;
  for (const FramePtr& frame : frames) bytes += frame->bytes.size() + sizeof(Frame);
  return bytes;
}

}  // namespace

Mailbox::Mailbox() : wake_(make_eventfd()) {}

Mailbox::~Mailbox() {
  ::close(wake_);
}

void Mailbox::publish(std::vector<FramePtr> frames) {
  if (frames.empty()) return;
  const std::size_t bytes = weight_of(frames);
  {
    std::unique_lock lock(mutex_);
    // The loop empties the mailbox every tick, and close() ends the wait when it ends.
    room_.wait(lock, [this] { return closed_ || bytes_ < kMaxBytes; });
    if (closed_) return;
    bytes_ += bytes;
    items_.emplace_back(std::move(frames));
  }
  wake();
}

// At most one for each question: who asks is bounded, so these need no bound.
void Mailbox::tracked(const std::string& channel, std::optional<std::uint64_t> head) {
  put(Tracked{channel, head});
}

void Mailbox::history(HistoryPage page) {
  put(std::move(page));
}

void Mailbox::written(ClientEventResult result) {
  put(std::move(result));
}

void Mailbox::present(PresenceAnswer answer) {
  put(std::move(answer));
}

void Mailbox::put(Item item) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    items_.push_back(std::move(item));
  }
  wake();
}

void Mailbox::wake() const {
  const std::uint64_t one = 1;
  // Only a counter at its maximum can refuse, and then the loop is awake anyway.
  [[maybe_unused]] const ssize_t written = ::write(wake_, &one, sizeof one);
}

std::vector<Mailbox::Item> Mailbox::take() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(wake_, &count, sizeof count);
  std::vector<Item> items;
  {
    const std::lock_guard lock(mutex_);
    items.swap(items_);
    bytes_ = 0;
  }
  room_.notify_all();
  return items;
}

void Mailbox::close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    items_.clear();
  }
  room_.notify_all();
}

}  // namespace gamepicker
