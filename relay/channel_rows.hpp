#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "relay/database.hpp"

/// Where channels stand; at most some hundred of them in one question.
namespace gamepicker {

/// The newest offset of each of them that has had an event.
std::unordered_map<std::string, std::uint64_t> read_heads(Database& database, const std::vector<std::string>& channels);

/// Those of the sessions they belong to that exist.
std::unordered_map<std::int64_t, bool> read_sessions(Database& database, const std::vector<std::string>& channels);

}  // namespace gamepicker
