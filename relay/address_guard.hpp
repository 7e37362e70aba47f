#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <sys/socket.h>

namespace gamepicker {

/// Why a webhook must not be sent to `address` (IPv4 or IPv6), such as "loopback"; nothing when it is an ordinary
/// public address. Tunnels and translations (v4-mapped, NAT64, 6to4, Teredo) are refused as such: each can carry any
/// IPv4 address.
std::optional<std::string> refused_address(const sockaddr& address);

/// The same for the text form; "not an address" for anything else.
std::optional<std::string> refused_address(const std::string& text);

/// System ports other than 80 and 443: mail, SSH, name servers and others that a crafted POST could talk to.
bool refused_port(std::uint16_t port);

}  // namespace gamepicker
