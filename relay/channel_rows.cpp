#include "relay/channel_rows.hpp"

#include <string_view>
#include <utility>

#include "shared/events.hpp"

namespace gamepicker {
namespace {

constexpr std::string_view kReadHeads = "SELECT name, head FROM channels WHERE name IN ";
constexpr std::string_view kReadSessions = "SELECT id FROM sessions WHERE id IN ";

}  // namespace

std::unordered_map<std::int64_t, bool> read_sessions(Database& database, const std::vector<std::string>& channels) {
  SqlValues numbers;
  for (const std::string& channel : channels) {
    if (const auto number = session_of_channel(channel)) numbers.emplace_back(*number);
  }
  std::unordered_map<std::int64_t, bool> found;
  if (numbers.empty()) return found;
  const std::string sql = std::string(kReadSessions) + "(" + placeholders(numbers.size()) + ")";
  for (const SqlRow& row : database.query(sql, std::move(numbers))) found.emplace(row.integer(0), true);
  return found;
}

std::unordered_map<std::string, std::uint64_t> read_heads(Database& database,
                                                          const std::vector<std::string>& channels) {
  const std::string sql = std::string(kReadHeads) + "(" + placeholders(channels.size()) + ")";
  std::unordered_map<std::string, std::uint64_t> heads;
  for (const SqlRow& row : database.query(sql, SqlValues(channels.begin(), channels.end()))) {
    heads.emplace(row.text(0), row.id(1));
  }
  return heads;
}

}  // namespace gamepicker
