#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "handlers/db.hpp"
#include "shared/json_reader.hpp"

namespace gamepicker {

// Column widths of games in sql/001_initial.sql, and bounds of common sense.
inline constexpr std::size_t kMaxPackName = 100;
inline constexpr std::size_t kMaxTitle = 200;
inline constexpr std::size_t kMaxType = 50;
inline constexpr std::size_t kMaxTicker = 16;
inline constexpr std::int64_t kMaxPlayers = 100'000;
inline constexpr std::int64_t kMaxMinutes = 1'440;

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

/// The columns of read_writable(), of games.
#define WRITABLE_COLUMNS                                                                                   \
  "pack_name, title, min_players, max_players, length_minutes, has_audience, family_friendly, game_type, " \
  "secondary_type, ticker, enabled, favor_bias "

Game read_writable(db::Rows& row);

/// Puts the fields of a body over those of `game`; null empties those that may be empty. Throws FieldError.
void overlay(Game& game, const JsonObject& body);

/// The rules that hold for a whole game; throws FieldError.
void check_game(const Game& game);

/// Whether history knows the game, so that it must stay. The game's row is locked by the caller.
bool is_played(db::Transaction& tx, std::int64_t game_id);

}  // namespace gamepicker
