#include "relay/address_guard.hpp"

#include <array>
#include <cstring>
#include <string_view>

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

bool matches(const Range& range, int family, const Bytes& address) {
  Bytes network{};
  ::inet_pton(family, range.network, network.data());
  const auto whole = static_cast<std::size_t>(range.bits / 8);
  if (std::memcmp(network.data(), address.data(), whole) != 0) return false;
  const int rest = range.bits % 8;
  return rest == 0 || ((network[whole] ^ address[whole]) >> (8 - rest)) == 0;
}

std::optional<std::string> judge4(const Bytes& address) {
  for (const Range& range : kRanges4) {
    if (matches(range, AF_INET, address)) return range.what;
  }
  return std::nullopt;
}

std::optional<std::string> judge6(const Bytes& address) {
  for (const Range& range : kRanges6) {
    if (matches(range, AF_INET6, address)) return range.what;
  }
  if (!matches(kGlobal6, AF_INET6, address)) return kGlobal6.what;
  return std::nullopt;
}

}  // namespace

std::optional<std::string> refused_address(const sockaddr& address) {
  Bytes bytes{};
  if (address.sa_family == AF_INET) {
    std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in&>(address).sin_addr, 4);
    return judge4(bytes);
  }
  if (address.sa_family == AF_INET6) {
    std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr, 16);
    return judge6(bytes);
  }
  return "not an address";
}

std::optional<std::string> refused_address(const std::string& text) {
  Bytes bytes{};
  if (::inet_pton(AF_INET, text.c_str(), bytes.data()) == 1) return judge4(bytes);
  if (::inet_pton(AF_INET6, text.c_str(), bytes.data()) == 1) return judge6(bytes);
  return "not an address";
}

bool refused_port(std::uint16_t port) {
  return port < 1024 && port != 80 && port != 443;
}

}  // namespace gamepicker
