#include "handlers/picker.hpp"

#include <algorithm>

#include "handlers/api.hpp"
#include "handlers/games.hpp"

namespace gamepicker {

double weight(const Candidate& candidate) {
  constexpr double kGameWeights[] = {0.2, 1, 3};
  constexpr double kPackWeights[] = {0.3, 1, 2};
  return kGameWeights[candidate.game_bias + 1] * kPackWeights[candidate.pack_bias + 1];
}

std::size_t pick_weighted(const std::vector<Candidate>& candidates, std::mt19937_64& random) {
  std::vector<double> weights;
  weights.reserve(candidates.size());
  for (const Candidate& candidate : candidates) weights.push_back(weight(candidate));
  return std::discrete_distribution<std::size_t>(weights.begin(), weights.end())(random);
}

namespace {

struct PickRequest {
  GameFilter filter;
  std::optional<std::int64_t> session_id;
  bool exclude_played = false;
};

PickRequest read_pick(const Request& request) {
  const JsonObject body = request.json();
  PickRequest pick;
  pick.filter.enabled = true;
  pick.filter.player_count = body.integer("playerCount", 1, INT32_MAX);
  if (const auto drawing = body.text("drawing", 20)) pick.filter.set_drawing(*drawing);
  if (const auto length = body.text("length", 20)) pick.filter.set_length(*length);
  pick.filter.family_friendly = body.boolean("familyFriendly");
  pick.session_id = body.integer("sessionId", INT64_MIN, INT64_MAX);
  pick.exclude_played = body.boolean("excludePlayed").value_or(false);
  return pick;
}

constexpr char kSessionExists[] = "SELECT 1 FROM sessions WHERE id = ?";
constexpr char kListPlayed[] =
    "SELECT game_id FROM session_games WHERE session_id = ? ORDER BY played_at DESC, id DESC LIMIT ?";

/// The games this session is not to be offered again: its last two, or all.
std::vector<std::int64_t> recently_played(db::Transaction& tx, const PickRequest& pick) {
  constexpr std::int64_t kRecent = 2;
  std::vector<std::int64_t> ids;
  if (!pick.session_id) return ids;
  if (!tx.query(kSessionExists, *pick.session_id).next()) throw HttpError(404, "Session not found");
  db::Rows row = tx.query(kListPlayed, *pick.session_id, pick.exclude_played ? INT32_MAX : kRecent);
  while (row.next()) {
    const std::int64_t id = row.integer();
    if (std::ranges::find(ids, id) == ids.end()) ids.push_back(id);
  }
  return ids;
}

constexpr char kListCandidates[] =
    "SELECT g.id, g.favor_bias, p.favor_bias FROM games g JOIN packs p ON p.name = g.pack_name " GAME_FILTER;

std::vector<Candidate> list_candidates(db::Transaction& tx, const GameFilter& filter) {
  std::vector<Candidate> candidates;
  db::Rows row = query_games(tx, kListCandidates, filter);
  while (row.next()) {
    Candidate& candidate = candidates.emplace_back();
    candidate.game_id = row.integer();
    candidate.game_bias = row.integer();
    candidate.pack_bias = row.integer();
  }
  return candidates;
}

[[noreturn]] void throw_all_played(const std::vector<std::int64_t>& played) {
  JsonWriter ids;
  ids.begin_array();
  for (const std::int64_t id : played) ids.value(id);
  ids.end_array();
  throw HttpError(404, "All eligible games have been played in this session",
                  R"("suggestion":"Enable more games or adjust your filters","recentlyPlayed":)" + ids.text());
}

/// What may be picked now. Throws HttpError 404 when there is nothing.
std::vector<Candidate> read_pool(db::Transaction& tx, const PickRequest& pick) {
  const std::vector<std::int64_t> played = recently_played(tx, pick);
  std::vector<Candidate> pool = list_candidates(tx, pick.filter);
  if (pool.empty()) {
    throw HttpError(404, "No games match the current filters",
                    R"("suggestion":"Try adjusting your filters or enabling more games")");
  }
  std::erase_if(pool, [&](const Candidate& one) { return std::ranges::find(played, one.game_id) != played.end(); });
  if (pool.empty()) throw_all_played(played);
  return pool;
}

constexpr char kCountEnabled[] = "SELECT COUNT(*) FROM games WHERE enabled = 1";

Response pick_game(Api& api, const Request& request) {
  const PickRequest pick = read_pick(request);
  return api.database.read([&](db::Transaction& tx) {
    for (;;) {
      const std::vector<Candidate> pool = read_pool(tx, pick);
      const auto game = game_json(tx, pool[pick_weighted(pool, api.random)].game_id);
      if (!game) continue;  // deleted since: look again
      db::Rows enabled = tx.query(kCountEnabled);
      enabled.next();
      JsonWriter json;
      json.begin_object().raw_field("game", *game).field("poolSize", pool.size());
      json.field("totalEnabled", enabled.integer()).end_object();
      return json_response(200, json.take());
    }
  });
}

constexpr Route kRoutes[] = {
    {"POST", "/api/pick", Access::open, pick_game},
};

}  // namespace

std::span<const Route> picker_routes() {
  return kRoutes;
}

}  // namespace gamepicker
