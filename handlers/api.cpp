#include "handlers/api.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <sstream>
#include <stdexcept>

#include <Poco/Exception.h>
#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>

namespace gamepicker {
namespace {

/// {"admins":[{"name":"alice","key":"..."}]}
std::map<std::string, std::string> read_admins(const std::string& file) {
  std::ifstream in(file);
  if (!in) throw ConfigError("ADMIN_CONFIG: cannot read " + file);
  std::map<std::string, std::string> admins;
  try {
    Poco::JSON::Parser parser;
    const auto root = parser.parse(in).extract<Poco::JSON::Object::Ptr>();
    const auto list = root->getArray("admins");
    if (list.isNull() || list->size() == 0) throw ConfigError("ADMIN_CONFIG: \"admins\" must be a list of admins");
    for (unsigned i = 0; i < list->size(); ++i) {
      const auto admin = list->getObject(i);
      std::string where = "ADMIN_CONFIG: admins[";
      where.append(std::to_string(i)).append("]");
      if (admin.isNull()) throw ConfigError(where + " must be an object");
      const auto name = admin->optValue<std::string>("name", "");
      const auto key = admin->optValue<std::string>("key", "");
      if (name.empty() || key.size() < 12)
        throw ConfigError(where + " needs a name and a key of 12 characters or more");
      if (!admins.emplace(name, key).second) throw ConfigError(where.append(" repeats the name ").append(name));
    }
  } catch (const Poco::Exception&) {
    throw ConfigError("ADMIN_CONFIG: " + file + " is not valid JSON of the documented form");
  }
  return admins;
}

std::map<std::string, std::string> admins_of(const Config& config) {
  config.require_secrets();
  std::map<std::string, std::string> admins;
  if (!config.admin_config.empty()) admins = read_admins(config.admin_config);
  if (!config.admin_key.empty()) admins["admin"] = config.admin_key;
  return admins;
}

/// All of the state from the system's entropy: 312 words of 64 bits.
std::mt19937_64 seeded_engine() {
  std::random_device entropy;
  std::array<std::uint32_t, 2 * std::mt19937_64::state_size> words{};
  std::ranges::generate(words, std::ref(entropy));
  std::seed_seq seed(words.begin(), words.end());
  return std::mt19937_64(seed);
}

struct Group {
  std::string_view name;
  std::vector<std::span<const Route>> tables;
};

std::vector<Group> groups() {
  return {
      {"auth", {auth_routes()}},
      {"games", {games_routes(), games_csv_routes(), packs_routes()}},
      {"sessions",
       {sessions_routes(), session_admin_routes(), session_games_routes(), session_votes_routes(),
        session_export_routes(), polls_routes(), room_monitors_routes(), chat_import_routes()}},
      {"picker", {picker_routes()}},
      {"stats", {health_routes(), stats_routes()}},
      {"votes", {votes_routes()}},
      {"webhooks",
       {webhooks_routes(), webhook_deliveries_routes(), webhook_status_routes(), webhook_events_routes(),
        broadcast_routes()}},
  };
}

}  // namespace

Api::Api(const Config& configuration)
    : config(configuration),
      admins(admins_of(config)),
      secrets(config.secret_key),
      addresses(config),
      nudge(config.relay_nudge),
      tokens(config.jwt_secret),
      database(config, [this] { nudge.send(); }),
      random(seeded_engine()) {}

std::vector<Route> routes_of(std::string_view resource) {
  std::vector<Route> routes;
  bool known = resource.empty();
  for (const Group& group : groups()) {
    if (!resource.empty() && resource != group.name) continue;
    known = true;
    for (const auto table : group.tables) routes.insert(routes.end(), table.begin(), table.end());
  }
  if (!known) throw std::invalid_argument("unknown resource " + std::string(resource));
  return routes;
}

}  // namespace gamepicker
