#include "shared/webhook_url.hpp"

#include <algorithm>
#include <charconv>

#include <arpa/inet.h>

namespace gamepicker {
namespace {

bool take_prefix(std::string_view& text, std::string_view prefix) {
  const auto same = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; };
  if (text.size() < prefix.size() ||
      !std::equal(prefix.begin(), prefix.end(), text.begin(), [&](char b, char a) { return same(a, b); })) {
    return false;
  }
  text.remove_prefix(prefix.size());
  return true;
}

bool is_ipv6(const std::string& host) {
  in6_addr address;
  return ::inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

/// What DNS names and IPv4 addresses are made of: a character that means something else to another reader of URLs would
/// let it see another host.
bool is_name(std::string_view host) {
  return !host.empty() && std::ranges::all_of(host, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
           c == '_';
  });
}

std::string encode_target(std::string_view rest) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  rest = rest.substr(0, rest.find('#'));
  std::string target = rest.starts_with('/') ? "" : "/";
  for (const char c : rest) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7f) {
      target += c;
    } else {
      target.append({'%', kHex[byte >> 4], kHex[byte & 15]});
    }
  }
  return target;
}

}  // namespace

std::string WebhookUrl::host_header() const {
  std::string text = host.find(':') == std::string::npos ? host : "[" + host + "]";
  if (port != (secure ? 443 : 80)) text += ":" + std::to_string(port);
  return text;
}

std::optional<WebhookUrl> WebhookUrl::parse(std::string_view text) {
  WebhookUrl url;
  if (take_prefix(text, "https://")) {
    url.secure = true;
  } else if (!take_prefix(text, "http://")) {
    return std::nullopt;
  }
  const std::string_view authority = text.substr(0, text.find_first_of("/?#"));
  url.target = encode_target(text.substr(authority.size()));
  url.port = url.secure ? 443 : 80;

  std::string_view port;
  if (authority.starts_with('[')) {
    const auto end = authority.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    url.host = authority.substr(1, end - 1);
    if (!is_ipv6(url.host)) return std::nullopt;
    port = authority.substr(end + 1);
  } else {
    url.host = authority.substr(0, authority.find(':'));
    if (!is_name(url.host)) return std::nullopt;
    port = authority.substr(url.host.size());
  }
  if (url.host.size() > 253) return std::nullopt;
  if (port.size() > 1) {
    const auto [end, error] = std::from_chars(port.data() + 1, port.data() + port.size(), url.port);
    if (error != std::errc() || end != port.data() + port.size() || url.port == 0) return std::nullopt;
  }
  if (!port.empty() && port.front() != ':') return std::nullopt;
  return url;
}

}  // namespace gamepicker
