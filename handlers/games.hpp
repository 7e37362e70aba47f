#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "handlers/db.hpp"
#include "shared/json_writer.hpp"

/// What the files about games share.
namespace gamepicker {

/// The columns of write_game(), of `games g`.
#define GAME_COLUMNS                                                                                   \
  "g.id, g.pack_name, g.title, g.min_players, g.max_players, g.length_minutes, g.has_audience, "       \
  "g.family_friendly, g.game_type, g.secondary_type, g.ticker, g.play_count, g.upvotes, g.downvotes, " \
  "g.enabled, g.favor_bias, CAST(g.created_at AS CHAR) "

void write_game(JsonWriter& json, db::Rows& row);

/// The row as JSON; nothing when there is no such game.
std::optional<std::string> game_json(db::Transaction& tx, std::int64_t id);

/// What a list or a pick asks for; what was not given is empty.
struct GameFilter {
  std::optional<bool> enabled;
  std::optional<bool> family_friendly;
  std::optional<std::int64_t> player_count;
  std::optional<bool> drawing;  ///< only these, or all others
  std::optional<std::int64_t> min_minutes;
  std::optional<std::int64_t> max_minutes;
  std::optional<std::string> pack;

  bool operator==(const GameFilter&) const = default;
  bool empty() const { return *this == GameFilter(); }
  /// "only" or "exclude"; throws HttpError 400.
  void set_drawing(std::string_view text);
  /// "short", "medium" or "long"; a game of unknown length counts as short. Throws HttpError 400.
  void set_length(std::string_view text);
};

/// Of `games g`, for query_games(). A filter that was not given is NULL: one text for all combinations, so that it is
/// prepared once.
#define GAME_FILTER                                                              \
  "WHERE (? IS NULL OR g.enabled = ?) AND (? IS NULL OR g.family_friendly = ?) " \
  "AND (? IS NULL OR (g.min_players <= ? AND g.max_players >= ?)) "              \
  "AND (? IS NULL OR (COALESCE(g.game_type, '') = 'Drawing') = ?) "              \
  "AND (? IS NULL OR COALESCE(g.length_minutes, 0) BETWEEN ? AND ?) AND (? IS NULL OR g.pack_name = ?) "

/// Runs a text with GAME_FILTER in it, and no other parameter.
inline db::Rows query_games(db::Transaction& tx, std::string_view sql, const GameFilter& filter) {
  return tx.query(sql, filter.enabled, filter.enabled, filter.family_friendly, filter.family_friendly,
                  filter.player_count, filter.player_count, filter.player_count, filter.drawing, filter.drawing,
                  filter.min_minutes, filter.min_minutes, filter.max_minutes, filter.pack, filter.pack);
}

}  // namespace gamepicker
