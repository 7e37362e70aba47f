// A session as a file: for reading (txt) or for programs (json). The chat log may be long, so that it is written piece
// by piece as it is read.

#include "handlers/sessions.hpp"

namespace gamepicker {
namespace {

constexpr char kListGames[] =
    "SELECT sg.id, sg.game_id, g.title, g.pack_name, sg.played_at, sg.status, sg.source, sg.manually_added, "
    "sg.room_code, sg.player_count, "
    "(SELECT COUNT(*) FROM live_votes v WHERE v.session_game_id = sg.id AND v.vote_type = 'up'), "
    "(SELECT COUNT(*) FROM live_votes v WHERE v.session_game_id = sg.id AND v.vote_type = 'down'), "
    "g.upvotes, g.downvotes FROM session_games sg JOIN games g ON g.id = sg.game_id WHERE sg.session_id = ? "
    "ORDER BY sg.played_at, sg.id";

struct PlayedGame {
  std::int64_t id = 0;
  std::int64_t game_id = 0;
  std::string title;
  std::string pack_name;
  std::string played_at;
  std::string status;
  std::string source;
  std::int64_t manually_added = 0;
  std::optional<std::string> room_code;
  std::optional<std::int64_t> player_count;
  std::int64_t session_upvotes = 0;  ///< of this session's live votes
  std::int64_t session_downvotes = 0;
  std::int64_t upvotes = 0;  ///< of all time
  std::int64_t downvotes = 0;
};

std::vector<PlayedGame> read_games(db::Transaction& tx, std::int64_t session_id) {
  std::vector<PlayedGame> games;
  for (db::Rows row = tx.query(kListGames, session_id); row.next();) {
    PlayedGame& game = games.emplace_back();
    game.id = row.integer();
    game.game_id = row.integer();
    game.title = row.text();
    game.pack_name = row.text();
    game.played_at = row.time();
    game.status = row.text();
    game.source = row.text();
    game.manually_added = row.integer();
    game.room_code = row.maybe_text();
    game.player_count = row.maybe_integer();
    game.session_upvotes = row.integer();
    game.session_downvotes = row.integer();
    game.upvotes = row.integer();
    game.downvotes = row.integer();
  }
  return games;
}

struct Totals {
  std::size_t games = 0;
  std::int64_t upvotes = 0;
  std::int64_t downvotes = 0;
  std::int64_t chat_messages = 0;
};

constexpr char kCountChat[] = "SELECT COUNT(*) FROM chat_messages WHERE session_id = ?";
constexpr char kCountVotes[] =
    "SELECT CAST(COALESCE(SUM(vote_type = 'up'), 0) AS SIGNED), CAST(COALESCE(SUM(vote_type = 'down'), 0) AS SIGNED) "
    "FROM live_votes WHERE session_id = ?";

Totals read_totals(db::Transaction& tx, std::int64_t session_id, std::size_t games) {
  Totals totals;
  totals.games = games;
  db::Rows votes = tx.query(kCountVotes, session_id);
  votes.next();
  totals.upvotes = votes.integer();
  totals.downvotes = votes.integer();
  db::Rows chat = tx.query(kCountChat, session_id);
  chat.next();
  totals.chat_messages = chat.integer();
  return totals;
}

// ---- text

std::string text_export(const Session& session, const std::vector<PlayedGame>& games, const Totals& totals) {
  const auto number = [](std::int64_t n) { return std::to_string(n); };
  std::string out = "Session " + number(session.id) + "\n";
  out += "Started: " + session.created_at + "\n";
  out += "Closed:  " + session.closed_at.value_or("still active") + "\n";
  if (session.notes && !session.notes->empty()) out += "\nNotes:\n" + *session.notes + "\n";
  out += "\nGames (" + number(static_cast<std::int64_t>(games.size())) + "):\n";
  std::int64_t position = 0;
  for (const PlayedGame& game : games) {
    out += number(++position) + ". " + game.title + " (" + game.pack_name + ")\n";
    out += "   Played: " + game.played_at + ", " + game.status + ", source: " + game.source;
    if (game.manually_added == 1) out += ", added by hand";
    out += "\n";
    if (game.room_code) out += "   Room code: " + *game.room_code + "\n";
    if (game.player_count) out += "   Players: " + number(*game.player_count) + "\n";
    out += "   Votes: +" + number(game.session_upvotes) + " -" + number(game.session_downvotes) + " (all time: +" +
           number(game.upvotes) + " -" + number(game.downvotes) + ")\n";
  }
  out += "\nTotals: " + number(static_cast<std::int64_t>(totals.games)) + " games, +" + number(totals.upvotes) + " -" +
         number(totals.downvotes) + " votes, " + number(totals.chat_messages) + " chat messages\n";
  return out;
}

// ---- JSON

void write_game(JsonWriter& json, const PlayedGame& game) {
  json.begin_object().field("id", game.id).field("game_id", game.game_id).field("title", game.title);
  json.field("pack_name", game.pack_name).field("played_at", game.played_at).field("status", game.status);
  json.field("source", game.source).field("manually_added", game.manually_added).field("room_code", game.room_code);
  json.field("player_count", game.player_count).key("votes").begin_object();
  json.field("upvotes", game.session_upvotes).field("downvotes", game.session_downvotes).end_object();
  json.key("totals").begin_object().field("upvotes", game.upvotes).field("downvotes", game.downvotes);
  json.field("popularity_score", game.upvotes - game.downvotes).end_object().end_object();
}

/// Everything before the lines of the chat log, which is the last member.
std::string json_head(const Session& session, const std::vector<PlayedGame>& games, const Totals& totals) {
  JsonWriter json;
  json.begin_object().raw_field("session", session_json(session)).key("games").begin_array();
  for (const PlayedGame& game : games) write_game(json, game);
  json.end_array().key("totals").begin_object().field("games", totals.games).field("upvotes", totals.upvotes);
  json.field("downvotes", totals.downvotes).field("chat_messages", totals.chat_messages).end_object();
  json.key("chat").begin_array();
  return json.take();
}

// The next page begins after the last line of the one before.
constexpr char kChatPage[] =
    "SELECT id, username, sent_at, message, vote FROM chat_messages WHERE session_id = ? AND "
    "(sent_at > ? OR (sent_at = ? AND id > ?)) ORDER BY sent_at, id LIMIT 1000";

void write_chat(Api& api, std::int64_t session_id, const WriteBody& write) {
  std::string after = "1000-01-01 00:00:00.000";
  std::int64_t after_id = 0;
  for (bool first = true, more = true; more;) {
    JsonWriter page;
    api.database.read([&](db::Transaction& tx) {
      page = {};
      std::int64_t lines = 0;
      db::Rows row = tx.query(kChatPage, session_id, after, after, after_id);
      for (; row.next(); ++lines) {
        after_id = row.integer();
        page.begin_object().field("username", row.text());
        const std::string sent_at = row.text();
        page.field("timestamp", sql_to_iso(sent_at)).field("message", row.text()).field("vote", row.maybe_text());
        page.end_object();
        after = sent_at;
      }
      more = lines == 1000;
      return 0;
    });
    if (page.text().empty()) break;
    if (!first) write(",");
    write(page.text());
    first = false;
  }
}

Response export_session(Api& api, const Request& request) {
  const std::string format = request.query_value("format").value_or("txt");
  if (format != "txt" && format != "json") throw HttpError(400, "format must be txt or json");
  const std::int64_t id = request.id();
  return api.database.snapshot([&](db::Transaction& tx) {
    const Session session = find_session(tx, id);
    const std::vector<PlayedGame> games = read_games(tx, id);
    const Totals totals = read_totals(tx, id, games.size());
    Response response;
    response.headers.emplace_back("Content-Disposition",
                                  "attachment; filename=\"session-" + std::to_string(id) + "." + format + "\"");
    if (format == "txt") {
      response.content_type = "text/plain; charset=utf-8";
      response.body = text_export(session, games, totals);
      return response;
    }
    response.body = json_head(session, games, totals);
    response.stream = [&api, id](const WriteBody& write) {
      write_chat(api, id, write);
      write("]}");
    };
    return response;
  });
}

constexpr Route kRoutes[] = {
    {"GET", "/api/sessions/{id}/export", Access::admin, export_session},
};

}  // namespace

std::span<const Route> session_export_routes() {
  return kRoutes;
}

}  // namespace gamepicker
