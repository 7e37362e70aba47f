#pragma once

#include <cstdint>
#include <string>
#include <string_view>

/// What writers and followers of the chaos test have in common: the channels, and how an event is recognised.
namespace chaos {

inline constexpr std::size_t kChannels = 20;

/// In name order: chaos-01 and so on.
inline std::string channel_name(std::size_t index) {
  const std::string number = std::to_string(index + 1);
  return "chaos-" + std::string(2 - number.size(), '0') + number;
}

/// The members of an event's "data", which holds no object within; the same in the log and on the wire.
inline std::string_view data_of(std::string_view event) {
  constexpr std::string_view kKey = R"("data":{)";
  const std::size_t found = event.find(kKey);
  if (found == std::string_view::npos) return {};
  event.remove_prefix(found + kKey.size());
  return event.substr(0, event.find('}'));
}

/// FNV-1a.
inline std::uint32_t hash_of(std::string_view text) {
  std::uint32_t hash = 2166136261u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

}  // namespace chaos
