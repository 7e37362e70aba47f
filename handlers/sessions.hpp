#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "handlers/api.hpp"
#include "handlers/db.hpp"
#include "shared/events.hpp"
#include "shared/json_writer.hpp"

/// What the files of the sessions resource share.
namespace gamepicker {

inline constexpr std::size_t kMaxNotes = 16000;  // sessions_notes in sql/001_initial.sql

struct Session {
  std::int64_t id = 0;
  std::optional<std::string> notes;
  std::int64_t is_active = 0;
  std::int64_t archived = 0;
  std::string created_at;
  std::optional<std::string> closed_at;
  std::int64_t games_played = 0;
  // On the wire only while they are set.
  std::optional<std::int64_t> pending_game_id;
  std::optional<std::string> pending_game_source;
  std::optional<std::string> poll_started_at;
  std::optional<std::string> poll_ends_at;
};

/// The columns of read_session(), of `sessions s`.
#define SESSION_COLUMNS                                                  \
  "s.id, s.notes, s.is_active, s.archived, s.created_at, s.closed_at, "  \
  "(SELECT COUNT(*) FROM session_games sg WHERE sg.session_id = s.id), " \
  "s.pending_game_id, s.pending_game_source, s.poll_started_at, s.poll_ends_at "

Session read_session(db::Rows& row);

/// Throws HttpError 404.
Session find_session(db::Transaction& tx, std::int64_t id);

/// Locks the session's row and tells whether it is active; throws HttpError 404. Whoever changes a session or its games
/// takes this lock first.
bool lock_session(db::Transaction& tx, std::int64_t id);

/// The row's members, without the braces, so that a list can add its own.
void write_members(JsonWriter& json, const Session& session);
std::string session_json(const Session& session);

/// {"success":true}
Response success();

/// Removes a closed session with its games, chat log, votes and monitors. The session's row is locked by the caller.
void delete_session_rows(db::Transaction& tx, std::int64_t id);

/// Ends the session's poll, if one runs, and returns the event to enqueue. The session's row is locked by the caller.
std::optional<Event> end_poll(db::Transaction& tx, std::int64_t session_id);

/// "dice", "manual" or "poll" of a body's `source`; throws HttpError 400.
std::optional<std::string> read_source(const JsonObject& body);

/// Locks the session {id} and its game {sgid}; throws HttpError 404.
void lock_session_game(db::Transaction& tx, const Request& request);

/// The row of a session's game, as it is on the wire.
std::string session_game_json(db::Transaction& tx, std::int64_t session_game_id);

}  // namespace gamepicker
