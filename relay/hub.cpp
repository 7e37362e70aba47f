#include "relay/hub.hpp"

#include <algorithm>

#include "relay/replies.hpp"
#include "shared/events.hpp"

namespace gamepicker {
namespace {

constexpr std::size_t kBatchFrames = 64;     // as many as one sendmsg takes
constexpr std::size_t kMaxPendingAcks = 16;  // repeated subscribes to one channel before its answer

std::vector<Membership>::iterator membership_of(Client& client, const Channel& channel) {
  return std::find_if(client.memberships.begin(), client.memberships.end(),
                      [&](const Membership& membership) { return membership.channel == &channel; });
}

void reply_subscribed(Client& client, const Channel& channel, const std::string& ack) {
  client.reply(replies::subscribed(*channel.session_id, channel.name, channel.head, ack));
}

}  // namespace

Hub::Hub(ChannelTracker& tracker) : tracker_(tracker) {
  channel_for(std::string(kSessionsChannel), std::nullopt);
}

Channel& Hub::channel_for(const std::string& name, std::optional<std::int64_t> session_id) {
  std::unique_ptr<Channel>& slot = channels_[name];
  if (!slot) {
    slot = std::make_unique<Channel>();
    slot->name = name;
    slot->session_id = session_id;
    tracker_.track(name);
  }
  return *slot;
}

Membership& Hub::join(Client& client, Channel& channel) {
  channel.members.push_back({&client, channel.head});
  return client.memberships.emplace_back(Membership{&channel, channel.members.size() - 1, {}});
}

void Hub::join_everybody(Client& client) {
  Channel& channel = channel_for(std::string(kSessionsChannel), std::nullopt);
  if (membership_of(client, channel) == client.memberships.end()) join(client, channel);
}

Hub::Outcome Hub::subscribe(Client& client, std::int64_t session_id, std::string ack) {
  const std::string name = session_channel(session_id);
  const auto known = channels_.find(name);
  auto membership = known == channels_.end() ? client.memberships.end() : membership_of(client, *known->second);
  if (membership == client.memberships.end()) {
    // The channel of all clients does not count.
    if (client.memberships.size() > kMaxSubscriptions) return Outcome::too_many;
    join(client, channel_for(name, session_id));
    membership = client.memberships.end() - 1;
  }
  Channel& channel = *membership->channel;
  if (channel.asking) {
    if (membership->pending.size() >= kMaxPendingAcks) return Outcome::too_many;
    membership->pending.push_back({std::move(ack)});
  } else {
    reply_subscribed(client, channel, ack);
  }
  return Outcome::done;
}

Hub::Outcome Hub::unsubscribe(Client& client, std::int64_t session_id) {
  const auto known = channels_.find(session_channel(session_id));
  if (known == channels_.end()) return Outcome::not_subscribed;
  const auto membership = membership_of(client, *known->second);
  if (membership == client.memberships.end()) return Outcome::not_subscribed;
  remove(client, static_cast<std::size_t>(membership - client.memberships.begin()));
  return Outcome::done;
}

void Hub::leave(Client& client) {
  while (!client.memberships.empty()) remove(client, client.memberships.size() - 1);
}

// Members before the cursor have had the running pass, the others not: a hole in the first part is filled
// with the last of that part, and only then the hole before the cursor with the last of all.
void Hub::remove(Client& client, std::size_t membership) {
  Channel& channel = *client.memberships[membership].channel;
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
  if (membership + 1 != client.memberships.size()) std::swap(client.memberships[membership], client.memberships.back());
  client.memberships.pop_back();
  drop_if_unused(channel);
}

// A channel that was asked for is kept until its answer is there, so that two answers are never under way.
void Hub::drop_if_unused(Channel& channel) {
  if (!channel.members.empty() || channel.asking || !channel.session_id) return;
  tracker_.untrack(channel.name);
  forget(channel);
}

void Hub::forget(Channel& channel) {
  std::erase(active_, &channel);
  const std::string name = channel.name;
  channels_.erase(name);
}

void Hub::tracked(const std::string& name, std::optional<std::uint64_t> head) {
  const auto known = channels_.find(name);
  if (known == channels_.end() || !known->second->asking) return;
  Channel& channel = *known->second;
  if (!head && channel.session_id) return refuse_all(channel);
  channel.asking = false;
  channel.head = head.value_or(0);
  for (Channel::Member& member : channel.members) {
    member.since = channel.head;
    auto pending = std::move(membership_of(*member.client, channel)->pending);
    for (const PendingSubscribe& subscribe : pending) reply_subscribed(*member.client, channel, subscribe.ack);
  }
  drop_if_unused(channel);
}

void Hub::refuse_all(Channel& channel) {
  while (!channel.members.empty()) {
    Client& client = *channel.members.back().client;
    const auto membership = membership_of(client, channel);
    for (const PendingSubscribe& subscribe : membership->pending) {
      client.reply(replies::error(replies::kSessionNotFound, subscribe.ack));
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

std::size_t Hub::deliver_pass(Channel& channel, std::size_t budget) {
  if (channel.batch == 0) channel.batch = std::min(channel.pending.size(), kBatchFrames);
  const std::size_t end = std::min(channel.cursor + budget, channel.members.size());
  const std::size_t served = end - channel.cursor;
  for (; channel.cursor < end; ++channel.cursor) {
    const Channel::Member& member = channel.members[channel.cursor];
    for (std::size_t i = 0; i < channel.batch; ++i) {
      if (channel.pending[i]->offset > member.since) member.client->deliver(channel.pending[i]);
    }
  }
  if (channel.cursor == channel.members.size()) {
    channel.pending.erase(channel.pending.begin(),
                          channel.pending.begin() + static_cast<std::ptrdiff_t>(channel.batch));
    channel.batch = 0;
    channel.cursor = 0;
  }
  return std::max<std::size_t>(served, 1);
}

}  // namespace gamepicker
