#include "shared/nudge.hpp"

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace gamepicker {
namespace {

template <typename Address>
std::string as_bytes(const Address& address) {
  return {reinterpret_cast<const char*>(&address), sizeof(address)};
}

const sockaddr* as_sockaddr(const std::string& bytes) {
  return reinterpret_cast<const sockaddr*>(bytes.data());
}

/// The sockaddr, as bytes, of a unix path or of a numeric host:port.
std::string parse_address(std::string_view text) {
  const std::string copy(text);
  if (copy.find('/') != std::string::npos) {
    sockaddr_un address{};
    if (copy.size() >= sizeof(address.sun_path)) throw std::invalid_argument("nudge path too long: " + copy);
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, copy.c_str(), copy.size() + 1);
    return as_bytes(address);
  }
  const auto colon = copy.rfind(':');
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (colon == std::string::npos ||
      getaddrinfo(copy.substr(0, colon).c_str(), copy.substr(colon + 1).c_str(), &hints, &found) != 0) {
    throw std::invalid_argument("bad nudge address: " + copy);
  }
  std::string bytes(reinterpret_cast<const char*>(found->ai_addr), found->ai_addrlen);
  freeaddrinfo(found);
  return bytes;
}

int open_socket(const std::string& address) {
  const int descriptor = ::socket(as_sockaddr(address)->sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) throw std::system_error(errno, std::generic_category(), "nudge socket");
  return descriptor;
}

}  // namespace

Nudge::Nudge(std::string_view addresses) {
  while (!addresses.empty()) {
    const auto comma = addresses.find(',');
    if (const auto one = addresses.substr(0, comma); !one.empty()) {
      std::string address = parse_address(one);
      const int descriptor = open_socket(address);
      targets_.push_back({descriptor, std::move(address)});
    }
    addresses = comma == std::string_view::npos ? std::string_view{} : addresses.substr(comma + 1);
  }
}

Nudge::~Nudge() {
  for (const Target& target : targets_) ::close(target.socket);
}

void Nudge::send() const {
  for (const Target& target : targets_) {
    ::sendto(target.socket, nullptr, 0, MSG_DONTWAIT | MSG_NOSIGNAL, as_sockaddr(target.address),
             static_cast<socklen_t>(target.address.size()));
  }
}

int bind_nudge_socket(std::string_view text) {
  const std::string address = parse_address(text);
  const int descriptor = open_socket(address);
  if (as_sockaddr(address)->sa_family == AF_UNIX) ::unlink(std::string(text).c_str());
  if (::bind(descriptor, as_sockaddr(address), static_cast<socklen_t>(address.size())) != 0) {
    const int error = errno;
    ::close(descriptor);
    throw std::system_error(error, std::generic_category(),
                            "RELAY_NUDGE_BIND: cannot bind the nudge address " + std::string(text));
  }
  return descriptor;
}

}  // namespace gamepicker
