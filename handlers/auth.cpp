#include "handlers/api.hpp"
#include "shared/json_writer.hpp"
#include "shared/signature.hpp"

namespace gamepicker {
namespace {

constexpr std::chrono::hours kLifetime{24};
constexpr std::size_t kMaxKeyCharacters = 1000;

/// The name of the admin with this key. Every key is compared, and in constant time, so that the time an answer takes
/// says nothing about any of them.
std::optional<std::string> find_admin(const Api& api, std::string_view key) {
  std::optional<std::string> found;
  const std::string presented = hmac_sha256(api.config.jwt_secret, key);
  for (const auto& [name, admin_key] : api.admins) {
    // MACs have one length, keys do not: comparing those would tell a key's length.
    if (constant_time_equal(presented, hmac_sha256(api.config.jwt_secret, admin_key))) found = name;
  }
  return found;
}

Response login(Api& api, const Request& request) {
  const JsonObject body = request.body.empty() ? JsonObject::parse("{}") : request.json();
  auto key = body.text("key", kMaxKeyCharacters);
  if (!key) key = body.text("apiKey", kMaxKeyCharacters);
  if (!key || key->empty()) throw HttpError(400, "Admin key is required");
  const auto admin = find_admin(api, *key);
  if (!admin) throw HttpError(401, "Invalid admin key");
  JsonWriter json;
  json.begin_object()
      .field("token", api.tokens.issue(Role::admin, *admin, kLifetime))
      .field("message", "Authentication successful")
      .field("expiresIn", "24h")
      .end_object();
  return json_response(200, json.take());
}

Response verify(Api&, const Request& request) {
  JsonWriter json;
  json.begin_object().field("valid", true).raw_field("user", request.claims->json).end_object();
  return json_response(200, json.take());
}

constexpr Route kRoutes[] = {
    {"POST", "/api/auth/login", Access::open, login},
    {"POST", "/api/auth/verify", Access::viewer, verify},
};

}  // namespace

std::span<const Route> auth_routes() {
  return kRoutes;
}

}  // namespace gamepicker
