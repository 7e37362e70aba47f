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

  /// Nothing for anything but http(s)://host[:port][/...]: no user names and passwords, no zone of an IPv6 address, no
  /// names outside ASCII. Bytes that may not stand in a request line are percent-encoded, a fragment is dropped. Who
  /// stores a URL and who sends to it read it with this one function: they must not see different hosts.
  static std::optional<WebhookUrl> parse(std::string_view text);
};

}  // namespace gamepicker
