// A whole chat log at once: what `thisgame++` and `thisgame--` were said, and when, becomes votes.

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "handlers/sessions.hpp"
#include "shared/clock.hpp"

namespace gamepicker {
namespace {

// Column widths of chat_messages in sql/002_rest_api.sql.
constexpr std::size_t kMaxUsername = 100;
constexpr std::size_t kMaxMessage = 4000;
constexpr std::size_t kMaxMessages = 100'000;

struct ChatMessage {
  std::string username;
  std::string text;
  Timestamp sent_at;
};

ChatMessage read_message(const JsonObject& object) {
  ChatMessage message;
  message.username = object.text("username", kMaxUsername).value_or("");
  message.text = object.text("message", kMaxMessage).value_or("");
  if (message.username.empty()) throw FieldError("username is required");
  if (message.text.empty() && !object.has("message")) throw FieldError("message is required");
  const auto sent_at = parse_iso(object.text("timestamp", 100).value_or(""));
  if (!sent_at) throw FieldError("timestamp is not an ISO 8601 time");
  message.sent_at = *sent_at;
  return message;
}

/// In the order of their times.
std::vector<ChatMessage> read_chat(const Request& request) {
  const JsonObject body = request.json();
  if (!body.is_array("chatData")) throw HttpError(400, "chatData must be an array");
  const auto objects = body.object_list("chatData", kMaxMessages);
  if (!objects) throw HttpError(400, "chatData must have at most 100000 messages");
  std::vector<ChatMessage> chat;
  chat.reserve(objects->size());
  for (const JsonObject& object : *objects) {
    try {
      chat.push_back(read_message(object));
    } catch (const FieldError& error) {
      throw HttpError(400, "chatData[" + std::to_string(chat.size()) + "]." + error.what());
    }
  }
  std::ranges::stable_sort(chat, {}, &ChatMessage::sent_at);
  return chat;
}

/// "up", "down" or nothing. An ASCII comparison: what a chat client shows for the rest does not matter here.
std::optional<std::string_view> vote_in(std::string_view text) {
  const auto says = [&](std::string_view words) {
    const auto same = [](unsigned char a, unsigned char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; };
    return std::search(text.begin(), text.end(), words.begin(), words.end(), same) != text.end();
  };
  if (says("thisgame++")) return "up";
  if (says("thisgame--")) return "down";
  return std::nullopt;
}

/// When each user has voted in this session.
class VoteTimes {
 public:
  void add(const std::string& username, Timestamp time) { times_[username].insert(time); }

  bool has_near(const std::string& username, Timestamp time) const {
    constexpr std::chrono::seconds kNear{1};
    const auto user = times_.find(username);
    if (user == times_.end()) return false;
    const auto next = user->second.lower_bound(time - kNear);
    return next != user->second.end() && *next <= time + kNear;
  }

 private:
  std::unordered_map<std::string, std::set<Timestamp>> times_;
};

constexpr char kListVoteTimes[] =
    "SELECT username, voted_at FROM live_votes WHERE session_id = ? "
    "UNION ALL SELECT username, sent_at FROM chat_messages WHERE session_id = ? AND vote IS NOT NULL";

VoteTimes read_vote_times(db::Transaction& tx, std::int64_t session_id) {
  VoteTimes times;
  for (db::Rows row = tx.query(kListVoteTimes, session_id, session_id); row.next();) {
    const std::string username = row.text();
    times.add(username, parse_iso(row.time()).value());
  }
  return times;
}

/// What makes a line the same line.
std::string line_key(const std::string& username, Timestamp sent_at, std::string_view text) {
  return username + '\0' + std::to_string(sent_at.time_since_epoch().count()) + '\0' + std::string(text);
}

constexpr char kListLines[] =
    "SELECT username, sent_at, message FROM chat_messages WHERE session_id = ? AND sent_at BETWEEN ? AND ?";

/// The lines of this chat that an earlier import brought in.
std::unordered_set<std::string> read_known_lines(db::Transaction& tx, std::int64_t session_id,
                                                 const std::vector<ChatMessage>& chat) {
  std::unordered_set<std::string> lines;
  if (chat.empty()) return lines;
  db::Rows row = tx.query(kListLines, session_id, format_sql(chat.front().sent_at), format_sql(chat.back().sent_at));
  while (row.next()) {
    const std::string username = row.text();
    const Timestamp sent_at = parse_iso(row.time()).value();
    lines.insert(line_key(username, sent_at, row.text()));
  }
  return lines;
}

struct PlayedGame {
  Timestamp played_at;
  std::int64_t game_id = 0;
  std::string title;
};

constexpr char kListPlayed[] =
    "SELECT sg.played_at, g.id, g.title FROM session_games sg JOIN games g ON g.id = sg.game_id "
    "WHERE sg.session_id = ? ORDER BY sg.played_at, sg.id";

std::vector<PlayedGame> read_played_games(db::Transaction& tx, std::int64_t session_id) {
  std::vector<PlayedGame> games;
  for (db::Rows row = tx.query(kListPlayed, session_id); row.next();) {
    const Timestamp played_at = parse_iso(row.time()).value();
    const std::int64_t game_id = row.integer();
    games.push_back({played_at, game_id, row.text()});
  }
  return games;
}

/// The game whose [played_at, next played_at) holds the time: the last that began at or before it.
const PlayedGame* game_at(const std::vector<PlayedGame>& games, Timestamp time) {
  const auto next = std::ranges::upper_bound(games, time, {}, &PlayedGame::played_at);
  return next == games.begin() ? nullptr : &*std::prev(next);
}

struct Tally {
  std::string title;
  std::int64_t upvotes = 0;
  std::int64_t downvotes = 0;
};

/// One import: which lines are new, and what they count for.
struct Import {
  std::vector<std::pair<const ChatMessage*, std::optional<std::string_view>>> lines;  ///< with the vote that counted
  std::map<std::int64_t, Tally> tallies;                                              ///< by game id
  std::int64_t duplicates = 0;
  std::int64_t votes = 0;
  std::int64_t unmatched = 0;

  void add(const ChatMessage& message, const std::vector<PlayedGame>& games, VoteTimes& times) {
    lines.emplace_back(&message, std::nullopt);
    const auto vote = vote_in(message.text);
    if (!vote || times.has_near(message.username, message.sent_at)) return;
    const PlayedGame* const game = game_at(games, message.sent_at);
    if (game == nullptr) {
      ++unmatched;
      return;
    }
    times.add(message.username, message.sent_at);
    lines.back().second = vote;
    Tally& tally = tallies.try_emplace(game->game_id, Tally{game->title, 0, 0}).first->second;
    ++(*vote == "up" ? tally.upvotes : tally.downvotes);
    ++votes;
  }
};

constexpr char kInsertLines[] =
    "INSERT INTO chat_messages (session_id, username, sent_at, message, message_hash, vote) "
    "SELECT ?, r.username, r.sent_at, r.message, UNHEX(SHA2(r.message, 256)), r.vote FROM JSON_TABLE(?, '$[*]' COLUMNS "
    "(username VARCHAR(100) PATH '$[0]', sent_at DATETIME(3) PATH '$[1]', message VARCHAR(4000) PATH '$[2]', "
    "vote VARCHAR(4) PATH '$[3]')) r";

void insert_lines(db::Transaction& tx, std::int64_t session_id, const Import& import) {
  constexpr std::size_t kBatch = 1000;
  for (std::size_t from = 0; from < import.lines.size(); from += kBatch) {
    JsonWriter rows;
    rows.begin_array();
    for (std::size_t i = from; i < std::min(import.lines.size(), from + kBatch); ++i) {
      const auto& [message, vote] = import.lines[i];
      rows.begin_array().value(message->username).value(format_sql(message->sent_at));
      rows.value(message->text).value(vote).end_array();
    }
    rows.end_array();
    tx.execute(kInsertLines, session_id, rows.text());
  }
}

// Live votes look for other votes of those only who are listed here.
constexpr char kAddVoters[] =
    "INSERT INTO voters (session_id, username) SELECT DISTINCT session_id, username FROM chat_messages "
    "WHERE session_id = ? AND vote IS NOT NULL ON DUPLICATE KEY UPDATE votes = voters.votes";

constexpr char kAddTally[] = "UPDATE games SET upvotes = upvotes + ?, downvotes = downvotes + ? WHERE id = ?";

std::string import_response(const Import& import) {
  JsonWriter json;
  json.begin_object().field("message", "Chat log imported and processed successfully");
  json.field("messagesImported", import.lines.size()).field("duplicatesSkipped", import.duplicates);
  json.field("votesProcessed", import.votes).key("votesByGame").begin_object();
  for (const auto& [game_id, tally] : import.tallies) {
    json.key(std::to_string(game_id)).begin_object().field("title", tally.title);
    json.field("upvotes", tally.upvotes).field("downvotes", tally.downvotes).end_object();
  }
  json.end_object().field("unmatchedVotes", import.unmatched).end_object();
  return json.take();
}

Response import_chat(Api& api, const Request& request) {
  const std::vector<ChatMessage> chat = read_chat(request);
  const std::int64_t session_id = request.id();
  return api.database.transaction([&](db::Transaction& tx) {
    lock_session(tx, session_id);  // live votes hold it shared: none comes in between
    const std::vector<PlayedGame> games = read_played_games(tx, session_id);
    VoteTimes times = read_vote_times(tx, session_id);
    std::unordered_set<std::string> known = read_known_lines(tx, session_id, chat);
    Import import;
    for (const ChatMessage& message : chat) {
      if (known.insert(line_key(message.username, message.sent_at, message.text)).second) {
        import.add(message, games, times);
      } else {
        ++import.duplicates;
      }
    }
    insert_lines(tx, session_id, import);
    if (import.votes > 0) tx.execute(kAddVoters, session_id);
    for (const auto& [game_id, tally] : import.tallies) tx.execute(kAddTally, tally.upvotes, tally.downvotes, game_id);
    return json_response(200, import_response(import));
  });
}

constexpr Route kRoutes[] = {
    {"POST", "/api/sessions/{id}/chat-import", Access::admin, import_chat, kLargeBody},
};

}  // namespace

std::span<const Route> chat_import_routes() {
  return kRoutes;
}

}  // namespace gamepicker
