#include "handlers/sessions.hpp"

#include "handlers/outbox.hpp"

namespace gamepicker {
namespace {

constexpr std::size_t kPreviewCharacters = 150;

/// Lines up to the first empty one; empty ones in front do not count.
std::string_view first_paragraph(std::string_view text) {
  const auto is_blank = [](std::string_view line) { return line.find_first_not_of(" \t\r") == std::string_view::npos; };
  std::size_t begin = std::string_view::npos;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const bool blank = is_blank(text.substr(at, end - at));
    if (!blank && begin == std::string_view::npos) begin = at;
    if (blank && begin != std::string_view::npos) return text.substr(begin, at - 1 - begin);
    at = end + 1;
  }
  return begin == std::string_view::npos ? std::string_view() : text.substr(begin);
}

/// The first paragraph of the notes, cut at a character, not inside one.
std::optional<std::string> notes_preview(const std::optional<std::string>& notes) {
  if (!notes || notes->empty()) return std::nullopt;
  std::string_view text = first_paragraph(*notes);
  if (text.ends_with('\r')) text.remove_suffix(1);
  std::size_t end = 0;
  for (std::size_t characters = 0; end < text.size(); ++end) {
    const bool starts_character = (static_cast<unsigned char>(text[end]) & 0xC0) != 0x80;
    if (starts_character && ++characters > kPreviewCharacters) break;
  }
  return std::string(text.substr(0, end));
}

/// What a list request asks for. Rows outside `archived_only`'s choice are left out: nothing means all.
struct Page {
  std::optional<bool> archived;
  std::int64_t limit = INT64_MAX;
  std::int64_t offset = 0;
};

Page read_page(const Request& request) {
  Page page;
  const auto filter = request.query_value("filter");
  const auto limit = request.query_value("limit");
  // Clients from before archiving existed send neither and expect every session.
  if (filter.value_or("default") == "default") {
    if (filter || limit) page.archived = false;
  } else if (*filter == "archived") {
    page.archived = true;
  } else if (*filter != "all") {
    throw HttpError(400, "filter must be default, archived or all");
  }
  if (limit && *limit != "all") page.limit = *query_integer(request, "limit", 1, INT32_MAX);
  page.offset = query_integer(request, "offset", 0, INT32_MAX).value_or(0);
  return page;
}

constexpr char kListSessions[] = "SELECT " SESSION_COLUMNS
                                 " FROM sessions s WHERE ? IS NULL OR s.archived = ? "
                                 "ORDER BY s.created_at DESC, s.id DESC LIMIT ? OFFSET ?";
constexpr char kCountSessions[] =
    "SELECT COUNT(*), CAST(COALESCE(SUM(? IS NULL OR archived = ?), 0) AS SIGNED) FROM sessions";
constexpr char kDateBeforePage[] =
    "SELECT created_at FROM sessions WHERE ? IS NULL OR archived = ? "
    "ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET ?";

Response list_sessions(Api& api, const Request& request) {
  const Page page = read_page(request);
  return api.database.snapshot([&](db::Transaction& tx) {
    Response response;
    db::Rows counts = tx.query(kCountSessions, page.archived, page.archived);
    counts.next();
    const std::string total = std::to_string(counts.integer());
    response.headers.emplace_back("X-Total-Count", std::to_string(counts.integer()));
    response.headers.emplace_back("X-Absolute-Total", total);
    if (page.offset > 0) {
      db::Rows before = tx.query(kDateBeforePage, page.archived, page.archived, page.offset - 1);
      if (before.next()) response.headers.emplace_back("X-Prev-Last-Date", before.time());
    }
    db::Rows rows = tx.query(kListSessions, page.archived, page.archived, page.limit, page.offset);
    JsonWriter json;
    json.begin_array();
    while (rows.next()) {
      const Session session = read_session(rows);
      json.begin_object();
      write_members(json, session);
      json.field("has_notes", session.notes && !session.notes->empty());
      json.field("notes_preview", notes_preview(session.notes)).end_object();
    }
    json.end_array();
    response.body = json.take();
    return response;
  });
}

constexpr char kGetActive[] = "SELECT " SESSION_COLUMNS " FROM sessions s WHERE s.active_marker = 1";

Response get_active(Api& api, const Request&) {
  return api.database.read([&](db::Transaction& tx) {
    db::Rows row = tx.query(kGetActive);
    return json_response(200, row.next() ? session_json(read_session(row)) : "null");
  });
}

Response get_session(Api& api, const Request& request) {
  return api.database.read(
      [&](db::Transaction& tx) { return json_response(200, session_json(find_session(tx, request.id()))); });
}

/// The notes of a body that may be empty.
std::optional<std::string> read_notes(const Request& request) {
  return request.json().text("notes", kMaxNotes);
}

Event session_started(const Session& session) {
  JsonWriter json;
  json.begin_object().key("session").begin_object();
  json.field("id", session.id).field("is_active", 1).field("created_at", session.created_at);
  json.field("notes", session.notes).end_object().end_object();
  return {std::string(kSessionsChannel), "session.started", json.take()};
}

Event session_ended(const Session& session) {
  JsonWriter json;
  json.begin_object().key("session").begin_object();
  json.field("id", session.id).field("is_active", 0).field("games_played", session.games_played);
  json.end_object().end_object();
  return {session_channel(session.id), "session.ended", json.take()};
}

constexpr char kInsertSession[] = "INSERT INTO sessions (notes) VALUES (?)";

Response create_session(Api& api, const Request& request) {
  const auto notes = read_notes(request);
  try {
    return api.database.transaction([&](db::Transaction& tx) {
      tx.execute(kInsertSession, notes);  // the unique key on active_marker refuses a second active one
      const Session session = find_session(tx, tx.last_insert_id());
      outbox::enqueue(tx, session_started(session));
      return json_response(201, session_json(session));
    });
  } catch (const db::DuplicateKey&) {
    const auto active = api.database.read([](db::Transaction& tx) -> std::optional<std::int64_t> {
      db::Rows row = tx.query(kGetActive);
      return row.next() ? std::optional(row.integer()) : std::nullopt;
    });
    JsonWriter id;
    id.value(active);  // null when it was closed in between
    throw HttpError(400, "An active session already exists. Please close it before creating a new one.",
                    R"("activeSessionId":)" + id.text());
  }
}

constexpr char kCloseSession[] =
    "UPDATE sessions SET is_active = 0, closed_at = UTC_TIMESTAMP(3), notes = COALESCE(?, notes), "
    "pending_game_id = NULL, pending_game_source = NULL WHERE id = ?";
constexpr char kFinishGames[] =
    "UPDATE session_games SET status = 'played' WHERE session_id = ? AND status = 'playing'";

Response close_session(Api& api, const Request& request) {
  const auto notes = read_notes(request);
  return api.database.transaction([&](db::Transaction& tx) {
    if (!lock_session(tx, request.id())) throw HttpError(400, "Session is already closed");
    tx.execute(kFinishGames, request.id());
    const auto voting_ended = end_poll(tx, request.id());
    tx.execute(kCloseSession, notes, request.id());
    const Session session = find_session(tx, request.id());
    if (voting_ended) outbox::enqueue(tx, *voting_ended);
    outbox::enqueue(tx, session_ended(session));
    return json_response(200, session_json(session));
  });
}

constexpr Route kRoutes[] = {
    {"GET", "/api/sessions", Access::open, list_sessions},
    {"POST", "/api/sessions", Access::admin, create_session},
    {"GET", "/api/sessions/active", Access::open, get_active},
    {"GET", "/api/sessions/{id}", Access::open, get_session},
    {"POST", "/api/sessions/{id}/close", Access::admin, close_session},
};

}  // namespace

std::span<const Route> sessions_routes() {
  return kRoutes;
}

}  // namespace gamepicker
