#include "handlers/game_fields.hpp"

namespace gamepicker {
namespace {

/// An empty text is none, as in the CSV.
std::optional<std::string> not_empty(std::optional<std::string> text) {
  if (text && text->empty()) text.reset();
  return text;
}

}  // namespace

Game read_writable(db::Rows& row) {
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

void overlay(Game& game, const JsonObject& body) {
  if (auto value = body.text("pack_name", kMaxPackName)) game.pack_name = std::move(*value);
  if (auto value = body.text("title", kMaxTitle)) game.title = std::move(*value);
  if (const auto value = body.integer("min_players", 1, kMaxPlayers)) game.min_players = *value;
  if (const auto value = body.integer("max_players", 1, kMaxPlayers)) game.max_players = *value;
  if (body.has("length_minutes")) game.length_minutes = body.integer("length_minutes", 1, kMaxMinutes);
  if (const auto value = body.boolean("has_audience")) game.has_audience = *value;
  if (const auto value = body.boolean("family_friendly")) game.family_friendly = *value;
  if (body.has("game_type")) game.game_type = not_empty(body.text("game_type", kMaxType));
  if (body.has("secondary_type")) game.secondary_type = not_empty(body.text("secondary_type", kMaxType));
  if (body.has("ticker")) game.ticker = not_empty(body.text("ticker", kMaxTicker));
  if (const auto value = body.boolean("enabled")) game.enabled = *value;
  if (const auto value = body.integer("favor_bias", -1, 1)) game.favor_bias = *value;
  check_game(game);
}

void check_game(const Game& game) {
  if (game.pack_name.empty()) throw FieldError("pack_name must not be empty");
  if (game.title.empty()) throw FieldError("title must not be empty");
  if (game.max_players < game.min_players) throw FieldError("max_players must be at least min_players");
}

// Deleting a session keeps the totals of its games, and the games with them.
constexpr char kIsPlayed[] =
    "SELECT 1 FROM games WHERE id = ? AND (play_count > 0 OR upvotes > 0 OR downvotes > 0) "
    "UNION ALL SELECT 1 FROM session_games WHERE game_id = ? UNION ALL SELECT 1 FROM live_votes WHERE game_id = ? "
    "LIMIT 1";

bool is_played(db::Transaction& tx, std::int64_t game_id) {
  return tx.query(kIsPlayed, game_id, game_id, game_id).next();
}

}  // namespace gamepicker
