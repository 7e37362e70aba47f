#pragma once

#include <cstdint>
#include <optional>
#include <string>

/// How a poll ends, once for both programs: a handler ends it at once, the relay when its delayed end is due.
namespace gamepicker::polls {

/// () Sessions whose poll is to end now, or the next one to come, with the milliseconds until then.
inline constexpr char kNextEnd[] =
    "SELECT id, TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(3), poll_ends_at) DIV 1000 FROM sessions "
    "WHERE poll_ends_at IS NOT NULL ORDER BY poll_ends_at LIMIT 1";

/// (session id) Locks the session, if its poll is still due: another relay may have been faster, or the host.
inline constexpr char kLockDue[] =
    "SELECT id FROM sessions WHERE id = ? AND poll_ends_at <= UTC_TIMESTAMP(3) FOR UPDATE";

/// (session id) What the last poll.leading said. The session is locked.
inline constexpr char kReadLeading[] =
    "SELECT poll_leading_game_id, poll_leading_label, poll_leading_votes FROM sessions "
    "WHERE id = ? AND poll_started_at IS NOT NULL";

/// (session id)
inline constexpr char kClear[] =
    "UPDATE sessions SET poll_started_at = NULL, poll_ends_at = NULL, poll_leading_game_id = NULL, "
    "poll_leading_label = NULL, poll_leading_votes = NULL WHERE id = ?";

/// (session id)
inline constexpr char kLockSession[] = "SELECT id FROM sessions WHERE id = ? FOR UPDATE";

/// (game id, label, votes, session id) Keeps what poll.leading said, for the end of the poll that is running.
inline constexpr char kKeepLeading[] =
    "UPDATE sessions SET poll_leading_game_id = ?, poll_leading_label = ?, poll_leading_votes = ? "
    "WHERE id = ? AND poll_started_at IS NOT NULL";

struct Leading {
  std::optional<std::int64_t> game_id;
  std::optional<std::string> label;
  std::optional<std::int64_t> votes;
};

/// The data of voting.ended.
std::string voting_ended_data(std::int64_t session_id, const Leading& winner);

}  // namespace gamepicker::polls
