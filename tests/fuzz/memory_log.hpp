#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "relay/feed.hpp"
#include "relay/frame.hpp"
#include "relay/hub.hpp"
#include "relay/relay_events.hpp"
#include "shared/events.hpp"
#include "tests/fuzz/expect.hpp"

namespace gamepicker {

/// The database's side of the relay in memory: event log, event reader, history reader, writer and presence in one.
/// Answers one question each time it is told to. Every fifth session does not exist.
class MemoryLog final : public ChannelTracker,
                        public History,
                        public ClientEvents,
                        public Presence,
                        public RelayEvents {
 public:
  struct Channel {
    std::vector<FramePtr> events;  ///< all there were; the one with offset 1 first
    std::size_t forgotten = 0;     ///< as many of them are not kept any more
    bool asked = false;
    bool tracked = false;
  };

  void track(std::string name) override {
    Channel& wanted = channel(name);
    expect(!wanted.asked && !wanted.tracked, "a channel is asked for once", name);
    wanted.asked = true;
    questions_.push_back(std::move(name));
  }

  void untrack(std::string name) override {
    expect(channel(name).tracked, "only what is tracked is let go", name);
    channel(name).tracked = false;
  }

  void read(std::string name, std::uint64_t after) override { reads_.emplace_back(std::move(name), after); }

  bool write(ClientEvent event) override {
    if (writes_.size() >= kMaxWrites) return false;
    writes_.push_back(std::move(event));
    return true;
  }

  void ask(PresenceRequest request) override {
    expect(request.enters || seats_.contains({request.channel, request.user}), "who asks is in or enters");
    if (request.enters) ++seats_[{request.channel, request.user}];
    requests_.push_back(std::move(request));
  }

  void leave(std::string channel, std::string user, const std::string&) override {
    const auto seat = seats_.find({std::move(channel), std::move(user)});
    expect(seat != seats_.end(), "who leaves was in");
    if (--seat->second == 0) seats_.erase(seat);
  }

  bool wants(RelayEventType) const override { return true; }

  void write(RelayEvent event) override {
    const bool connects = event.type == RelayEventType::connection;
    expect(connects != told_.contains(event.socket_id), "a connection is told of once, and first");
    std::set<std::string>& channels = told_[event.socket_id];
    if (event.type == RelayEventType::subscribe) {
      expect(channels.insert(event.channel).second, "a subscription is told of once", event.channel);
    } else if (event.type == RelayEventType::unsubscribe) {
      expect(channels.erase(event.channel) == 1, "who unsubscribes was subscribed", event.channel);
    }
  }

  /// How many connections hold a seat.
  std::size_t seats() const {
    std::size_t count = 0;
    for (const auto& [seat, connections] : seats_) count += connections;
    return count;
  }

  /// Every fourth is told that there is no room.
  std::optional<PresenceAnswer> answer_ask(Hub& hub) {
    if (requests_.empty()) return std::nullopt;
    const PresenceRequest request = take(requests_);
    if (request.enters) happen(hub, request.channel, event_body("presence.joined", {}, "{}"), request.socket_id);
    const auto members = request.ticket % 4 == 3 ? nullptr : std::make_shared<const std::string>("{}");
    return PresenceAnswer{
        request.socket, request.socket_id, request.channel, request.ticket, channel(request.channel).events.size(),
        members};
  }

  Channel& channel(const std::string& name) {
    const auto [known, fresh] = channels_.try_emplace(name);
    for (int i = 0; fresh && i < 2; ++i) append(known->second, name, event_body("old", {}, "null"), {});
    return known->second;
  }

  void happen(Hub& hub, const std::string& name, const std::string& body, const std::string& except) {
    Channel& changed = channel(name);
    append(changed, name, body, except);
    if (changed.tracked) hub.publish({changed.events.back()});
  }

  void forget_oldest(const std::string& name) {
    Channel& changed = channel(name);
    changed.forgotten = std::min(changed.forgotten + 1, changed.events.size());
  }

  /// False when nothing was asked; so the next two.
  bool answer_track(Hub& hub) {
    if (questions_.empty()) return false;
    const std::string name = take(questions_);
    Channel& asked = channel(name);
    asked.asked = false;
    asked.tracked = exists(session_of_channel(name));
    hub.tracked(name, asked.tracked ? std::optional<std::uint64_t>(asked.events.size()) : std::nullopt);
    return true;
  }

  bool answer_read(Hub& hub) {
    if (reads_.empty()) return false;
    const auto [name, after] = take(reads_);
    const Channel& asked = channel(name);
    HistoryPage page;
    page.channel = name;
    page.after = after;
    page.head = asked.events.size();
    for (std::size_t i = std::max<std::uint64_t>(after, asked.forgotten); i < page.head; ++i) {
      if (page.frames.size() < kPage) page.frames.push_back(asked.events[i]);
    }
    page.tail = asked.forgotten;
    page.last = page.frames.empty() ? 0 : page.frames.back()->offset;
    hub.history(page);
    return true;
  }

  std::optional<ClientEventResult> answer_write(Hub& hub) {
    if (writes_.empty()) return std::nullopt;
    const ClientEvent event = take(writes_);
    if (!exists(event.session_id))
      return ClientEventResult{event.socket, event.socket_id, event.ack, "Session not found"};
    happen(hub, event.channel, event.body, event.except);
    return ClientEventResult{event.socket, event.socket_id, event.ack, {}};
  }

 private:
  static constexpr std::size_t kPage = 3;
  static constexpr std::size_t kMaxWrites = 4;

  template <typename Queue>
  static typename Queue::value_type take(Queue& queue) {
    typename Queue::value_type first = std::move(queue.front());
    queue.pop_front();
    return first;
  }

  static bool exists(std::optional<std::int64_t> session) { return session.value_or(1) % 5 != 0; }

  static void append(Channel& channel, const std::string& name, const std::string& body, const std::string& except) {
    const std::uint64_t offset = channel.events.size() + 1;
    channel.events.push_back(std::make_shared<Frame>(
        Frame{name, offset, encode_text_frame(event_message(body, offset, name, offset)), except, 1, {}, {}}));
  }

  std::map<std::string, Channel> channels_;
  std::deque<std::string> questions_;
  std::deque<std::pair<std::string, std::uint64_t>> reads_;
  std::deque<ClientEvent> writes_;
  std::deque<PresenceRequest> requests_;
  std::map<std::pair<std::string, std::string>, std::size_t> seats_;  ///< connections of each user in each channel
  std::map<std::string, std::set<std::string>> told_;  ///< subscriptions of each socket id that webhooks heard of
};

}  // namespace gamepicker
