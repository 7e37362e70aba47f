#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bench {

/// A server's frame, not fragmented, where it lies.
struct ServerFrame {
  int opcode = 0;
  std::string_view payload;
};

/// Takes a whole frame off the front of `bytes`; nothing while its end is missing.
inline std::optional<ServerFrame> take_frame(std::string_view& bytes) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  if (bytes.size() < 2) return std::nullopt;
  std::size_t size = byte(1) & 0x7Fu;
  std::size_t header = 2;
  if (size >= 126) {
    header = size == 126 ? 4 : 10;
    if (bytes.size() < header) return std::nullopt;
    size = 0;
    for (std::size_t i = 2; i < header; ++i) size = size << 8 | byte(i);
  }
  if (bytes.size() - header < size) return std::nullopt;
  const ServerFrame frame{byte(0) & 0x0F, bytes.substr(header, size)};
  bytes.remove_prefix(header + size);
  return frame;
}

/// A client's frame: masked with zeros, so that the payload stays as it is.
inline std::string client_frame(int opcode, std::string_view payload) {
  std::string frame(1, static_cast<char>(0x80 | opcode));
  if (payload.size() < 126) {
    frame += static_cast<char>(0x80 | payload.size());
  } else {
    frame += static_cast<char>(0x80 | 126);
    frame += static_cast<char>(payload.size() >> 8);
    frame += static_cast<char>(payload.size() & 0xFF);
  }
  return frame.append(4, '\0').append(payload);
}

/// The number behind `key`, which includes the quotes and the colon.
inline std::optional<std::uint64_t> number_after(std::string_view text, std::string_view key) {
  const std::size_t found = text.find(key);
  if (found == std::string_view::npos) return std::nullopt;
  std::uint64_t number = 0;
  const char* begin = text.data() + found + key.size();
  if (std::from_chars(begin, text.data() + text.size(), number).ec != std::errc{}) return std::nullopt;
  return number;
}

}  // namespace bench
