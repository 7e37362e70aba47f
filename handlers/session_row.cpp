#include "handlers/sessions.hpp"
#include "shared/polls.hpp"

namespace gamepicker {

Session read_session(db::Rows& row) {
  Session session;
  session.id = row.integer();
  session.notes = row.maybe_text();
  session.is_active = row.integer();
  session.archived = row.integer();
  session.created_at = row.time();
  session.closed_at = row.maybe_time();
  session.games_played = row.integer();
  session.pending_game_id = row.maybe_integer();
  session.pending_game_source = row.maybe_text();
  session.poll_started_at = row.maybe_time();
  session.poll_ends_at = row.maybe_time();
  return session;
}

void write_members(JsonWriter& json, const Session& session) {
  json.field("id", session.id)
      .field("notes", session.notes)
      .field("is_active", session.is_active)
      .field("archived", session.archived)
      .field("created_at", session.created_at)
      .field("closed_at", session.closed_at)
      .field("games_played", session.games_played);
  if (session.pending_game_id) {
    json.field("pending_game_id", *session.pending_game_id).field("pending_game_source", session.pending_game_source);
  }
  if (session.poll_started_at) json.field("poll_started_at", *session.poll_started_at);
  if (session.poll_ends_at) json.field("poll_ends_at", *session.poll_ends_at);
}

std::string session_json(const Session& session) {
  JsonWriter json;
  json.begin_object();
  write_members(json, session);
  json.end_object();
  return json.take();
}

constexpr char kGetSession[] = "SELECT " SESSION_COLUMNS "FROM sessions s WHERE s.id = ?";

Session find_session(db::Transaction& tx, std::int64_t id) {
  db::Rows row = tx.query(kGetSession, id);
  if (!row.next()) throw HttpError(404, "Session not found");
  return read_session(row);
}

constexpr char kLockSession[] = "SELECT is_active FROM sessions WHERE id = ? FOR UPDATE";

bool lock_session(db::Transaction& tx, std::int64_t id) {
  db::Rows row = tx.query(kLockSession, id);
  if (!row.next()) throw HttpError(404, "Session not found");
  return row.integer() == 1;
}

// The session first, then its game: the same order everywhere, so that requests wait instead of deadlocking.
constexpr char kLockSessionGame[] = "SELECT status FROM session_games WHERE id = ? AND session_id = ? FOR UPDATE";

void lock_session_game(db::Transaction& tx, const Request& request) {
  const bool found =
      tx.query(kLockSession, request.id(0)).next() && tx.query(kLockSessionGame, request.id(1), request.id(0)).next();
  if (!found) throw HttpError(404, "Session game not found");
}

Response success() {
  return json_response(200, R"({"success":true})");
}

void delete_session_rows(db::Transaction& tx, std::int64_t id) {
  for (const char* sql : {
           "DELETE FROM chat_messages WHERE session_id = ?",
           "DELETE FROM live_votes WHERE session_id = ?",
           "DELETE FROM voters WHERE session_id = ?",
           "DELETE FROM room_monitors WHERE session_id = ?",
           "DELETE FROM session_games WHERE session_id = ?",
           "DELETE FROM sessions WHERE id = ?",
       }) {
    tx.execute(sql, id);
  }
}

std::optional<Event> end_poll(db::Transaction& tx, std::int64_t session_id) {
  polls::Leading winner;
  {
    db::Rows row = tx.query(polls::kReadLeading, session_id);
    if (!row.next()) return std::nullopt;
    winner.game_id = row.maybe_integer();
    winner.label = row.maybe_text();
    winner.votes = row.maybe_integer();
  }
  tx.execute(polls::kClear, session_id);
  return Event{session_channel(session_id), "voting.ended", polls::voting_ended_data(session_id, winner)};
}

std::optional<std::string> read_source(const JsonObject& body) {
  auto source = body.text("source", 10);
  if (source && *source != "dice" && *source != "manual" && *source != "poll") {
    throw HttpError(400, "source must be dice, manual or poll");
  }
  return source;
}

}  // namespace gamepicker
