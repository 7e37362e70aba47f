#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "relay/client.hpp"
#include "relay/hub.hpp"

/// What the parts of the hub share.
namespace gamepicker {

/// Repeated subscribes to one channel before its answer.
inline constexpr std::size_t kMaxPendingReplies = 16;

std::vector<Membership>::iterator membership_of(Client& client, const Channel& channel);

/// Hands an event to a client, unless it is the one that made it.
void deliver(Client& client, const FramePtr& frame);

/// Answers a subscribe: alone, or with the last of its batch.
void answer(Client& client, const Subscribe& subscribe, std::optional<bool> recovered, std::uint64_t offset);
void answer_failure(Client& client, const Subscribe& subscribe, std::string_view message);

/// The events that a channel keeps at hand. `frame` is newer than all of them; a gap before it drops those.
void remember(Channel& channel, const FramePtr& frame);
void forget_recent(Channel& channel);

}  // namespace gamepicker
