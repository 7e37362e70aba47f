#include "shared/address_guard.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <span>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace gamepicker {
namespace {

using Bytes = std::array<std::uint8_t, 16>;

struct Range {
  const char* network;
  int bits;
  const char* what;
};

// IANA's special-purpose registries (RFC 6890 and its updates), multicast, and the metadata addresses of the large
// clouds outside them. The first match names the reason.
constexpr Range kRanges4[] = {
    {"0.0.0.0", 8, "unspecified"},
    {"10.0.0.0", 8, "private"},
    {"100.100.100.200", 32, "metadata"},
    {"100.64.0.0", 10, "carrier-grade NAT"},
    {"127.0.0.0", 8, "loopback"},
    {"168.63.129.16", 32, "metadata"},
    {"169.254.0.0", 16, "link-local or metadata"},
    {"172.16.0.0", 12, "private"},
    {"192.0.0.0", 24, "protocol assignments"},
    {"192.0.2.0", 24, "documentation"},
    {"192.88.99.0", 24, "6to4 relay"},
    {"192.168.0.0", 16, "private"},
    {"198.18.0.0", 15, "benchmarking"},
    {"198.51.100.0", 24, "documentation"},
    {"203.0.113.0", 24, "documentation"},
    {"224.0.0.0", 4, "multicast"},
    {"240.0.0.0", 4, "reserved"},
};

constexpr Range kRanges6[] = {
    {"::", 128, "unspecified"},
    {"::1", 128, "loopback"},
    {"::ffff:0:0", 96, "v4-mapped"},
    {"::ffff:0:0:0", 96, "v4-translated"},
    {"::", 96, "v4-compatible"},
    {"64:ff9b::", 96, "NAT64"},
    {"64:ff9b:1::", 48, "NAT64"},
    {"100::", 64, "discard"},
    {"2001::", 32, "Teredo"},
    {"2001::", 23, "protocol assignments"},
    {"2001:db8::", 32, "documentation"},
    {"2002::", 16, "6to4"},
    {"3fff::", 20, "documentation"},
    {"5f00::", 16, "segment routing"},
    {"fd00:ec2::254", 128, "metadata"},
    {"fc00::", 7, "private"},
    {"fe80::", 10, "link-local"},
    {"fec0::", 10, "site-local"},
    {"ff00::", 8, "multicast"},
};
// All global unicast IPv6 lies here today (RFC 4291 section 2.4, IANA); whatever else is not on the Internet.
constexpr Range kGlobal6{"2000::", 3, "not global"};

/// Whether the first `bits` of both are the same.
bool same_prefix(const Bytes& network, const Bytes& address, int bits) {
  const auto whole = static_cast<std::size_t>(bits / 8);
  if (std::memcmp(network.data(), address.data(), whole) != 0) return false;
  const int rest = bits % 8;
  return rest == 0 || ((network[whole] ^ address[whole]) >> (8 - rest)) == 0;
}

bool matches(const Range& range, const Network& single) {
  Bytes network{};
  ::inet_pton(single.family, range.network, network.data());
  return same_prefix(network, single.address, range.bits);
}

std::optional<std::string> refused(const std::optional<Network>& single) {
  if (!single) return "not an address";
  const bool old = single->family == AF_INET;
  for (const Range& range : old ? std::span<const Range>(kRanges4) : std::span<const Range>(kRanges6)) {
    if (matches(range, *single)) return range.what;
  }
  if (!old && !matches(kGlobal6, *single)) return kGlobal6.what;
  return std::nullopt;
}

std::optional<Network> network_of(const sockaddr& address) {
  Network single{address.sa_family, {}, address.sa_family == AF_INET ? 32 : 128};
  if (address.sa_family == AF_INET) {
    std::memcpy(single.address.data(), &reinterpret_cast<const sockaddr_in&>(address).sin_addr, 4);
  } else if (address.sa_family == AF_INET6) {
    std::memcpy(single.address.data(), &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr, 16);
  } else {
    return std::nullopt;
  }
  return single;
}

/// The canonical text forms only.
std::optional<Network> network_of(const std::string& text) {
  Network single{AF_INET, {}, 32};
  if (::inet_pton(AF_INET, text.c_str(), single.address.data()) == 1) return single;
  single = {AF_INET6, {}, 128};
  if (::inet_pton(AF_INET6, text.c_str(), single.address.data()) == 1) return single;
  return std::nullopt;
}

std::string text_of(const Network& single) {
  char text[INET6_ADDRSTRLEN] = "";
  ::inet_ntop(single.family, single.address.data(), text, sizeof text);
  return text;
}

std::string not_allowed(const std::string& what, const std::string& why) {
  return "Address not allowed: " + what + " is " + why;
}

/// Whether a host means an IPv4 address by the URL standard: its last label is a number. No such top-level domain
/// exists.
bool ends_in_number(std::string_view host) {
  const auto dot = host.rfind('.');
  const std::string_view label = dot == std::string_view::npos ? host : host.substr(dot + 1);
  const bool hex = label.starts_with("0x");
  return !label.empty() &&
         label.find_first_not_of(hex ? "0123456789abcdef" : "0123456789", hex ? 2 : 0) == std::string_view::npos;
}

/// Lower case, without the dots of the root at its end.
std::string plain_host(std::string_view host) {
  while (host.ends_with('.')) host.remove_suffix(1);
  std::string plain(host);
  std::ranges::transform(plain, plain.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return plain;
}

/// What getaddrinfo() makes of a host that is a literal.
std::optional<Network> literal(const std::string& host) {
  if (host.find(':') != std::string::npos) return network_of(host.substr(0, host.find('%')));
  in_addr address{};
  if (::inet_aton(host.c_str(), &address) == 0) return std::nullopt;
  Network single{AF_INET, {}, 32};
  std::memcpy(single.address.data(), &address, 4);
  return single;
}

std::string_view trim(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

std::optional<Network> parse_network(std::string_view text) {
  const auto slash = text.find('/');
  auto network = network_of(std::string(text.substr(0, slash)));
  if (!network || slash == std::string_view::npos) return network;
  const std::string_view digits = text.substr(slash + 1);
  int bits = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
  if (error != std::errc{} || end != digits.data() + digits.size() || bits < 0 || bits > network->bits) {
    return std::nullopt;
  }
  for (int bit = bits; bit < network->bits; ++bit) {
    if ((network->address[static_cast<std::size_t>(bit / 8)] >> (7 - bit % 8) & 1) != 0) return std::nullopt;
  }
  network->bits = bits;
  return network;
}

}  // namespace

std::optional<std::string> refused_address(const sockaddr& address) {
  return refused(network_of(address));
}

std::optional<std::string> refused_address(const std::string& text) {
  return refused(network_of(text));
}

bool refused_port(std::uint16_t port) {
  return port < 1024 && port != 80 && port != 443;
}

bool Network::contains(const Network& single) const {
  return family == single.family && same_prefix(address, single.address, bits);
}

std::vector<Network> parse_networks(std::string_view key, std::string_view list) {
  std::vector<Network> networks;
  if (list.empty()) return networks;
  for (std::string_view rest = list;;) {
    const auto comma = rest.find(',');
    const std::string_view entry = trim(rest.substr(0, comma));
    const auto network = parse_network(entry);
    if (!network) {
      throw ConfigError(std::string(key) + " must be a list of networks such as 10.1.0.0/16, and \"" +
                        std::string(entry) + "\" is none");
    }
    networks.push_back(*network);
    if (comma == std::string_view::npos) return networks;
    rest.remove_prefix(comma + 1);
  }
}

AddressPolicy::AddressPolicy(const Config& config)
    : allow_all_(config.webhook_allow_private),
      networks_(parse_networks("WEBHOOK_ALLOW_NETWORKS", config.webhook_allow_networks)) {}

bool AddressPolicy::allowed(const Network& single) const {
  return allow_all_ || std::ranges::any_of(networks_, [&](const Network& network) { return network.contains(single); });
}

std::optional<std::string> AddressPolicy::judge(const Network& single) const {
  if (allowed(single)) return std::nullopt;
  const auto why = refused(single);
  if (!why) return std::nullopt;
  return not_allowed(text_of(single), *why);
}

std::optional<std::string> AddressPolicy::refusal(const sockaddr& address) const {
  const auto single = network_of(address);
  return single ? judge(*single) : not_allowed("it", "not an address");
}

std::optional<std::string> AddressPolicy::refusal(const std::string& address) const {
  const auto single = network_of(address);
  return single ? judge(*single) : not_allowed(address, "not an address");
}

std::optional<std::string> AddressPolicy::port_refusal(std::uint16_t port) const {
  if (allow_all_ || !refused_port(port)) return std::nullopt;
  return "Port not allowed: " + std::to_string(port);
}

std::optional<std::string> AddressPolicy::literal_refusal(const std::string& host, std::uint16_t port) const {
  if (allow_all_) return std::nullopt;
  if (auto refusal = port_refusal(port)) return refusal;
  const std::string plain = plain_host(host);
  if (const auto single = literal(plain)) return judge(*single);
  if (plain.empty() || plain.find(':') != std::string::npos || ends_in_number(plain)) {
    return not_allowed(host, "not an address");
  }
  const bool local = plain == "localhost" || plain.ends_with(".localhost");  // RFC 6761, section 6.3
  if (local && !allowed(*network_of("127.0.0.1")) && !allowed(*network_of("::1"))) return not_allowed(host, "loopback");
  return std::nullopt;
}

}  // namespace gamepicker
