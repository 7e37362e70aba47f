#include "handlers/api.hpp"
#include "handlers/outbox.hpp"
#include "shared/clock.hpp"
#include "shared/json_writer.hpp"

namespace gamepicker {
namespace {

constexpr std::size_t kMaxUsername = 100;   // live_votes.username
constexpr std::size_t kMaxTimestamp = 100;  // longer than any ISO 8601 text that is accepted

struct Vote {
  std::string username;
  std::string type;            ///< "up" or "down"
  std::string timestamp_text;  ///< as sent
  Timestamp timestamp;
};

/// The checks stand in the order the contract gives them.
Vote read_vote(const Request& request) {
  const JsonObject body = request.body.empty() ? JsonObject::parse("{}") : request.json();
  const auto username = body.text("username", kMaxUsername);
  const auto type = body.text("vote", kMaxTimestamp);
  const auto timestamp = body.text("timestamp", kMaxTimestamp);
  if (username.value_or("").empty() || type.value_or("").empty() || timestamp.value_or("").empty()) {
    throw HttpError(400, "Missing required fields: username, vote, timestamp");
  }
  if (*type != "up" && *type != "down") throw HttpError(400, "vote must be either \"up\" or \"down\"");
  const auto time = parse_iso(*timestamp);
  if (!time) throw HttpError(400, "Invalid timestamp format. Use ISO 8601 format (e.g., 2025-11-01T20:30:00Z)");
  return {*username, *type, *timestamp, *time};
}

// A shared lock: the session cannot be closed, nor a game be added to it, before the vote is in.
constexpr char kLockActiveSession[] = "SELECT id FROM sessions WHERE active_marker = 1 LOCK IN SHARE MODE";

// The game whose [played_at, next played_at) holds the vote is the last one that began at or before it.
constexpr char kFindPlayedGame[] =
    "SELECT (SELECT COUNT(*) FROM session_games WHERE session_id = ?), sg.id, g.id, g.title, g.pack_name "
    "FROM session_games sg JOIN games g ON g.id = sg.game_id "
    "WHERE sg.session_id = ? AND sg.played_at <= ? ORDER BY sg.played_at DESC, sg.id DESC LIMIT 1";

struct PlayedGame {
  std::int64_t games_played = 0;
  std::int64_t session_game_id = 0;
  std::int64_t id = 0;
  std::string title;
  std::string pack_name;
};

constexpr char kListPlayed[] =
    "SELECT g.title, sg.played_at FROM session_games sg JOIN games g ON g.id = sg.game_id "
    "WHERE sg.session_id = ? ORDER BY sg.played_at, sg.id";

[[noreturn]] void throw_no_match(db::Transaction& tx, std::int64_t session_id, const Vote& vote) {
  JsonWriter debug;
  debug.begin_object().field("voteTimestamp", vote.timestamp_text).key("sessionGames").begin_array();
  bool any = false;
  for (db::Rows rows = tx.query(kListPlayed, session_id); rows.next(); any = true) {
    debug.begin_object().field("title", rows.text()).field("played_at", rows.time()).end_object();
  }
  debug.end_array().end_object();
  if (!any) throw HttpError(404, "No games have been played in the active session yet");
  throw HttpError(404, "Vote timestamp does not match any game in the active session", R"("debug":)" + debug.text());
}

PlayedGame find_played_game(db::Transaction& tx, std::int64_t session_id, const Vote& vote) {
  db::Rows row = tx.query(kFindPlayedGame, session_id, session_id, format_sql(vote.timestamp));
  if (!row.next()) throw_no_match(tx, session_id, vote);
  PlayedGame game;
  game.games_played = row.integer();
  game.session_game_id = row.integer();
  game.id = row.integer();
  game.title = row.text();
  game.pack_name = row.text();
  return game;
}

// One row a voter: its lock makes the check below safe when the same vote is sent many times at once.
constexpr char kLockVoter[] =
    "INSERT INTO voters (session_id, username) VALUES (?, ?) ON DUPLICATE KEY UPDATE votes = votes + 1";
constexpr char kFindNearVote[] =
    "SELECT ABS(TIMESTAMPDIFF(MICROSECOND, voted_at, ?)) DIV 1000 FROM live_votes "
    "WHERE session_id = ? AND username = ? AND voted_at BETWEEN ? - INTERVAL 1 SECOND AND ? + INTERVAL 1 SECOND "
    "ORDER BY 1 LIMIT 1";

void refuse_duplicate(db::Transaction& tx, std::int64_t session_id, const Vote& vote) {
  tx.execute(kLockVoter, session_id, vote.username);
  const std::string time = format_sql(vote.timestamp);
  db::Rows near = tx.query(kFindNearVote, time, session_id, vote.username, time, time);
  if (!near.next()) return;
  const std::int64_t millis = near.integer();
  std::string seconds = std::to_string(millis % 1000 + 1000).replace(0, 1, ".");
  JsonWriter extra;
  extra.begin_object().field("message", "Please wait at least 1 second between votes");
  extra.raw_field("timeSinceLastVote", std::to_string(millis / 1000) + seconds).end_object();
  const std::string& members = extra.text();
  throw HttpError(409, "Duplicate vote detected (within 1 second of previous vote)",
                  members.substr(1, members.size() - 2));
}

struct Totals {
  std::int64_t upvotes = 0;
  std::int64_t downvotes = 0;

  void write(JsonWriter& json) const {
    json.field("upvotes", upvotes).field("downvotes", downvotes).field("popularity_score", upvotes - downvotes);
  }
};

constexpr char kCountUpvote[] = "UPDATE games SET upvotes = upvotes + 1 WHERE id = ?";
constexpr char kCountDownvote[] = "UPDATE games SET downvotes = downvotes + 1 WHERE id = ?";
constexpr char kInsertVote[] =
    "INSERT INTO live_votes (session_id, game_id, session_game_id, username, vote_type, voted_at) "
    "VALUES (?, ?, ?, ?, ?, ?)";
constexpr char kGetTotals[] = "SELECT upvotes, downvotes FROM games WHERE id = ?";

/// Counters before the vote row: the row's foreign key takes a shared lock on the game, and two voters that both hold
/// it and both want to count are a deadlock.
Totals record(db::Transaction& tx, std::int64_t session_id, const PlayedGame& game, const Vote& vote) {
  tx.execute(vote.type == "up" ? kCountUpvote : kCountDownvote, game.id);
  tx.execute(kInsertVote, session_id, game.id, game.session_game_id, vote.username, vote.type,
             format_sql(vote.timestamp));
  db::Rows row = tx.query(kGetTotals, game.id);
  row.next();
  Totals totals;
  totals.upvotes = row.integer();
  totals.downvotes = row.integer();
  return totals;
}

Event vote_received(std::int64_t session_id, const PlayedGame& game, const Vote& vote, const Totals& totals) {
  JsonWriter data;
  data.begin_object().field("sessionId", session_id).key("game").begin_object();
  data.field("id", game.id).field("title", game.title).field("pack_name", game.pack_name).end_object();
  data.key("vote").begin_object().field("username", vote.username).field("type", vote.type);
  data.field("timestamp", format_iso(vote.timestamp)).end_object().key("totals").begin_object();
  totals.write(data);
  data.end_object().end_object();
  return {session_channel(session_id), "vote.received", data.take()};
}

std::string vote_response(std::int64_t session_id, const PlayedGame& game, const Vote& vote, const Totals& totals) {
  JsonWriter json;
  json.begin_object().field("success", true).field("message", "Vote recorded successfully");
  json.key("session").begin_object().field("id", session_id).field("games_played", game.games_played).end_object();
  json.key("game").begin_object().field("id", game.id).field("title", game.title);
  totals.write(json);
  json.end_object().key("vote").begin_object().field("username", vote.username).field("type", vote.type);
  json.field("timestamp", vote.timestamp_text).end_object().end_object();
  return json.take();
}

Response vote_live(Api& api, const Request& request) {
  const Vote vote = read_vote(request);
  return api.database.transaction([&](db::Transaction& tx) {
    db::Rows session = tx.query(kLockActiveSession);
    if (!session.next()) throw HttpError(404, "No active session found");
    const std::int64_t session_id = session.integer();
    const PlayedGame game = find_played_game(tx, session_id, vote);
    refuse_duplicate(tx, session_id, vote);
    const Totals totals = record(tx, session_id, game, vote);
    outbox::enqueue(tx, vote_received(session_id, game, vote, totals));
    return json_response(200, vote_response(session_id, game, vote, totals));
  });
}

constexpr char kSessionExists[] = "SELECT 1 FROM sessions WHERE id = ?";
constexpr char kTally[] =
    "SELECT g.id, g.title, g.pack_name, CAST(SUM(v.vote_type = 'up') AS SIGNED), "
    "CAST(SUM(v.vote_type = 'down') AS SIGNED) FROM live_votes v JOIN games g ON g.id = v.game_id "
    "WHERE v.session_id = ? GROUP BY g.id, g.title, g.pack_name "
    "ORDER BY SUM(v.vote_type = 'up') - SUM(v.vote_type = 'down') DESC, g.id";

Response session_votes(Api& api, const Request& request) {
  return api.database.read([&](db::Transaction& tx) {
    if (!tx.query(kSessionExists, request.id()).next()) throw HttpError(404, "Session not found");
    JsonWriter json;
    json.begin_object().field("session_id", request.id()).key("votes").begin_array();
    for (db::Rows row = tx.query(kTally, request.id()); row.next();) {
      json.begin_object().field("game_id", row.integer()).field("title", row.text()).field("pack_name", row.text());
      const std::int64_t up = row.integer();
      const std::int64_t down = row.integer();
      json.field("upvotes", up).field("downvotes", down).field("net_score", up - down);
      json.field("total_votes", up + down).end_object();
    }
    json.end_array().end_object();
    return json_response(200, json.take());
  });
}

constexpr Route kRoutes[] = {
    {"POST", "/api/votes/live", Access::bot, vote_live},
};

// Under /api/sessions, so nginx sends it to that group.
constexpr Route kSessionRoutes[] = {
    {"GET", "/api/sessions/{id}/votes", Access::open, session_votes},
};

}  // namespace

std::span<const Route> votes_routes() {
  return kRoutes;
}
std::span<const Route> session_votes_routes() {
  return kSessionRoutes;
}

}  // namespace gamepicker
