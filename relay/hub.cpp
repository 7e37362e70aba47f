#include "relay/hub.hpp"

#include <algorithm>
#include <utility>

#include "relay/event_stream.hpp"
#include "relay/hub_parts.hpp"
#include "relay/replies.hpp"
#include "shared/events.hpp"

namespace gamepicker {
namespace {

constexpr std::size_t kBatchFrames = 64;         // as many as one sendmsg takes
constexpr std::size_t kJoinedBytes = 32 * 1024;  // beyond, copying costs more than pieces do
// Enough for a client that was away for a moment; for longer there is the event log.
constexpr std::size_t kRecentFrames = 128;
constexpr std::size_t kRecentBytes = 32 * 1024;

/// The batch as one frame, so that each member costs one reference and one piece; nothing unless all may have all of
/// it.
FramePtr join_batch(const Channel& channel) {
  if (channel.batch < 2 || channel.members.size() < 2) return nullptr;
  auto joined = std::make_shared<Frame>();
  for (std::size_t i = 0; i < channel.batch; ++i) {
    const Frame& frame = *channel.pending[i];
    if (!frame.except.empty() || joined->bytes.size() + frame.bytes.size() > kJoinedBytes) return nullptr;
    joined->bytes += frame.bytes;
    joined->messages = static_cast<std::uint32_t>(channel.batch);
  }
  return joined;
}

}  // namespace

std::vector<Membership>::iterator membership_of(Client& client, const Channel& channel) {
  return std::find_if(client.memberships.begin(), client.memberships.end(),
                      [&](const Membership& membership) { return membership.channel == &channel; });
}

void deliver(Client& client, const FramePtr& frame) {
  if (frame->except.empty() || frame->except != client.socket_id) client.deliver(frame);
}

void answer(Client& client, const Subscribe& subscribe, std::optional<bool> recovered, std::uint64_t offset) {
  if (!subscribe.offset) recovered.reset();
  if (client.is_stream()) {
    const std::string subscribed = replies::subscribed(subscribe, offset, recovered);
    return client.begin_stream(stream_subscribed(subscribed, subscribe.channel, offset));
  }
  // In its place among the events: what it names as the offset has been sent before.
  if (!subscribe.batch) return client.reply_in_order(replies::subscribed(subscribe, offset, recovered));
  subscribe.batch->succeeded.push_back(subscribe.channel);
  if (--subscribe.batch->unanswered == 0) client.reply(replies::subscribed_batch(*subscribe.batch));
}

void answer_failure(Client& client, const Subscribe& subscribe, std::string_view message) {
  if (client.is_stream()) return client.refuse_stream(replies::status_of(message), message);
  if (!subscribe.batch) return client.reply(replies::error(message, subscribe.ack));
  subscribe.batch->failed.emplace_back(subscribe.channel, message);
  if (--subscribe.batch->unanswered == 0) client.reply(replies::subscribed_batch(*subscribe.batch));
}

void remember(Channel& channel, const FramePtr& frame) {
  if (!channel.recent.empty() && channel.recent.back()->offset + 1 != frame->offset) forget_recent(channel);
  channel.recent.push_back(frame);
  channel.recent_bytes += frame->bytes.size();
  while (channel.recent.size() > kRecentFrames || channel.recent_bytes > kRecentBytes) {
    channel.recent_bytes -= channel.recent.front()->bytes.size();
    channel.recent.pop_front();
  }
}

void forget_recent(Channel& channel) {
  channel.recent.clear();
  channel.recent_bytes = 0;
}

Hub::Hub(ChannelTracker& tracker, History& history, Presence& presence, ClientReports& reports, IoMetrics& metrics)
    : tracker_(tracker), history_(history), presence_(presence), reports_(reports), metrics_(metrics) {
  channel_for(std::string(kSessionsChannel)).permanent = true;
}

Channel& Hub::channel_for(const std::string& name) {
  std::unique_ptr<Channel>& slot = channels_[name];
  if (!slot) {
    slot = std::make_unique<Channel>();
    slot->name = name;
    tracker_.track(name);
  }
  return *slot;
}

Membership& Hub::join(Client& client, Channel& channel) {
  abandon(channel, false);
  channel.members.push_back({&client, Channel::kHeld});
  metrics_.subscriptions.add(1);
  Membership membership;
  membership.channel = &channel;
  membership.index = channel.members.size() - 1;
  return client.memberships.emplace_back(std::move(membership));
}

void Hub::join_everybody(Client& client) {
  Channel& channel = channel_for(std::string(kSessionsChannel));
  if (membership_of(client, channel) != client.memberships.end()) return;
  Membership& membership = join(client, channel);
  if (!channel.asking) go_live(client, membership, channel.head);
}

Hub::Outcome Hub::subscribe(Client& client, Subscribe subscribe) {
  const auto known = channels_.find(subscribe.channel);
  auto membership = known == channels_.end() ? client.memberships.end() : membership_of(client, *known->second);
  if (membership == client.memberships.end()) {
    // The channel of all clients does not count.
    if (client.memberships.size() > kMaxSubscriptions) return Outcome::too_many;
    if (known == channels_.end() && abandoned_ >= kMaxAbandoned) return Outcome::too_many;
    join(client, channel_for(subscribe.channel));
    membership = client.memberships.end() - 1;
  }
  if (membership->channel->asking) {
    if (membership->pending.size() >= kMaxPendingReplies) return Outcome::too_many;
    membership->pending.push_back(std::move(subscribe));
  } else {
    settle(client, *membership, std::move(subscribe));
  }
  return Outcome::done;
}

Hub::Outcome Hub::unsubscribe(Client& client, const std::string& channel) {
  const auto known = channels_.find(channel);
  if (known == channels_.end()) return Outcome::not_subscribed;
  const auto membership = membership_of(client, *known->second);
  if (membership == client.memberships.end()) return Outcome::not_subscribed;
  reports_.unsubscribed(client, *membership);
  remove(client, static_cast<std::size_t>(membership - client.memberships.begin()));
  return Outcome::done;
}

std::vector<std::string> Hub::channels_of(const Client& client) {
  std::vector<std::string> names;
  for (const Membership& membership : client.memberships) names.push_back(membership.channel->name);
  return names;
}

bool Hub::is_subscribed(Client& client, const std::string& channel) const {
  const auto known = channels_.find(channel);
  if (known == channels_.end()) return false;
  const auto membership = membership_of(client, *known->second);
  return membership != client.memberships.end() && (membership->live || membership->recovery);
}

void Hub::leave(Client& client) {
  while (!client.memberships.empty()) remove(client, client.memberships.size() - 1);
}

// Members before the cursor have had the running pass, the others not: a hole in the first part is filled
// with the last of that part, and only then the hole before the cursor with the last of all.
void Hub::remove(Client& client, std::size_t membership) {
  Channel& channel = *client.memberships[membership].channel;
  for (const Subscribe& subscribe : std::exchange(client.memberships[membership].pending, {})) {
    if (subscribe.batch) answer_failure(client, subscribe, replies::kNotSubscribed);  // it has left before it was in
  }
  if (client.memberships[membership].recovery) {
    for (const Subscribe& subscribe : std::exchange(client.memberships[membership].recovery->waiting, {})) {
      if (subscribe.batch) answer_failure(client, subscribe, replies::kNotSubscribed);
    }
    end_recovery(client, client.memberships[membership]);
  }
  if (client.memberships[membership].seat) give_back_seat(client, client.memberships[membership]);
  std::size_t hole = client.memberships[membership].index;
  const auto move_into_hole = [&](std::size_t from) {
    if (from != hole) {
      channel.members[hole] = channel.members[from];
      membership_of(*channel.members[hole].client, channel)->index = hole;
    }
    hole = from;
  };
  if (hole < channel.cursor) move_into_hole(--channel.cursor);
  move_into_hole(channel.members.size() - 1);
  channel.members.pop_back();
  metrics_.subscriptions.add(-1);
  if (membership + 1 != client.memberships.size()) std::swap(client.memberships[membership], client.memberships.back());
  client.memberships.pop_back();
  drop_if_unused(channel);
}

// A channel that was asked for is kept until its answer is there, so that two answers are never under way.
void Hub::drop_if_unused(Channel& channel) {
  if (!channel.members.empty() || channel.permanent) return;
  if (channel.asking) return abandon(channel, true);
  tracker_.untrack(channel.name);
  forget(channel);
}

void Hub::abandon(Channel& channel, bool abandoned) {
  if (channel.abandoned == abandoned) return;
  channel.abandoned = abandoned;
  abandoned ? ++abandoned_ : --abandoned_;
}

void Hub::forget(Channel& channel) {
  abandon(channel, false);
  std::erase(active_, &channel);
  const std::string name = channel.name;
  channels_.erase(name);
}

void Hub::tracked(const std::string& name, std::optional<std::uint64_t> head) {
  const auto known = channels_.find(name);
  if (known == channels_.end() || !known->second->asking) return;
  Channel& channel = *known->second;
  if (!head) return refuse_all(channel);
  channel.asking = false;
  channel.head = *head;
  for (const Channel::Member& member : channel.members) {
    Membership& membership = *membership_of(*member.client, channel);
    auto pending = std::exchange(membership.pending, {});
    if (pending.empty()) go_live(*member.client, membership, channel.head);
    for (Subscribe& subscribe : pending) settle(*member.client, membership, std::move(subscribe));
  }
  drop_if_unused(channel);
}

void Hub::refuse_all(Channel& channel) {
  while (!channel.members.empty()) {
    Client& client = *channel.members.back().client;
    const auto membership = membership_of(client, channel);
    for (const Subscribe& subscribe : std::exchange(membership->pending, {})) {
      answer_failure(client, subscribe, replies::kSessionNotFound);
    }
    remove(client, static_cast<std::size_t>(membership - client.memberships.begin()));
  }
  forget(channel);
}

void Hub::publish(const std::vector<FramePtr>& frames) {
  for (const FramePtr& frame : frames) {
    const auto known = channels_.find(frame->channel);
    // Unknown: the last subscriber has left meanwhile. Asking: the answer behind it covers this event.
    if (known == channels_.end() || known->second->asking) continue;
    Channel& channel = *known->second;
    if (frame->offset <= channel.head) continue;
    channel.head = frame->offset;
    remember(channel, frame);
    if (channel.members.empty()) continue;
    if (channel.pending.empty()) active_.push_back(&channel);
    channel.pending.push_back(frame);
  }
}

bool Hub::deliver_slice() {
  std::size_t budget = kSlice;
  while (budget > 0 && !active_.empty()) {
    Channel& channel = *active_.front();
    active_.pop_front();
    budget -= deliver_pass(channel, budget);
    if (!channel.pending.empty()) active_.push_back(&channel);
  }
  return !active_.empty();
}

void Hub::flushed() {
  if (delivered_.empty()) return;
  const SteadyTime now = std::chrono::steady_clock::now();
  for (const SteadyTime written_at : delivered_) metrics_.commit_to_socket.observe(now - written_at);
  delivered_.clear();
}

std::size_t Hub::deliver_pass(Channel& channel, std::size_t budget) {
  if (channel.batch == 0) {
    channel.batch = std::min(channel.pending.size(), kBatchFrames);
    channel.joined = join_batch(channel);
  }
  const std::size_t end = std::min(channel.cursor + budget, channel.members.size());
  const std::size_t served = end - channel.cursor;
  for (; channel.cursor < end; ++channel.cursor) {
    const Channel::Member& member = channel.members[channel.cursor];
    if (channel.joined && !member.client->is_stream() && channel.pending.front()->offset > member.since) {
      deliver(*member.client, channel.joined);
      continue;
    }
    for (std::size_t i = 0; i < channel.batch; ++i) {
      if (channel.pending[i]->offset > member.since) deliver(*member.client, channel.pending[i]);
    }
  }
  if (channel.cursor == channel.members.size()) {
    for (std::size_t i = 0; i < channel.batch; ++i) delivered_.push_back(channel.pending[i]->written_at);
    channel.pending.erase(channel.pending.begin(),
                          channel.pending.begin() + static_cast<std::ptrdiff_t>(channel.batch));
    channel.batch = 0;
    channel.joined.reset();
    channel.cursor = 0;
  }
  return std::max<std::size_t>(served, 1);
}

}  // namespace gamepicker
