// Keeping house: notes, archive, deletion, and the three of them for many sessions at once.

#include <algorithm>
#include <functional>
#include <set>

#include "handlers/sessions.hpp"

namespace gamepicker {
namespace {

constexpr char kSetNotes[] = "UPDATE sessions SET notes = ? WHERE id = ?";

Response put_notes(Api& api, const Request& request) {
  const auto notes = request.json().text("notes", kMaxNotes);
  if (!notes) throw HttpError(400, "notes is required");
  return api.database.transaction([&](db::Transaction& tx) {
    lock_session(tx, request.id());
    tx.execute(kSetNotes, *notes, request.id());
    return json_response(200, session_json(find_session(tx, request.id())));
  });
}

Response delete_notes(Api& api, const Request& request) {
  return api.database.transaction([&](db::Transaction& tx) {
    lock_session(tx, request.id());
    tx.execute(kSetNotes, nullptr, request.id());
    return success();
  });
}

constexpr char kArchiveActive[] = "Cannot archive an active session. Please close it first.";
constexpr char kDeleteActive[] = "Cannot delete an active session. Please close it first.";
constexpr char kSetArchived[] = "UPDATE sessions SET archived = ? WHERE id = ?";

Response archive(Api& api, const Request& request) {
  return api.database.transaction([&](db::Transaction& tx) {
    if (lock_session(tx, request.id())) throw HttpError(400, kArchiveActive);
    tx.execute(kSetArchived, true, request.id());
    return success();
  });
}

Response unarchive(Api& api, const Request& request) {
  return api.database.transaction([&](db::Transaction& tx) {
    lock_session(tx, request.id());
    tx.execute(kSetArchived, false, request.id());
    return success();
  });
}

Response delete_session(Api& api, const Request& request) {
  return api.database.transaction([&](db::Transaction& tx) {
    if (lock_session(tx, request.id())) throw HttpError(400, kDeleteActive);
    delete_session_rows(tx, request.id());
    JsonWriter json;
    json.begin_object().field("message", "Session deleted successfully").field("sessionId", request.id());
    json.end_object();
    return json_response(200, json.take());
  });
}

/// What to do with each of many sessions, and why not with an active one.
struct BulkAction {
  std::string_view name;
  const char* refused_when_active;  ///< null: an active one is fine
  void (*apply)(db::Transaction& tx, std::int64_t id);
};

constexpr BulkAction kActions[] = {
    {"archive", kArchiveActive, [](db::Transaction& tx, std::int64_t id) { tx.execute(kSetArchived, true, id); }},
    {"unarchive", nullptr, [](db::Transaction& tx, std::int64_t id) { tx.execute(kSetArchived, false, id); }},
    {"delete", kDeleteActive, [](db::Transaction& tx, std::int64_t id) { delete_session_rows(tx, id); }},
};

const BulkAction& read_action(const JsonObject& body) {
  const auto name = body.text("action", 20).value_or("");
  const auto* const action = std::ranges::find(kActions, name, &BulkAction::name);
  if (action == std::end(kActions)) throw HttpError(400, "action must be archive, unarchive or delete");
  return *action;
}

/// In rising order, in which they are locked too: two bulk requests wait for each other instead of deadlocking.
std::set<std::int64_t> read_ids(const JsonObject& body) {
  constexpr std::size_t kMaxIds = 1000;
  const auto ids = body.integer_list("ids", 1, INT32_MAX, kMaxIds);
  if (!ids || ids->empty()) throw HttpError(400, "ids must be a non-empty array of session ids");
  return {ids->begin(), ids->end()};
}

/// `"name":[1,2]`
std::string id_list(std::string_view name, const std::vector<std::int64_t>& ids) {
  JsonWriter json;
  json.begin_array();
  for (const std::int64_t id : ids) json.value(id);
  json.end_array();
  return "\"" + std::string(name) + "\":" + json.text();
}

constexpr char kLockForBulk[] = "SELECT is_active FROM sessions WHERE id = ? FOR UPDATE";

Response change_many(Api& api, const Request& request) {
  const JsonObject body = request.json();
  const BulkAction& action = read_action(body);
  const std::set<std::int64_t> ids = read_ids(body);
  return api.database.transaction([&](db::Transaction& tx) {
    std::vector<std::int64_t> missing;
    std::vector<std::int64_t> active;
    for (const std::int64_t id : ids) {
      db::Rows row = tx.query(kLockForBulk, id);
      if (!row.next()) {
        missing.push_back(id);
      } else if (row.integer() == 1) {
        active.push_back(id);
      }
    }
    if (!missing.empty()) throw HttpError(404, "Session not found", id_list("missingIds", missing));
    if (!active.empty() && action.refused_when_active != nullptr) {
      throw HttpError(400, action.refused_when_active, id_list("activeIds", active));
    }
    for (const std::int64_t id : ids) action.apply(tx, id);
    JsonWriter json;
    json.begin_object().field("success", true).field("affected", ids.size()).end_object();
    return json_response(200, json.take());
  });
}

constexpr Route kRoutes[] = {
    {"POST", "/api/sessions/bulk", Access::admin, change_many},
    {"DELETE", "/api/sessions/{id}", Access::admin, delete_session},
    {"PUT", "/api/sessions/{id}/notes", Access::admin, put_notes},
    {"DELETE", "/api/sessions/{id}/notes", Access::admin, delete_notes},
    {"POST", "/api/sessions/{id}/archive", Access::admin, archive},
    {"POST", "/api/sessions/{id}/unarchive", Access::admin, unarchive},
};

}  // namespace

std::span<const Route> session_admin_routes() {
  return kRoutes;
}

}  // namespace gamepicker
