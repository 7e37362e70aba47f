#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gamepicker {

/// A webhook's URL, taken apart without changing a byte of the path.
struct WebhookUrl {
  bool secure = false;
  std::string host;  ///< without the brackets of an IPv6 address
  std::uint16_t port = 0;
  std::string target;  ///< path and query, at least "/"

  /// For the Host header: with brackets, and with the port unless it is the scheme's own.
  std::string host_header() const;

  /// Nothing for anything but http(s)://host[:port][/...]; user names and passwords in it are not supported. Bytes
  /// that may not stand in a request line are percent-encoded, a fragment is dropped.
  static std::optional<WebhookUrl> parse(std::string_view text);
};

}  // namespace gamepicker
