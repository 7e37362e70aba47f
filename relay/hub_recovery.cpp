// How a subscriber gets what it has missed; see Hub.

#include <algorithm>

#include "relay/hub.hpp"
#include "relay/hub_parts.hpp"
#include "relay/replies.hpp"
#include "shared/events.hpp"

namespace gamepicker {
namespace {

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint16_t kSlowConsumer = 4410;

/// Whether a page can bring somebody with this offset up to date without a gap.
bool reaches(const HistoryPage& page, std::uint64_t seen) {
  if (seen >= page.head) return seen == page.head || seen <= page.last;
  return seen >= page.tail;
}

}  // namespace

/// A subscribe has succeeded.
void Hub::confirm(Client& client, Membership& membership, const Subscribe& subscribe, std::optional<bool> recovered,
                  std::uint64_t offset) {
  reports_.subscribed(client, membership, subscribe);
  answer(client, subscribe, recovered, offset);
}

void Hub::settle(Client& client, Membership& membership, Subscribe subscribe) {
  Channel& channel = *membership.channel;
  if (is_presence_channel(channel.name) && !subscribe.members) {
    return take_seat(client, membership, std::move(subscribe));
  }
  if (membership.recovery) {  // what it gets now comes first
    auto& waiting = membership.recovery->waiting;
    if (waiting.size() < kMaxPendingReplies) return waiting.push_back(std::move(subscribe));
    return answer_failure(client, subscribe, replies::kTooManySubscriptions);
  }
  if (subscribe.offset) {
    const std::uint64_t seen = *subscribe.offset;
    return recover(client, membership, std::move(subscribe), seen);
  }
  if (!membership.live) go_live(client, membership, channel.head);
  confirm(client, membership, subscribe, std::nullopt, channel.head);
}

/// A member that is live already gets everything behind the offset once more, in order: it says that it has not seen
/// it.
void Hub::recover(Client& client, Membership& membership, Subscribe subscribe, std::uint64_t seen) {
  Channel& channel = *membership.channel;
  membership.live = false;
  channel.members[membership.index].since = Channel::kHeld;
  membership.recovery = std::make_unique<Recovery>(Recovery{seen, std::move(subscribe), true, {}});
  ++client.recovering;
  channel.recovering.push_back(&client);
  if (!catch_up(client, membership)) ask_for_history(channel);
}

/// Ends the recovery from what is at hand; false when history has to be read.
bool Hub::catch_up(Client& client, Membership& membership) {
  Channel& channel = *membership.channel;
  Recovery& recovery = *membership.recovery;
  const std::uint64_t target = channel.head;
  if (recovery.next > target && recovery.reply)
    return false;  // only the event log knows whether there is such an offset
  if (recovery.next < target && (channel.recent.empty() || channel.recent.front()->offset > recovery.next + 1)) {
    return false;
  }
  if (recovery.reply) metrics_.recovered_recent.add();
  if (recovery.reply) confirm(client, membership, *recovery.reply, true, recovery.next);
  for (const FramePtr& frame : channel.recent) {
    if (frame->offset > recovery.next && frame->offset <= target) deliver(client, frame);
  }
  finish_recovery(client, membership, std::max(recovery.next, target));
  return true;
}

void Hub::history(const HistoryPage& page) {
  const auto known = channels_.find(page.channel);
  if (known == channels_.end() || known->second->reading != page.after) return;  // nobody waits for it any more
  Channel& channel = *known->second;
  channel.reading.reset();
  if (channel.recent.empty()) {  // after a restart all come back at once: the next of them need not ask
    for (const FramePtr& frame : page.frames) {
      if (frame->offset <= channel.head) remember(channel, frame);
    }
    if (!channel.recent.empty() && channel.recent.back()->offset != channel.head) forget_recent(channel);
  }
  const std::vector<Client*> waiting = channel.recovering;
  for (Client* client : waiting) {
    Membership& membership = *membership_of(*client, channel);
    if (membership.recovery->ready) serve(*client, membership, page);
  }
  ask_for_history(channel);
}

void Hub::serve(Client& client, Membership& membership, const HistoryPage& page) {
  Channel& channel = *membership.channel;
  Recovery& recovery = *membership.recovery;
  const bool behind_it = page.last < page.head && recovery.next > page.last;
  if (recovery.next < page.after || (page.last != 0 && behind_it)) return;  // it gets a page of its own
  if (!reaches(page, recovery.next)) {
    if (!recovery.reply) {  // retention has overtaken it
      client.close(kSlowConsumer, "slow consumer");
      return end_recovery(client, membership);
    }
    metrics_.not_recovered.add();
    confirm(client, membership, *recovery.reply, false, channel.head);
    return finish_recovery(client, membership, channel.head);
  }
  if (recovery.reply) metrics_.recovered_history.add();
  if (recovery.reply) confirm(client, membership, *recovery.reply, true, recovery.next);
  recovery.reply.reset();
  for (const FramePtr& frame : page.frames) {
    if (frame->offset > recovery.next) deliver(client, frame);
  }
  recovery.next = std::max(recovery.next, page.last);
  if (!catch_up(client, membership)) recovery.ready = !client.has_output();
}

void Hub::drained(Client& client) {
  for (Membership& membership : client.memberships) {
    if (!membership.recovery || membership.recovery->ready) continue;
    membership.recovery->ready = true;
    ask_for_history(*membership.channel);
  }
}

/// For whoever is furthest behind: one question at a time, however many wait.
void Hub::ask_for_history(Channel& channel) {
  if (channel.reading) return;
  for (Client* client : channel.recovering) {
    const Recovery& recovery = *membership_of(*client, channel)->recovery;
    if (recovery.ready) channel.reading = std::min(channel.reading.value_or(kNoLimit), recovery.next);
  }
  if (channel.reading) history_.read(channel.name, *channel.reading);
}

void Hub::go_live(Client&, Membership& membership, std::uint64_t since) {
  membership.channel->members[membership.index].since = since;
  membership.live = true;
}

void Hub::finish_recovery(Client& client, Membership& membership, std::uint64_t since) {
  std::vector<Subscribe> waiting = std::move(membership.recovery->waiting);
  end_recovery(client, membership);
  go_live(client, membership, since);
  for (Subscribe& subscribe : waiting) settle(client, membership, std::move(subscribe));
}

void Hub::end_recovery(Client& client, Membership& membership) {
  membership.recovery.reset();
  --client.recovering;
  std::erase(membership.channel->recovering, &client);
}

}  // namespace gamepicker
