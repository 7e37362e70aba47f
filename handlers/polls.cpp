// The host's pick before it is played, and the poll that may decide it.

#include "handlers/outbox.hpp"
#include "handlers/sessions.hpp"

namespace gamepicker {
namespace {

constexpr char kGetPickedGame[] = "SELECT title, pack_name, min_players, max_players FROM games WHERE id = ?";

Event game_picked(db::Transaction& tx, std::int64_t session_id, std::int64_t game_id, const std::string& source) {
  db::Rows row = tx.query(kGetPickedGame, game_id);
  if (!row.next()) throw HttpError(404, "Game not found");
  JsonWriter data;
  data.begin_object().field("sessionId", session_id).key("game").begin_object();
  data.field("id", game_id).field("title", row.text()).field("pack_name", row.text());
  data.field("min_players", row.integer()).field("max_players", row.integer()).end_object();
  data.field("source", source).end_object();
  return {session_channel(session_id), "game.picked", data.take()};
}

/// {"sessionId":3} and one more member.
Event session_event(std::int64_t session_id, const char* type, std::string_view name = {},
                    const std::optional<std::string>& value = {}) {
  JsonWriter data;
  data.begin_object().field("sessionId", session_id);
  if (!name.empty()) data.field(name, value);
  data.end_object();
  return {session_channel(session_id), type, data.take()};
}

constexpr char kSetSelection[] = "UPDATE sessions SET pending_game_id = ?, pending_game_source = ? WHERE id = ?";

Response select_game(Api& api, const Request& request) {
  const JsonObject body = request.json();
  const auto game_id = body.integer("game_id", INT64_MIN, INT64_MAX);
  if (!game_id) throw HttpError(400, "game_id is required");
  const std::string source = read_source(body).value_or("dice");
  return api.database.transaction([&](db::Transaction& tx) {
    if (!lock_session(tx, request.id())) throw HttpError(400, "Cannot select a game in a closed session");
    const Event event = game_picked(tx, request.id(), *game_id, source);
    tx.execute(kSetSelection, *game_id, source, request.id());
    outbox::enqueue(tx, event);
    return success();
  });
}

Response dismiss_game(Api& api, const Request& request) {
  return api.database.transaction([&](db::Transaction& tx) {
    lock_session(tx, request.id());
    if (find_session(tx, request.id()).pending_game_id) {
      tx.execute(kSetSelection, nullptr, nullptr, request.id());
      outbox::enqueue(tx, session_event(request.id(), "game.dismissed"));
    }
    return success();
  });
}

constexpr char kStartPoll[] =
    "UPDATE sessions SET poll_started_at = UTC_TIMESTAMP(3), poll_ends_at = NULL WHERE id = ?";

Response start_poll(Api& api, const Request& request) {
  return api.database.transaction([&](db::Transaction& tx) {
    if (!lock_session(tx, request.id())) throw HttpError(400, "Cannot start a poll in a closed session");
    if (find_session(tx, request.id()).poll_started_at) throw HttpError(409, "A poll is already running");
    tx.execute(kStartPoll, request.id());
    const auto started_at = find_session(tx, request.id()).poll_started_at;
    outbox::enqueue(tx, session_event(request.id(), "poll.start", "pollStartedAt", started_at));
    JsonWriter json;
    json.begin_object().field("success", true).field("pollStartedAt", started_at).end_object();
    return json_response(200, json.take());
  });
}

constexpr std::int64_t kMaxDelaySeconds = 300;
constexpr char kScheduleEnd[] =
    "UPDATE sessions SET poll_ends_at = TIMESTAMPADD(SECOND, ?, UTC_TIMESTAMP(3)) WHERE id = ?";

Response end_poll_with_delay(db::Transaction& tx, std::int64_t session_id, std::int64_t seconds) {
  tx.execute(kScheduleEnd, seconds, session_id);
  const auto ends_at = find_session(tx, session_id).poll_ends_at;
  outbox::enqueue(tx, session_event(session_id, "poll.ending", "endsAt", ends_at));
  JsonWriter json;
  json.begin_object().field("success", true).field("endsAt", ends_at).end_object();
  return json_response(200, json.take());
}

/// A second call moves a scheduled end, or makes it now.
Response end_voting(Api& api, const Request& request) {
  const JsonObject body = request.json();
  const std::int64_t delay = body.integer("delay", 0, kMaxDelaySeconds).value_or(0);
  return api.database.transaction([&](db::Transaction& tx) {
    lock_session(tx, request.id());
    if (!find_session(tx, request.id()).poll_started_at) throw HttpError(409, "No poll is running");
    if (delay > 0) return end_poll_with_delay(tx, request.id(), delay);
    if (const auto event = end_poll(tx, request.id())) outbox::enqueue(tx, *event);
    return success();
  });
}

constexpr char kCancelEnd[] = "UPDATE sessions SET poll_ends_at = NULL WHERE id = ?";

Response cancel_end(Api& api, const Request& request) {
  return api.database.transaction([&](db::Transaction& tx) {
    lock_session(tx, request.id());
    if (!find_session(tx, request.id()).poll_ends_at) throw HttpError(409, "No poll ending is scheduled");
    tx.execute(kCancelEnd, request.id());
    outbox::enqueue(tx, session_event(request.id(), "poll.ending.cancelled"));
    return success();
  });
}

constexpr Route kRoutes[] = {
    {"POST", "/api/sessions/{id}/game-selection", Access::admin, select_game},
    {"DELETE", "/api/sessions/{id}/game-selection", Access::admin, dismiss_game},
    {"POST", "/api/sessions/{id}/voting/start", Access::admin, start_poll},
    {"POST", "/api/sessions/{id}/voting/end", Access::admin, end_voting},
    {"POST", "/api/sessions/{id}/voting/cancel-end", Access::admin, cancel_end},
};

}  // namespace

std::span<const Route> polls_routes() {
  return kRoutes;
}

}  // namespace gamepicker
