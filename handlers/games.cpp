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

constexpr Route kRoutes[] = {
    {"GET", "/api/games", Access::open, list_games},
    {"GET", "/api/games/{id}", Access::open, get_game},
};

}  // namespace

std::span<const Route> games_routes() {
  return kRoutes;
}

}  // namespace gamepicker
