#include <algorithm>

#include "handlers/api.hpp"
#include "handlers/outbox.hpp"
#include "shared/json_writer.hpp"

namespace gamepicker {
namespace {

constexpr std::size_t kMaxChannel = 200;       // channels.name
constexpr std::size_t kMaxEvent = 100;         // events.type
constexpr std::size_t kMaxSocketId = 64;       // events.except_socket_id
constexpr std::size_t kMaxDataBytes = 65'536;  // rest.md, Broadcast
constexpr std::size_t kMaxBatch = 50;

struct Broadcast {
  Event event;
  std::optional<std::string> except_socket_id;
};

/// Throws HttpError or FieldError.
Broadcast read_broadcast(const JsonObject& body) {
  Broadcast broadcast;
  broadcast.event.channel = body.text("channel", kMaxChannel).value_or("");
  if (broadcast.event.channel.empty()) throw HttpError(400, "channel is required");
  if (!is_channel_name(broadcast.event.channel)) throw HttpError(400, "Invalid channel name");
  if (is_built_in_channel(broadcast.event.channel)) throw HttpError(400, "channel is a built-in channel");
  broadcast.event.type = body.text("event", kMaxEvent).value_or("");
  if (broadcast.event.type.empty()) throw HttpError(400, "event is required");
  auto data = body.json("data");
  if (!data) throw HttpError(400, "data is required");
  if (data->size() > kMaxDataBytes) throw HttpError(400, "data must be at most 65536 bytes");
  broadcast.event.data = std::move(*data);
  broadcast.except_socket_id = body.text("exceptSocketId", kMaxSocketId);
  return broadcast;
}

std::string webhook_data(const Event& event) {
  JsonWriter json;
  json.begin_object().field("channel", event.channel).field("event", event.type);
  json.raw_field("data", event.data).end_object();
  return json.take();
}

/// Writes all of them, channel by channel in name order, and returns their ids in the order given.
std::vector<std::int64_t> enqueue_all(db::Transaction& tx, const std::vector<Broadcast>& broadcasts) {
  std::vector<std::size_t> order(broadcasts.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return broadcasts[i].event.channel; });
  std::vector<std::int64_t> ids(broadcasts.size());
  for (const std::size_t i : order) {
    ids[i] = outbox::enqueue_push(tx, broadcasts[i].event, broadcasts[i].except_socket_id);
  }
  for (const Broadcast& one : broadcasts) {
    outbox::enqueue_for_webhooks(tx, one.event.channel, "broadcast", webhook_data(one.event));
  }
  return ids;
}

Response broadcast_one(Api& api, const Request& request) {
  const std::vector<Broadcast> broadcasts = {read_broadcast(request.json())};
  return api.database.transaction([&](db::Transaction& tx) {
    JsonWriter json;
    json.begin_object().field("success", true).field("id", enqueue_all(tx, broadcasts).front()).end_object();
    return json_response(202, json.take());
  });
}

std::vector<Broadcast> read_batch(const Request& request) {
  const auto events = request.json().object_list("events", kMaxBatch);
  if (!events || events->empty()) throw HttpError(400, "events must be an array of 1 to 50 events");
  std::vector<Broadcast> broadcasts;
  for (const JsonObject& event : *events) {
    try {
      broadcasts.push_back(read_broadcast(event));
    } catch (const std::runtime_error& error) {  // an HttpError or a FieldError: both are sentences for the client
      throw HttpError(400, "events[" + std::to_string(broadcasts.size()) + "]: " + error.what());
    }
  }
  return broadcasts;
}

Response broadcast_batch(Api& api, const Request& request) {
  const std::vector<Broadcast> broadcasts = read_batch(request);
  return api.database.transaction([&](db::Transaction& tx) {
    JsonWriter json;
    json.begin_object().field("success", true).key("ids").begin_array();
    for (const std::int64_t id : enqueue_all(tx, broadcasts)) json.value(id);
    json.end_array().end_object();
    return json_response(202, json.take());
  });
}

constexpr Route kRoutes[] = {
    {"POST", "/api/broadcast", Access::admin, broadcast_one},
    {"POST", "/api/broadcast/batch", Access::admin, broadcast_batch},
};

}  // namespace

std::span<const Route> broadcast_routes() {
  return kRoutes;
}

}  // namespace gamepicker
