// The commands to the relay's room monitor, and what it last saw. The table is all the two programs share: the relay
// watches the rooms whose row says "monitoring".

#include "handlers/sessions.hpp"

namespace gamepicker {
namespace {

constexpr char kGetRoomCode[] = "SELECT room_code FROM session_games WHERE id = ?";
constexpr char kStart[] =
    "INSERT INTO room_monitors (session_game_id, session_id, state) VALUES (?, ?, 'monitoring') "
    "ON DUPLICATE KEY UPDATE state = 'monitoring', status = NULL, updated_at = UTC_TIMESTAMP(3)";
constexpr char kSetCheckStatus[] = "UPDATE session_games SET player_count_check_status = ? WHERE id = ?";

Response start_check(Api& api, const Request& request) {
  return api.database.transaction([&](db::Transaction& tx) {
    lock_session_game(tx, request);
    {
      db::Rows row = tx.query(kGetRoomCode, request.id(1));
      row.next();
      if (!row.maybe_text()) throw HttpError(400, "Game does not have a room code");
    }
    tx.execute(kStart, request.id(1), request.id(0));
    tx.execute(kSetCheckStatus, "monitoring", request.id(1));
    tx.nudge_after_commit();
    return json_response(200, R"({"message":"Room monitor started","status":"monitoring"})");
  });
}

constexpr char kStop[] =
    "UPDATE room_monitors SET state = 'stopped', updated_at = UTC_TIMESTAMP(3) "
    "WHERE session_game_id = ? AND state = 'monitoring'";

Response stop_check(Api& api, const Request& request) {
  return api.database.transaction([&](db::Transaction& tx) {
    lock_session_game(tx, request);
    if (tx.execute(kStop, request.id(1)) > 0) {
      tx.execute(kSetCheckStatus, "stopped", request.id(1));
      tx.nudge_after_commit();
    }
    return json_response(200, R"({"message":"Room monitor stopped","status":"stopped"})");
  });
}

constexpr char kGetStatus[] =
    "SELECT m.status, COALESCE(m.state = 'monitoring', 0), sg.room_code, g.max_players, sg.player_count, sg.status "
    "FROM session_games sg JOIN games g ON g.id = sg.game_id "
    "LEFT JOIN room_monitors m ON m.session_game_id = sg.id WHERE sg.id = ? AND sg.session_id = ?";

/// What the monitor last saw; before it has seen anything, what the row says in the same form.
Response get_status(Api& api, const Request& request) {
  return api.database.read([&](db::Transaction& tx) {
    db::Rows row = tx.query(kGetStatus, request.id(1), request.id(0));
    if (!row.next()) throw HttpError(404, "Session game not found");
    if (auto seen = row.maybe_text()) return json_response(200, std::move(*seen));
    const bool monitoring = row.integer() == 1;
    JsonWriter json;
    json.begin_object().field("sessionId", request.id(0)).field("gameId", request.id(1));
    json.field("roomCode", row.maybe_text()).key("appTag").null().field("maxPlayers", row.integer());
    json.field("playerCount", row.maybe_integer()).key("players").begin_array().end_array();
    json.key("lobbyState").null().key("gameState").null().field("gameStarted", false);
    json.field("gameFinished", row.text() != "playing").field("monitoring", monitoring).end_object();
    return json_response(200, json.take());
  });
}

constexpr Route kRoutes[] = {
    {"POST", "/api/sessions/{id}/games/{sgid}/start-player-check", Access::admin, start_check},
    {"POST", "/api/sessions/{id}/games/{sgid}/stop-player-check", Access::admin, stop_check},
    {"GET", "/api/sessions/{id}/games/{sgid}/status-live", Access::open, get_status},
};

}  // namespace

std::span<const Route> room_monitors_routes() {
  return kRoutes;
}

}  // namespace gamepicker
