#include "handlers/api.hpp"
#include "shared/json_writer.hpp"

#define GAME_COLUMNS                                                                                  \
  "id, pack_name, title, min_players, max_players, length_minutes, has_audience, family_friendly, "   \
  "game_type, secondary_type, ticker, play_count, upvotes - downvotes, upvotes, downvotes, enabled, " \
  "favor_bias, created_at"

namespace gamepicker {
namespace {

/// Reads one row of GAME_COLUMNS.
void write_game(JsonWriter& json, db::Rows& row) {
  json.begin_object()
      .field("id", row.integer())
      .field("pack_name", row.text())
      .field("title", row.text())
      .field("min_players", row.integer())
      .field("max_players", row.integer())
      .field("length_minutes", row.maybe_integer())
      .field("has_audience", row.integer())
      .field("family_friendly", row.integer())
      .field("game_type", row.maybe_text())
      .field("secondary_type", row.maybe_text())
      .field("ticker", row.maybe_text())
      .field("play_count", row.integer())
      .field("popularity_score", row.integer())
      .field("upvotes", row.integer())
      .field("downvotes", row.integer())
      .field("enabled", row.integer())
      .field("favor_bias", row.integer())
      .field("created_at", row.time())
      .end_object();
}

// A filter that was not given is NULL. One text for all combinations, so that it is prepared once.
constexpr char kListGames[] = "SELECT " GAME_COLUMNS
                              " FROM games "
                              "WHERE (? IS NULL OR enabled = ?) AND (? IS NULL OR family_friendly = ?) "
                              "AND (? IS NULL OR (min_players <= ? AND max_players >= ?)) "
                              "AND (? IS NULL OR (COALESCE(game_type, '') = 'Drawing') = ?) "
                              "AND (? IS NULL OR COALESCE(length_minutes, 0) BETWEEN ? AND ?) "
                              "AND (? IS NULL OR pack_name = ?) ORDER BY pack_name, title";

std::optional<bool> query_flag(const Request& request, std::string_view name) {
  const auto text = request.query_value(name);
  if (!text) return std::nullopt;
  if (*text == "true") return true;
  if (*text == "false") return false;
  throw HttpError(400, std::string(name) + " must be true or false");
}

/// Minutes, both ends included; a game of unknown length counts as short.
struct LengthRange {
  std::optional<std::int64_t> from;
  std::optional<std::int64_t> to;
};

LengthRange query_length(const Request& request) {
  const auto text = request.query_value("length");
  if (!text) return {};
  if (*text == "short") return {0, 15};
  if (*text == "medium") return {16, 25};
  if (*text == "long") return {26, INT32_MAX};
  throw HttpError(400, "length must be short, medium or long");
}

std::optional<bool> query_drawing(const Request& request) {
  const auto text = request.query_value("drawing");
  if (!text) return std::nullopt;
  if (*text == "only") return true;
  if (*text == "exclude") return false;
  throw HttpError(400, "drawing must be only or exclude");
}

Response list_games(Api& api, const Request& request) {
  const auto enabled = query_flag(request, "enabled");
  const auto family = query_flag(request, "familyFriendly");
  const auto players = query_integer(request, "playerCount", 1, INT32_MAX);
  const auto drawing = query_drawing(request);
  const LengthRange length = query_length(request);
  const auto pack = request.query_value("pack");
  return api.database.read([&](db::Transaction& tx) {
    db::Rows rows = tx.query(kListGames, enabled, enabled, family, family, players, players, players, drawing, drawing,
                             length.from, length.from, length.to, pack, pack);
    JsonWriter json;
    json.begin_array();
    while (rows.next()) write_game(json, rows);
    json.end_array();
    return json_response(200, json.take());
  });
}

constexpr char kGetGame[] = "SELECT " GAME_COLUMNS " FROM games WHERE id = ?";

Response get_game(Api& api, const Request& request) {
  return api.database.read([&](db::Transaction& tx) {
    db::Rows row = tx.query(kGetGame, request.id());
    if (!row.next()) throw HttpError(404, "Game not found");
    JsonWriter json;
    write_game(json, row);
    return json_response(200, json.take());
  });
}

/// What a client may write of a game.
struct Game {
  std::string pack_name;
  std::string title;
  std::int64_t min_players = 0;
  std::int64_t max_players = 0;
  std::optional<std::int64_t> length_minutes;
  bool has_audience = false;
  bool family_friendly = false;
  std::optional<std::string> game_type;
  std::optional<std::string> secondary_type;
  std::optional<std::string> ticker;
  bool enabled = true;
  std::int64_t favor_bias = 0;
};

/// Puts the fields of a body over those of `game`; null empties those that may be empty. Throws FieldError.
void overlay(Game& game, const JsonObject& body) {
  constexpr std::int64_t kMaxPlayers = 100'000;
  constexpr std::int64_t kMaxMinutes = 1'440;
  if (auto value = body.text("pack_name", 100)) game.pack_name = std::move(*value);
  if (auto value = body.text("title", 200)) game.title = std::move(*value);
  if (const auto value = body.integer("min_players", 1, kMaxPlayers)) game.min_players = *value;
  if (const auto value = body.integer("max_players", 1, kMaxPlayers)) game.max_players = *value;
  if (body.has("length_minutes")) game.length_minutes = body.integer("length_minutes", 1, kMaxMinutes);
  if (const auto value = body.boolean("has_audience")) game.has_audience = *value;
  if (const auto value = body.boolean("family_friendly")) game.family_friendly = *value;
  if (body.has("game_type")) game.game_type = body.text("game_type", 50);
  if (body.has("secondary_type")) game.secondary_type = body.text("secondary_type", 50);
  if (body.has("ticker")) game.ticker = body.text("ticker", 16);
  if (const auto value = body.boolean("enabled")) game.enabled = *value;
  if (const auto value = body.integer("favor_bias", -1, 1)) game.favor_bias = *value;
  if (game.pack_name.empty()) throw FieldError("pack_name must not be empty");
  if (game.title.empty()) throw FieldError("title must not be empty");
  if (game.max_players < game.min_players) throw FieldError("max_players must be at least min_players");
}

Game read_new_game(const JsonObject& body) {
  std::string missing;
  for (const char* name : {"pack_name", "title", "min_players", "max_players"}) {
    if (!body.has(name) || body.is_null(name)) missing.append(missing.empty() ? "" : ", ").append(name);
  }
  if (!missing.empty()) throw HttpError(400, "Missing required fields: " + missing);
  Game game;
  overlay(game, body);
  return game;
}

/// Runs `work` and tells which unique key refused its row.
template <typename Work>
Response refusing_duplicates(Work&& work) {
  try {
    return work();
  } catch (const db::DuplicateKey& error) {
    const bool ticker = std::string_view(error.what()).find("games_ticker") != std::string_view::npos;
    throw HttpError(409, ticker ? "ticker is already in use" : "Game already exists");
  }
}

constexpr char kCreatePack[] = "INSERT IGNORE INTO packs (name) VALUES (?)";
constexpr char kInsertGame[] =
    "INSERT INTO games (pack_name, title, min_players, max_players, length_minutes, has_audience, family_friendly, "
    "game_type, secondary_type, ticker, enabled, favor_bias) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

std::string game_json(db::Transaction& tx, std::int64_t id) {
  db::Rows row = tx.query(kGetGame, id);
  if (!row.next()) throw HttpError(404, "Game not found");
  JsonWriter json;
  write_game(json, row);
  return json.take();
}

Response create_game(Api& api, const Request& request) {
  const Game game = read_new_game(request.json());
  return refusing_duplicates([&] {
    return api.database.transaction([&](db::Transaction& tx) {
      tx.execute(kCreatePack, game.pack_name);
      tx.execute(kInsertGame, game.pack_name, game.title, game.min_players, game.max_players, game.length_minutes,
                 game.has_audience, game.family_friendly, game.game_type, game.secondary_type, game.ticker,
                 game.enabled, game.favor_bias);
      return json_response(201, game_json(tx, tx.last_insert_id()));
    });
  });
}

constexpr char kLockGame[] =
    "SELECT pack_name, title, min_players, max_players, length_minutes, has_audience, family_friendly, game_type, "
    "secondary_type, ticker, enabled, favor_bias FROM games WHERE id = ? FOR UPDATE";

Game lock_game(db::Transaction& tx, std::int64_t id) {
  db::Rows row = tx.query(kLockGame, id);
  if (!row.next()) throw HttpError(404, "Game not found");
  Game game;
  game.pack_name = row.text();
  game.title = row.text();
  game.min_players = row.integer();
  game.max_players = row.integer();
  game.length_minutes = row.maybe_integer();
  game.has_audience = row.integer() == 1;
  game.family_friendly = row.integer() == 1;
  game.game_type = row.maybe_text();
  game.secondary_type = row.maybe_text();
  game.ticker = row.maybe_text();
  game.enabled = row.integer() == 1;
  game.favor_bias = row.integer();
  return game;
}

constexpr char kUpdateGame[] =
    "UPDATE games SET pack_name = ?, title = ?, min_players = ?, max_players = ?, length_minutes = ?, "
    "has_audience = ?, family_friendly = ?, game_type = ?, secondary_type = ?, ticker = ?, enabled = ?, "
    "favor_bias = ? WHERE id = ?";

/// Changes a game by `change(game)`, under its lock; answers with the row.
template <typename Change>
Response change_game(Api& api, const Request& request, Change&& change) {
  return refusing_duplicates([&] {
    return api.database.transaction([&](db::Transaction& tx) {
      Game game = lock_game(tx, request.id());
      change(game);
      tx.execute(kCreatePack, game.pack_name);
      tx.execute(kUpdateGame, game.pack_name, game.title, game.min_players, game.max_players, game.length_minutes,
                 game.has_audience, game.family_friendly, game.game_type, game.secondary_type, game.ticker,
                 game.enabled, game.favor_bias, request.id());
      return json_response(200, game_json(tx, request.id()));
    });
  });
}

Response update_game(Api& api, const Request& request) {
  const JsonObject body = request.json();
  return change_game(api, request, [&](Game& game) { overlay(game, body); });
}

Response toggle_game(Api& api, const Request& request) {
  return change_game(api, request, [](Game& game) { game.enabled = !game.enabled; });
}

Response favor_game(Api& api, const Request& request) {
  const std::int64_t bias = read_favor_bias(request);
  return change_game(api, request, [&](Game& game) { game.favor_bias = bias; });
}

constexpr char kIsPlayed[] =
    "SELECT 1 FROM session_games WHERE game_id = ? UNION ALL SELECT 1 FROM live_votes WHERE game_id = ? LIMIT 1";
constexpr char kDeleteGame[] = "DELETE FROM games WHERE id = ?";

Response delete_game(Api& api, const Request& request) {
  return api.database.transaction([&](db::Transaction& tx) {
    const std::int64_t id = request.id();
    lock_game(tx, id);  // also holds off a session that is about to play it
    if (tx.query(kIsPlayed, id, id).next()) {
      throw HttpError(409, "Game has been played and cannot be deleted; disable it instead");
    }
    tx.execute(kDeleteGame, id);
    JsonWriter json;
    json.begin_object().field("message", "Game deleted successfully").field("gameId", id).end_object();
    return json_response(200, json.take());
  });
}

constexpr Route kRoutes[] = {
    {"GET", "/api/games", Access::open, list_games},
    {"POST", "/api/games", Access::admin, create_game},
    {"GET", "/api/games/{id}", Access::open, get_game},
    {"PUT", "/api/games/{id}", Access::admin, update_game},
    {"DELETE", "/api/games/{id}", Access::admin, delete_game},
    {"PATCH", "/api/games/{id}/toggle", Access::admin, toggle_game},
    {"PATCH", "/api/games/{id}/favor", Access::admin, favor_game},
};

}  // namespace

std::span<const Route> games_routes() {
  return kRoutes;
}

}  // namespace gamepicker
