#pragma once

#include <map>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "handlers/db.hpp"
#include "handlers/http.hpp"
#include "shared/address_guard.hpp"
#include "shared/config.hpp"
#include "shared/nudge.hpp"
#include "shared/secret_box.hpp"
#include "shared/tokens.hpp"

namespace gamepicker {

/// What the endpoints work with. One for each worker process; built in main().
class Api {
 public:
  /// Reads the admins' names and keys; throws ConfigError when a required key is missing or ADMIN_CONFIG is bad.
  explicit Api(const Config& configuration);

  const Config config;
  const std::map<std::string, std::string> admins;  ///< name -> key
  const SecretBox secrets;
  const AddressPolicy addresses;  ///< where webhooks may be sent to
  const Nudge nudge;
  TokenAuthority tokens;
  db::Database database;
  std::mt19937_64 random;  ///< seeded from the system's entropy; a test may seed it again
};

/// Who may call an endpoint: nobody in particular, or a token of at least this role.
enum class Access { open, viewer, bot, admin };

struct Route {
  const char* method;
  const char* pattern;  ///< "/api/games/{id}"
  Access access;
  Response (*handle)(Api& api, const Request& request);
  std::size_t max_body_bytes = 0;  ///< when more than MAX_BODY_BYTES are allowed
};

/// For uploads of whole files: rest.md, Conventions.
inline constexpr std::size_t kLargeBody = 16 * 1024 * 1024;

// One table of contents a file, at its end.
std::span<const Route> auth_routes();
std::span<const Route> broadcast_routes();
std::span<const Route> chat_import_routes();
std::span<const Route> games_routes();
std::span<const Route> games_csv_routes();
std::span<const Route> health_routes();
std::span<const Route> packs_routes();
std::span<const Route> picker_routes();
std::span<const Route> polls_routes();
std::span<const Route> room_monitors_routes();
std::span<const Route> session_admin_routes();
std::span<const Route> session_export_routes();
std::span<const Route> session_games_routes();
std::span<const Route> sessions_routes();
std::span<const Route> session_votes_routes();
std::span<const Route> stats_routes();
std::span<const Route> votes_routes();
std::span<const Route> webhook_deliveries_routes();
std::span<const Route> webhook_events_routes();
std::span<const Route> webhook_status_routes();
std::span<const Route> webhooks_routes();

/// The favor_bias of a body, -1, 0 or 1, for games and packs alike; throws HttpError 400.
std::int64_t read_favor_bias(const Request& request);

/// The process groups nginx routes to, and the routes each serves. An unknown name throws std::invalid_argument; an
/// empty one serves all.
std::vector<Route> routes_of(std::string_view resource);

}  // namespace gamepicker
