#include "handlers/api.hpp"
#include "shared/clock.hpp"
#include "shared/events.hpp"
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
  const JsonObject body = request.json();
  auto key = body.text("key", kMaxKeyCharacters);
  if (!key || key->empty()) key = body.text("apiKey", kMaxKeyCharacters);
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

constexpr std::chrono::hours kLongestLifetime{365 * 24};

/// "30d" and the like; throws HttpError 400.
std::chrono::seconds read_lifetime(const std::string& text) {
  const auto lifetime = parse_duration(text);
  const bool has_unit = text.find_first_of("smhd") != std::string::npos && !text.ends_with("ms");
  if (!lifetime || !has_unit || *lifetime < std::chrono::seconds(1) || *lifetime > kLongestLifetime) {
    throw HttpError(400, "expiresIn must be a number with s, m, h or d, at most 365d");
  }
  return std::chrono::floor<std::chrono::seconds>(*lifetime);
}

constexpr std::size_t kMaxChannels = 10;         // a token stays under the 4 KiB that verify() takes
constexpr std::size_t kMaxChannelPattern = 201;  // a channel's name and a *

/// The private and presence channels that the token opens to a viewer; throws HttpError 400.
std::vector<std::string> read_channels(const JsonObject& body) {
  const auto channels = body.text_list("channels", kMaxChannelPattern).value_or(std::vector<std::string>());
  if (channels.size() > kMaxChannels) throw HttpError(400, "channels must have at most 10 entries");
  for (std::string_view pattern : channels) {
    const bool guarded = pattern.starts_with("private-") || pattern.starts_with("presence-");
    if (pattern.ends_with('*')) pattern.remove_suffix(1);
    if (!guarded || !is_channel_name(pattern)) {
      throw HttpError(400, "channels must be names of private or presence channels; a name may end in *");
    }
  }
  return channels;
}

Response create_token(Api& api, const Request& request) {
  const JsonObject body = request.json();
  const std::string role = body.text("role", 20).value_or("");
  if (role != "viewer" && role != "bot") throw HttpError(400, "role must be viewer or bot");
  const std::string name = body.text("name", 100).value_or("");
  if (name.empty()) throw HttpError(400, "name is required");
  const std::string expires_in = body.text("expiresIn", 20).value_or("");
  const auto lifetime = read_lifetime(expires_in);
  const auto channels = read_channels(body);
  JsonWriter json;
  json.begin_object()
      .field("token", api.tokens.issue(role == "bot" ? Role::bot : Role::viewer, name, lifetime, channels))
      .field("role", role)
      .field("name", name)
      .field("expiresIn", expires_in)
      .end_object();
  return json_response(201, json.take());
}

constexpr Route kRoutes[] = {
    {"POST", "/api/auth/login", Access::open, login},
    {"POST", "/api/auth/verify", Access::viewer, verify},
    {"POST", "/api/auth/tokens", Access::admin, create_token},
};

}  // namespace

std::span<const Route> auth_routes() {
  return kRoutes;
}

}  // namespace gamepicker
