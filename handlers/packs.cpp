#include "handlers/api.hpp"
#include "shared/json_writer.hpp"

namespace gamepicker {
namespace {

constexpr char kListPacks[] = "SELECT id, name, favor_bias, created_at FROM packs ORDER BY name";

Response list_packs(Api& api, const Request&) {
  return api.database.read([](db::Transaction& tx) {
    JsonWriter json;
    json.begin_array();
    for (db::Rows row = tx.query(kListPacks); row.next();) {
      json.begin_object().field("id", row.integer()).field("name", row.text());
      json.field("favor_bias", row.integer()).field("created_at", row.time()).end_object();
    }
    json.end_array();
    return json_response(200, json.take());
  });
}

constexpr char kPackTotals[] =
    "SELECT pack_name, COUNT(*), CAST(SUM(enabled) AS SIGNED), CAST(SUM(play_count) AS SIGNED) FROM games "
    "GROUP BY pack_name ORDER BY pack_name";

Response list_pack_totals(Api& api, const Request&) {
  return api.database.read([](db::Transaction& tx) {
    JsonWriter json;
    json.begin_array();
    for (db::Rows row = tx.query(kPackTotals); row.next();) {
      json.begin_object().field("name", row.text()).field("total_count", row.integer());
      json.field("enabled_count", row.integer()).field("total_plays", row.integer()).end_object();
    }
    json.end_array();
    return json_response(200, json.take());
  });
}

constexpr char kLockPack[] = "SELECT id FROM packs WHERE name = ? FOR UPDATE";

void lock_pack(db::Transaction& tx, const std::string& name) {
  if (!tx.query(kLockPack, name).next()) throw HttpError(404, "Pack not found");
}

constexpr char kFavorPack[] = "UPDATE packs SET favor_bias = ? WHERE name = ?";

Response favor_pack(Api& api, const Request& request) {
  const std::int64_t bias = read_favor_bias(request);
  return api.database.transaction([&](db::Transaction& tx) {
    lock_pack(tx, request.params[0]);
    tx.execute(kFavorPack, bias, request.params[0]);
    JsonWriter json;
    json.begin_object().field("message", "Pack favor bias updated successfully");
    json.field("favor_bias", bias).end_object();
    return json_response(200, json.take());
  });
}

constexpr char kCountPackGames[] = "SELECT COUNT(*) FROM games WHERE pack_name = ?";
constexpr char kTogglePack[] = "UPDATE games SET enabled = ? WHERE pack_name = ?";

Response toggle_pack(Api& api, const Request& request) {
  const auto enabled = request.json().boolean("enabled");
  if (!enabled) throw HttpError(400, "enabled status is required");
  return api.database.transaction([&](db::Transaction& tx) {
    lock_pack(tx, request.params[0]);
    tx.execute(kTogglePack, *enabled, request.params[0]);
    db::Rows count = tx.query(kCountPackGames, request.params[0]);
    count.next();
    JsonWriter json;
    json.begin_object().field("message", *enabled ? "Pack enabled successfully" : "Pack disabled successfully");
    json.field("gamesAffected", count.integer()).end_object();
    return json_response(200, json.take());
  });
}

constexpr Route kRoutes[] = {
    {"GET", "/api/games/packs", Access::open, list_packs},
    {"GET", "/api/games/meta/packs", Access::open, list_pack_totals},
    {"PATCH", "/api/games/packs/{name}/favor", Access::admin, favor_pack},
    {"PATCH", "/api/games/packs/{name}/toggle", Access::admin, toggle_pack},
};

}  // namespace

std::int64_t read_favor_bias(const Request& request) {
  try {
    const auto bias = request.json().integer("favor_bias", -1, 1);
    if (bias) return *bias;
  } catch (const FieldError&) {
    // The contract has one sentence for every bad value.
  }
  throw HttpError(400, "favor_bias must be 1 (favor), -1 (disfavor), or 0 (neutral)");
}

std::span<const Route> packs_routes() {
  return kRoutes;
}

}  // namespace gamepicker
