#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/socket.h>

#include "shared/config.hpp"

namespace gamepicker {

/// Why a webhook must not be sent to `address` (IPv4 or IPv6), such as "loopback"; nothing when it is an ordinary
/// public address. Tunnels and translations (v4-mapped, NAT64, 6to4, Teredo) are refused as such: each can carry any
/// IPv4 address.
std::optional<std::string> refused_address(const sockaddr& address);

/// The same for the text form; "not an address" for anything else.
std::optional<std::string> refused_address(const std::string& text);

/// System ports other than 80 and 443: mail, SSH, name servers and others that a crafted POST could talk to.
bool refused_port(std::uint16_t port);

/// A CIDR block.
struct Network {
  int family = 0;
  std::array<std::uint8_t, 16> address{};  ///< the first 4 count for IPv4
  int bits = 0;

  bool contains(const Network& single) const;
};

/// "10.0.0.0/8, fd12::/16": a lone address is a block of one. Throws ConfigError naming the key and the entry for
/// anything else, also for bits set beyond the prefix.
std::vector<Network> parse_networks(std::string_view key, std::string_view list);

/// Where webhooks may be sent to: WEBHOOK_ALLOW_PRIVATE switches every rule off; WEBHOOK_ALLOW_NETWORKS lifts the rules
/// for addresses in its blocks, while the one for ports holds there too. Each function answers why not, in a sentence
/// for the client, or nothing. Immutable: any thread may ask.
class AddressPolicy {
 public:
  /// Throws ConfigError.
  explicit AddressPolicy(const Config& config);

  std::optional<std::string> refusal(const sockaddr& address) const;
  /// For the text form of an address; anything else is refused.
  std::optional<std::string> refusal(const std::string& address) const;
  std::optional<std::string> port_refusal(std::uint16_t port) const;

  /// What can be said of a URL's host (without brackets) before any name is resolved: its port; its address in any
  /// spelling the C library reads (dotted, decimal, octal, hexadecimal, short, IPv6 with a zone), or one that only
  /// looks like a number; localhost. All other names pass: the addresses behind them are judged when they are used.
  std::optional<std::string> literal_refusal(const std::string& host, std::uint16_t port) const;

 private:
  std::optional<std::string> judge(const Network& single) const;
  bool allowed(const Network& single) const;

  bool allow_all_;
  std::vector<Network> networks_;
};

}  // namespace gamepicker
