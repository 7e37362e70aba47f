#include "handlers/api.hpp"
#include "shared/json_writer.hpp"
#include "shared/log.hpp"
#include "shared/schema.hpp"

namespace gamepicker {
namespace {

Response get_health(Api&, const Request&) {
  return json_response(200, R"({"status":"ok","message":"Jackbox Game Picker API is running"})");
}

Response unavailable(std::string_view reason) {
  JsonWriter json;
  json.begin_object().field("status", "unavailable").field("database", reason).end_object();
  Response response = json_response(503, json.take());
  response.headers.emplace_back("Retry-After", "2");
  return response;
}

Response get_ready(Api& api, const Request&) {
  try {
    const int version = api.database.schema_version();
    if (version != kSchemaVersion) return unavailable("schema version " + std::to_string(version));
    JsonWriter json;
    json.begin_object().field("status", "ready").field("database", "ok").field("schema", version).end_object();
    return json_response(200, json.take());
  } catch (const db::Error& error) {
    api.database.disconnect();
    log_warning(std::string("not ready: ") + error.what());
    return unavailable("unreachable");
  }
}

constexpr Route kRoutes[] = {
    {"GET", "/health", Access::open, get_health},
    {"GET", "/health/ready", Access::open, get_ready},
};

}  // namespace

std::span<const Route> health_routes() {
  return kRoutes;
}

}  // namespace gamepicker
