#include <algorithm>
#include <cctype>

#include "handlers/outbox.hpp"
#include "handlers/sessions.hpp"

#define SESSION_GAME_COLUMNS                                                                         \
  "sg.id, sg.session_id, sg.game_id, sg.played_at, sg.manually_added, sg.source, sg.status, "        \
  "sg.room_code, sg.player_count, sg.player_count_check_status, g.pack_name, g.title, g.game_type, " \
  "g.min_players, g.max_players, g.upvotes, g.downvotes, g.upvotes - g.downvotes "                   \
  "FROM session_games sg JOIN games g ON g.id = sg.game_id "

namespace gamepicker {
namespace {

/// Reads one row of SESSION_GAME_COLUMNS; the members without the braces.
void write_members(JsonWriter& json, db::Rows& row) {
  json.field("id", row.integer())
      .field("session_id", row.integer())
      .field("game_id", row.integer())
      .field("played_at", row.time())
      .field("manually_added", row.integer())
      .field("source", row.text())
      .field("status", row.text())
      .field("room_code", row.maybe_text())
      .field("player_count", row.maybe_integer())
      .field("player_count_check_status", row.maybe_text())
      .field("pack_name", row.text())
      .field("title", row.text())
      .field("game_type", row.maybe_text())
      .field("min_players", row.integer())
      .field("max_players", row.integer())
      .field("upvotes", row.integer())
      .field("downvotes", row.integer())
      .field("popularity_score", row.integer());
}

constexpr char kSessionExists[] = "SELECT 1 FROM sessions WHERE id = ?";
constexpr char kListSessionGames[] =
    "SELECT " SESSION_GAME_COLUMNS "WHERE sg.session_id = ? ORDER BY sg.played_at, sg.id";

Response list_session_games(Api& api, const Request& request) {
  return api.database.read([&](db::Transaction& tx) {
    if (!tx.query(kSessionExists, request.id()).next()) throw HttpError(404, "Session not found");
    db::Rows rows = tx.query(kListSessionGames, request.id());
    JsonWriter json;
    json.begin_array();
    while (rows.next()) {
      json.begin_object();
      write_members(json, rows);
      json.end_object();
    }
    json.end_array();
    return json_response(200, json.take());
  });
}

constexpr char kBadRoomCode[] = "Invalid room code format. Must be 4 letters or digits";

/// Four letters or digits, in upper case; throws HttpError 400.
std::string normalized_room_code(std::string code) {
  const auto is_plain = [](unsigned char c) { return c < 0x80 && std::isalnum(c) != 0; };
  if (code.size() != 4 || !std::ranges::all_of(code, is_plain)) throw HttpError(400, kBadRoomCode);
  std::ranges::transform(code, code.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return code;
}

/// Nothing when it was not given. The contract has one sentence for whatever is wrong with a room code.
std::optional<std::string> read_room_code(const JsonObject& body) {
  try {
    auto code = body.text("room_code", 100);
    if (code) code = normalized_room_code(std::move(*code));
    return code;
  } catch (const FieldError&) {
    throw HttpError(400, kBadRoomCode);
  }
}

struct NewSessionGame {
  std::int64_t game_id = 0;
  bool manually_added = false;
  std::optional<std::string> room_code;
  std::string source;
};

NewSessionGame read_new_session_game(const Request& request) {
  const JsonObject body = request.json();
  NewSessionGame game;
  const auto id = body.integer("game_id", INT64_MIN, INT64_MAX);
  if (!id) throw HttpError(400, "game_id is required");
  game.game_id = *id;
  game.manually_added = body.boolean("manually_added").value_or(false);
  game.room_code = read_room_code(body);
  game.source = read_source(body).value_or(game.manually_added ? "manual" : "dice");
  return game;
}

/// The row just inserted, as the answer and as the event tell it.
struct AddedGame {
  std::string response;
  Event event;
};

constexpr char kGetSessionGame[] = "SELECT " SESSION_GAME_COLUMNS "WHERE sg.id = ?";
constexpr char kCountGames[] = "SELECT COUNT(*) FROM session_games WHERE session_id = ?";

AddedGame describe_added_game(db::Transaction& tx, std::int64_t session_id, std::int64_t session_game_id,
                              const NewSessionGame& added) {
  db::Rows count = tx.query(kCountGames, session_id);
  count.next();
  JsonWriter session;
  session.begin_object().field("id", session_id).field("is_active", true);
  session.field("games_played", count.integer()).end_object();

  db::Rows row = tx.query(kGetSessionGame, session_game_id);
  row.next();
  JsonWriter response;
  response.begin_object();
  write_members(response, row);
  response.raw_field("session", session.text()).end_object();

  JsonWriter data;
  data.begin_object().raw_field("session", session.text()).key("game").begin_object();
  db::Rows game = tx.query("SELECT title, pack_name, min_players, max_players FROM games WHERE id = ?", added.game_id);
  game.next();
  data.field("id", added.game_id).field("title", game.text()).field("pack_name", game.text());
  data.field("min_players", game.integer()).field("max_players", game.integer());
  data.field("manually_added", added.manually_added).field("room_code", added.room_code);
  data.end_object().end_object();
  return {response.take(), {session_channel(session_id), "game.added", data.take()}};
}

constexpr char kCountPlay[] = "UPDATE games SET play_count = play_count + 1 WHERE id = ?";
constexpr char kFinishOthers[] =
    "UPDATE session_games SET status = 'played' WHERE session_id = ? AND status = 'playing' AND id <> ?";
constexpr char kClearSelection[] =
    "UPDATE sessions SET pending_game_id = NULL, pending_game_source = NULL "
    "WHERE id = ? AND pending_game_id IS NOT NULL";
constexpr char kInsertSessionGame[] =
    "INSERT INTO session_games (session_id, game_id, manually_added, room_code, source) VALUES (?, ?, ?, ?, ?)";

Response add_session_game(Api& api, const Request& request) {
  const NewSessionGame game = read_new_session_game(request);
  const std::int64_t session_id = request.id();
  return api.database.transaction([&](db::Transaction& tx) {
    if (!lock_session(tx, session_id)) throw HttpError(400, "Cannot add games to a closed session");
    // The game's row is written before the foreign key of the insert would take a shared lock on it: two requests
    // that both hold the shared lock and both want to write are a deadlock.
    if (tx.execute(kCountPlay, game.game_id) == 0) throw HttpError(404, "Game not found");
    tx.execute(kFinishOthers, session_id, 0);
    tx.execute(kClearSelection, session_id);
    tx.execute(kInsertSessionGame, session_id, game.game_id, game.manually_added, game.room_code, game.source);
    AddedGame added = describe_added_game(tx, session_id, tx.last_insert_id(), game);
    outbox::enqueue(tx, added.event);
    return json_response(201, std::move(added.response));
  });
}

/// Nothing when it is no text, or a long one: that is not a status either.
std::optional<std::string> read_status(const Request& request) {
  const JsonObject body = request.json();
  try {
    return body.text("status", 100);
  } catch (const FieldError&) {
    return std::nullopt;
  }
}

constexpr char kSetStatus[] = "UPDATE session_games SET status = ? WHERE id = ?";

Response set_status(Api& api, const Request& request) {
  const std::optional<std::string> status = read_status(request);
  if (status != "playing" && status != "played" && status != "skipped") {
    throw HttpError(400, "Invalid status. Must be playing, played, or skipped");
  }
  return api.database.transaction([&](db::Transaction& tx) {
    lock_session_game(tx, request);
    if (*status == "playing") tx.execute(kFinishOthers, request.id(0), request.id(1));
    tx.execute(kSetStatus, *status, request.id(1));
    JsonWriter data;
    data.begin_object().field("sessionId", request.id(0)).field("gameId", request.id(1));
    data.field("status", *status).end_object();
    outbox::enqueue(tx, {session_channel(request.id(0)), "game.status-changed", data.take()});
    JsonWriter json;
    json.begin_object().field("message", "Status updated successfully").field("status", *status).end_object();
    return json_response(200, json.take());
  });
}

constexpr char kSetPlayerCount[] =
    "UPDATE session_games SET player_count = ?, player_count_check_status = 'completed' WHERE id = ?";

std::int64_t read_player_count(const Request& request) {
  try {
    const auto count = request.json().integer("player_count", 0, INT32_MAX);
    if (count) return *count;
  } catch (const FieldError&) {
    // The contract has one sentence for every bad count.
  }
  throw HttpError(400, "Invalid player count");
}

Response set_player_count(Api& api, const Request& request) {
  const std::int64_t count = read_player_count(request);
  return api.database.transaction([&](db::Transaction& tx) {
    lock_session_game(tx, request);
    tx.execute(kSetPlayerCount, count, request.id(1));
    JsonWriter data;
    data.begin_object().field("sessionId", request.id(0)).field("gameId", request.id(1));
    data.field("playerCount", count).field("status", "completed").end_object();
    outbox::enqueue(tx, {session_channel(request.id(0)), "player-count.updated", data.take()});
    JsonWriter json;
    json.begin_object().field("message", "Player count updated successfully");
    json.field("player_count", count).end_object();
    return json_response(200, json.take());
  });
}

constexpr char kUncountPlay[] = "UPDATE games SET play_count = play_count - 1 WHERE id = ? AND play_count > 0";
constexpr char kGameOf[] = "SELECT game_id FROM session_games WHERE id = ?";
constexpr char kForgetMonitor[] = "DELETE FROM room_monitors WHERE session_game_id = ?";
constexpr char kDeleteSessionGame[] = "DELETE FROM session_games WHERE id = ?";

Response remove_session_game(Api& api, const Request& request) {
  return api.database.transaction([&](db::Transaction& tx) {
    lock_session_game(tx, request);
    std::int64_t game_id = 0;
    {
      db::Rows row = tx.query(kGameOf, request.id(1));
      row.next();
      game_id = row.integer();
    }
    tx.execute(kUncountPlay, game_id);  // its votes stay, and the totals with them
    tx.execute(kForgetMonitor, request.id(1));
    tx.execute(kDeleteSessionGame, request.id(1));
    JsonWriter data;
    data.begin_object().field("sessionId", request.id(0)).field("gameId", request.id(1)).end_object();
    outbox::enqueue(tx, {session_channel(request.id(0)), "game.removed", data.take()});
    return json_response(200, R"({"message":"Game removed from session successfully"})");
  });
}

constexpr char kSetRoomCode[] = "UPDATE session_games SET room_code = ? WHERE id = ?";

Response set_room_code(Api& api, const Request& request) {
  const auto code = read_room_code(request.json());
  if (!code) throw HttpError(400, kBadRoomCode);
  return api.database.transaction([&](db::Transaction& tx) {
    lock_session_game(tx, request);
    tx.execute(kSetRoomCode, *code, request.id(1));
    return json_response(200, session_game_json(tx, request.id(1)));
  });
}

constexpr Route kRoutes[] = {
    {"GET", "/api/sessions/{id}/games", Access::open, list_session_games},
    {"POST", "/api/sessions/{id}/games", Access::admin, add_session_game},
    {"DELETE", "/api/sessions/{id}/games/{sgid}", Access::admin, remove_session_game},
    {"PATCH", "/api/sessions/{id}/games/{sgid}/status", Access::admin, set_status},
    {"PATCH", "/api/sessions/{id}/games/{sgid}/room-code", Access::admin, set_room_code},
    {"PATCH", "/api/sessions/{id}/games/{sgid}/player-count", Access::admin, set_player_count},
};

}  // namespace

std::string session_game_json(db::Transaction& tx, std::int64_t session_game_id) {
  db::Rows row = tx.query(kGetSessionGame, session_game_id);
  row.next();
  JsonWriter json;
  json.begin_object();
  write_members(json, row);
  json.end_object();
  return json.take();
}

std::span<const Route> session_games_routes() {
  return kRoutes;
}

}  // namespace gamepicker
