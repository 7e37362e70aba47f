// How a subscriber takes part in a presence channel; see Hub and PresenceKeeper.

#include <algorithm>
#include <utility>

#include "relay/hub.hpp"
#include "relay/hub_parts.hpp"
#include "relay/replies.hpp"

namespace gamepicker {

void Hub::take_seat(Client& client, Membership& membership, Subscribe subscribe) {
  const bool enters = membership.seat == nullptr;
  if (enters) membership.seat = std::make_unique<Seat>(Seat{client.subject, {}});
  Seat& seat = *membership.seat;
  if (seat.waiting.size() >= kMaxPendingReplies) {
    return answer_failure(client, subscribe, replies::kTooManySubscriptions);
  }
  presence_.ask({membership.channel->name, seat.user, subscribe.info.empty() ? "{}" : subscribe.info, enters,
                 client.socket(), client.socket_id, ++tickets_});
  seat.waiting.emplace_back(tickets_, std::move(subscribe));
}

void Hub::present(Client& client, const PresenceAnswer& found) {
  const auto known = channels_.find(found.channel);
  if (known == channels_.end()) return;
  Channel& channel = *known->second;
  const auto membership = membership_of(client, channel);
  if (membership == client.memberships.end() || !membership->seat) return;
  auto& waiting = membership->seat->waiting;
  const auto asked = std::ranges::find(waiting, found.ticket, [](const auto& one) { return one.first; });
  if (asked == waiting.end()) return;  // of an earlier membership
  Subscribe subscribe = std::move(asked->second);
  waiting.erase(asked);
  if (!found.members) {
    answer_failure(client, subscribe, replies::kChannelFull);
    const bool in = membership->live || membership->recovery;
    if (!in && waiting.empty()) remove(client, static_cast<std::size_t>(membership - client.memberships.begin()));
    return;
  }
  subscribe.members = found.members;
  if (subscribe.offset || membership->live || membership->recovery) {
    return settle(client, *membership, std::move(subscribe));
  }
  // The list is as of this offset, which our reader of events may not have reached, or have left behind.
  if (found.offset < channel.head) return recover(client, *membership, std::move(subscribe), found.offset);
  go_live(client, *membership, found.offset);
  confirm(client, *membership, subscribe, std::nullopt, found.offset);
}

void Hub::give_back_seat(Client& client, Membership& membership) {
  const std::unique_ptr<Seat> seat = std::move(membership.seat);
  for (const auto& [ticket, subscribe] : seat->waiting) {
    if (subscribe.batch) answer_failure(client, subscribe, replies::kNotSubscribed);  // it has left before it was in
  }
  if (!keep_seats_) presence_.leave(membership.channel->name, seat->user, client.socket_id);
}

}  // namespace gamepicker
