#pragma once

#include <condition_variable>
#include <mutex>
#include <variant>

#include "relay/feed.hpp"

namespace gamepicker {

/// The way from the other threads into the I/O loop: one queue in one order, and an eventfd that
/// wakes the loop. Bounded: publish() waits while more than 32 MiB lie in it.
class Mailbox final : public Feed {
 public:
  struct Tracked {
    std::string channel;
    std::optional<std::uint64_t> head;
  };
  using Item = std::variant<std::vector<FramePtr>, Tracked, HistoryPage, ClientEventResult, PresenceAnswer>;

  /// Throws std::system_error.
  Mailbox();
  ~Mailbox() override;
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  void publish(std::vector<FramePtr> frames) override;
  void tracked(const std::string& channel, std::optional<std::uint64_t> head) override;
  void history(HistoryPage page) override;
  void written(ClientEventResult result) override;
  void present(PresenceAnswer answer) override;

  /// Readable while there is something to take.
  int descriptor() const { return wake_; }
  /// Everything so far, in order.
  std::vector<Item> take();
  /// Nobody takes any more: drops what comes, and lets a waiting publisher go.
  void close();

 private:
  void put(Item item);
  void wake() const;

  const int wake_;
  std::mutex mutex_;
  std::condition_variable room_;
  std::vector<Item> items_;
  std::size_t bytes_ = 0;
  bool closed_ = false;
};

}  // namespace gamepicker
