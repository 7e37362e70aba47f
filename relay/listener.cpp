#include "relay/listener.hpp"

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include <Poco/Net/NetException.h>
#include <Poco/Net/SocketAddress.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "shared/config.hpp"

namespace gamepicker {
namespace {

constexpr int kBacklog = 4096;
constexpr int kSendBuffer = 64 * 1024;  // what the kernel may hold for a client that does not read

[[noreturn]] void fail(const std::string& what, int error = errno) {
  throw std::system_error(error, std::generic_category(), what);
}

std::uint64_t inode_of(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

int listening_socket(const sockaddr* address, socklen_t size, const std::string& name) {
  const int descriptor = ::socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) fail("socket");
  const int on = 1;
  if (address->sa_family != AF_UNIX) {
    ::setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    // Several relays share a port, among them the one that leaves and the one that takes its place.
    ::setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  }
  // Accepted sockets inherit it.
  ::setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &kSendBuffer, sizeof kSendBuffer);
  if (::bind(descriptor, address, size) != 0 || ::listen(descriptor, kBacklog) != 0) {
    const int error = errno;
    ::close(descriptor);
    fail("cannot listen on " + name, error);
  }
  return descriptor;
}

}  // namespace

Listener Listener::on_path(const std::string& path) {
  // Made beside its place and moved into it, so that there is a relay behind the path at every moment.
  const std::string fresh = path + ".new";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || fresh.size() >= sizeof address.sun_path) fail("RELAY_SOCKET " + path, ENAMETOOLONG);
  std::memcpy(address.sun_path, fresh.data(), fresh.size());
  ::unlink(fresh.c_str());
  Listener listener(
      listening_socket(reinterpret_cast<const sockaddr*>(&address), sizeof address, "RELAY_SOCKET " + path));
  // nginx' workers run as another user; who may get here is decided by the folder.
  if (::chmod(fresh.c_str(), 0666) != 0 || ::rename(fresh.c_str(), path.c_str()) != 0)
    fail("cannot listen on RELAY_SOCKET " + path);
  listener.path_ = path;
  listener.inode_ = inode_of(path);
  return listener;
}

Listener Listener::on_port(const std::string& address, const std::string& proxies) {
  try {
    const Poco::Net::SocketAddress parsed(address);
    Listener listener(listening_socket(parsed.addr(), parsed.length(), "RELAY_LISTEN " + address));
    listener.proxies_ = "," + proxies + ",";
    return listener;
  } catch (const Poco::Exception& error) {
    throw ConfigError("RELAY_LISTEN must be a numeric host:port: " + error.displayText());
  }
}

Listener::Listener(Listener&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      path_(std::move(other.path_)),
      inode_(other.inode_),
      proxies_(std::move(other.proxies_)) {}

Listener::~Listener() {
  if (descriptor_ < 0) return;
  // Another relay may have taken the path over.
  if (!path_.empty() && inode_of(path_) == inode_) ::unlink(path_.c_str());
  ::close(descriptor_);
}

bool Listener::is_proxy(const std::string& address) const {
  return proxies_.find("," + address + ",") != std::string::npos;
}

std::optional<Listener::Accepted> Listener::accept() const {
  if (!path_.empty()) {
    const int socket = ::accept4(descriptor_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (socket < 0) return std::nullopt;
    ::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &kSendBuffer, sizeof kSendBuffer);
    return Accepted{socket, {}};
  }
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  const int socket = ::accept4(descriptor_, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (socket < 0) return std::nullopt;
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  std::string address = Poco::Net::SocketAddress(reinterpret_cast<sockaddr*>(&peer), size).host().toString();
  if (is_proxy(address)) address.clear();
  return Accepted{socket, std::move(address)};
}

}  // namespace gamepicker
