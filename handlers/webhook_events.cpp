#include "handlers/api.hpp"
#include "shared/event_catalogue.hpp"
#include "shared/json_writer.hpp"

namespace gamepicker {
namespace {

Response list_events(Api&, const Request&) {
  JsonWriter json;
  json.begin_array();
  for (const EventType& type : event_catalogue()) {
    json.begin_object().field("name", type.name).field("description", type.description);
    json.raw_field("schema", type.schema).raw_field("example", type.example).end_object();
  }
  json.end_array();
  return json_response(200, json.take());
}

constexpr Route kRoutes[] = {
    {"GET", "/api/webhooks/events", Access::admin, list_events},
};

}  // namespace

std::span<const Route> webhook_events_routes() {
  return kRoutes;
}

}  // namespace gamepicker
