#include "handlers/api.hpp"
#include "shared/json_writer.hpp"

namespace gamepicker {
namespace {

constexpr char kCounts[] =
    "SELECT (SELECT COUNT(*) FROM games), (SELECT COUNT(*) FROM games WHERE enabled = 1), "
    "(SELECT COUNT(*) FROM packs), (SELECT COUNT(*) FROM sessions), "
    "(SELECT COUNT(*) FROM sessions WHERE is_active = 1), (SELECT COUNT(*) FROM session_games)";
constexpr char kMostPlayed[] =
    "SELECT id, title, pack_name, play_count, upvotes - downvotes, upvotes, downvotes FROM games "
    "WHERE play_count > 0 ORDER BY play_count DESC, title, id LIMIT 10";
constexpr char kTopRated[] =
    "SELECT id, title, pack_name, play_count, upvotes - downvotes, upvotes, downvotes FROM games "
    "WHERE upvotes > downvotes ORDER BY upvotes - downvotes DESC, title, id LIMIT 10";

void write_games(JsonWriter& json, std::string_view name, db::Rows row) {
  json.key(name).begin_array();
  while (row.next()) {
    json.begin_object().field("id", row.integer()).field("title", row.text()).field("pack_name", row.text());
    json.field("play_count", row.integer()).field("popularity_score", row.integer());
    json.field("upvotes", row.integer()).field("downvotes", row.integer()).end_object();
  }
  json.end_array();
}

Response get_stats(Api& api, const Request&) {
  return api.database.snapshot([](db::Transaction& tx) {
    db::Rows counts = tx.query(kCounts);
    counts.next();
    JsonWriter json;
    json.begin_object();
    for (const char* name : {"games", "gamesEnabled", "packs", "sessions", "activeSessions", "totalGamesPlayed"}) {
      json.key(name).begin_object().field("count", counts.integer()).end_object();
    }
    write_games(json, "mostPlayedGames", tx.query(kMostPlayed));
    write_games(json, "topRatedGames", tx.query(kTopRated));
    json.end_object();
    return json_response(200, json.take());
  });
}

constexpr Route kRoutes[] = {
    {"GET", "/api/stats", Access::open, get_stats},
};

}  // namespace

std::span<const Route> stats_routes() {
  return kRoutes;
}

}  // namespace gamepicker
