#include "handlers/api.hpp"
#include "handlers/outbox.hpp"
#include "shared/clock.hpp"
#include "shared/json_writer.hpp"

namespace gamepicker {
namespace {

constexpr std::size_t kMaxUsername = 100;   // live_votes.username
constexpr std::size_t kMaxTicker = 16;      // games.ticker
constexpr std::size_t kMaxTimestamp = 100;  // longer than any ISO 8601 text that is accepted

struct Vote {
  std::string username;
  std::string type;            ///< "up" or "down"
  std::string timestamp_text;  ///< as sent
  Timestamp timestamp;
  std::optional<std::string> ticker;  ///< names the game, whatever is being played
};

/// Given, and not the empty text; of whatever type.
bool has_text(const JsonObject& body, const std::string& name) {
  return body.has(name) && !body.is_null(name) && body.json(name) != "\"\"";
}

/// Empty for what is no short text either: to the contract, that is a wrong value like any other.
std::string text_or_nothing(const JsonObject& body, const std::string& name) {
  try {
    return body.text(name, kMaxTimestamp).value_or("");
  } catch (const FieldError&) {
    return {};
  }
}

/// The checks stand in the order the contract gives them.
Vote read_vote(const Request& request) {
  const JsonObject body = request.json();
  if (!has_text(body, "username") || !has_text(body, "vote") || !has_text(body, "timestamp")) {
    throw HttpError(400, "Missing required fields: username, vote, timestamp");
  }
  const std::string username = body.text("username", kMaxUsername).value();
  const std::string type = text_or_nothing(body, "vote");
  if (type != "up" && type != "down") throw HttpError(400, "vote must be either \"up\" or \"down\"");
  const std::string timestamp = text_or_nothing(body, "timestamp");
  const auto time = parse_iso(timestamp);
  if (!time) throw HttpError(400, "Invalid timestamp format. Use ISO 8601 format (e.g., 2025-11-01T20:30:00Z)");
  return {username, type, timestamp, *time, body.text("ticker", kMaxTicker)};
}

/// What the vote counted for, and what it made of the game.
struct CountedVote {
  std::int64_t session_id = 0;
  std::int64_t games_played = 0;
  std::int64_t game_id = 0;
  std::string title;
  std::int64_t upvotes = 0;
  std::int64_t downvotes = 0;

  void write_totals(JsonWriter& json) const {
    json.field("upvotes", upvotes).field("downvotes", downvotes).field("popularity_score", upvotes - downvotes);
  }
};

constexpr char kListPlayed[] =
    "SELECT g.title, sg.played_at FROM session_games sg JOIN games g ON g.id = sg.game_id "
    "WHERE sg.session_id = ? ORDER BY sg.played_at, sg.id";

[[noreturn]] void throw_no_game(db::Transaction& tx, std::int64_t session_id, const Vote& vote) {
  if (vote.ticker) throw HttpError(404, "Unknown ticker");
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

[[noreturn]] void throw_duplicate(std::int64_t millis) {
  const std::string fraction = std::to_string(millis % 1000 + 1000).replace(0, 1, ".");
  throw HttpError(409, "Duplicate vote detected (within 1 second of previous vote)",
                  R"("message":"Please wait at least 1 second between votes","timeSinceLastVote":)" +
                      std::to_string(millis / 1000) + fraction);
}

// All checks and writes, and the event, in one round trip: they hold row locks that every other voter waits for.
constexpr char kRecordVote[] = "CALL record_vote(?, ?, ?, ?, ?, ?, ?)";

/// The event's "vote" member; what else is in the event, the procedure knows.
std::string vote_member(const Vote& vote) {
  JsonWriter json;
  json.begin_object().field("username", vote.username).field("type", vote.type);
  json.field("timestamp", format_iso(vote.timestamp)).end_object();
  return json.take();
}

CountedVote record(db::Transaction& tx, const Vote& vote) {
  CountedVote counted;
  std::string outcome;
  std::int64_t millis = 0;
  {
    db::Rows row = tx.call_and_commit(kRecordVote, vote.username, vote.type, format_sql(vote.timestamp), vote.ticker,
                                      format_iso(now()), vote_member(vote));
    row.next();
    outcome = row.text();
    counted.session_id = row.maybe_integer().value_or(0);
    counted.games_played = row.integer();
    counted.game_id = row.maybe_integer().value_or(0);
    counted.title = row.maybe_text().value_or("");
    counted.upvotes = row.integer();
    counted.downvotes = row.integer();
    millis = row.maybe_integer().value_or(0);
  }
  if (outcome == "no session") throw HttpError(404, "No active session found");
  if (outcome == "no game") throw_no_game(tx, counted.session_id, vote);
  if (outcome == "duplicate") throw_duplicate(millis);
  tx.nudge_after_commit();
  return counted;
}

std::string vote_response(const CountedVote& counted, const Vote& vote) {
  JsonWriter json;
  json.begin_object().field("success", true).field("message", "Vote recorded successfully");
  json.key("session").begin_object().field("id", counted.session_id).field("games_played", counted.games_played);
  json.end_object().key("game").begin_object().field("id", counted.game_id).field("title", counted.title);
  counted.write_totals(json);
  json.end_object().key("vote").begin_object().field("username", vote.username).field("type", vote.type);
  json.field("timestamp", vote.timestamp_text).end_object().end_object();
  return json.take();
}

Response vote_live(Api& api, const Request& request) {
  const Vote vote = read_vote(request);
  return api.database.transaction(
      [&](db::Transaction& tx) { return json_response(200, vote_response(record(tx, vote), vote)); });
}

/// What a history request asks for; what was not given is empty.
struct HistoryFilter {
  std::optional<std::int64_t> session_id;
  std::optional<std::int64_t> game_id;
  std::optional<std::string> username;
  std::optional<std::string> vote_type;
  std::int64_t page = 1;
  std::int64_t limit = 50;
};

HistoryFilter read_history_filter(const Request& request) {
  HistoryFilter filter;
  filter.session_id = query_integer(request, "session_id", 1, INT32_MAX);
  filter.game_id = query_integer(request, "game_id", 1, INT32_MAX);
  filter.username = request.query_value("username");
  if (filter.username && utf8_length(*filter.username) > kMaxUsername) {
    throw HttpError(400, "username must be at most 100 characters");
  }
  filter.vote_type = request.query_value("vote_type");
  if (filter.vote_type && *filter.vote_type != "up" && *filter.vote_type != "down") {
    throw HttpError(400, "vote_type must be up or down");
  }
  filter.page = query_integer(request, "page", 1, INT32_MAX).value_or(filter.page);
  filter.limit = query_integer(request, "limit", 1, 100).value_or(filter.limit);
  return filter;
}

#define HISTORY_WHERE                                                        \
  " WHERE (? IS NULL OR v.session_id = ?) AND (? IS NULL OR v.game_id = ?) " \
  "AND (? IS NULL OR v.username = ?) AND (? IS NULL OR v.vote_type = ?) "
constexpr char kCountHistory[] = "SELECT COUNT(*) FROM live_votes v" HISTORY_WHERE;
constexpr char kListHistory[] =
    "SELECT v.id, v.session_id, v.game_id, g.title, g.pack_name, v.username, v.vote_type, v.voted_at, v.created_at "
    "FROM live_votes v JOIN games g ON g.id = v.game_id" HISTORY_WHERE
    "ORDER BY v.voted_at DESC, v.id DESC LIMIT ? OFFSET ?";

Response list_votes(Api& api, const Request& request) {
  const HistoryFilter filter = read_history_filter(request);
  const auto query = [&](db::Transaction& tx, const char* sql, const auto&... page) {
    return tx.query(sql, filter.session_id, filter.session_id, filter.game_id, filter.game_id, filter.username,
                    filter.username, filter.vote_type, filter.vote_type, page...);
  };
  return api.database.snapshot([&](db::Transaction& tx) {
    db::Rows count = query(tx, kCountHistory);
    count.next();
    const std::int64_t total = count.integer();
    JsonWriter json;
    json.begin_object().key("votes").begin_array();
    db::Rows row = query(tx, kListHistory, filter.limit, (filter.page - 1) * filter.limit);
    while (row.next()) {
      json.begin_object().field("id", row.integer()).field("session_id", row.integer());
      json.field("game_id", row.integer()).field("game_title", row.text()).field("pack_name", row.text());
      json.field("username", row.text()).field("vote_type", row.text());
      json.field("timestamp", row.time()).field("created_at", row.time()).end_object();
    }
    json.end_array().key("pagination").begin_object().field("page", filter.page).field("limit", filter.limit);
    json.field("total", total).field("total_pages", (total + filter.limit - 1) / filter.limit);
    json.end_object().end_object();
    return json_response(200, json.take());
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
    {"GET", "/api/votes", Access::open, list_votes},
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
