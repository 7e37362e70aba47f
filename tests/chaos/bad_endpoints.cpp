#include "tests/chaos/bad_endpoints.hpp"

#include <stdexcept>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace chaos {
namespace {

constexpr std::chrono::seconds kDrip{1};
constexpr std::chrono::seconds kAcceptEvery{1};
constexpr int kTick = 20;  ///< ms

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

void send_text(int socket, const std::string& text) {
  ::send(socket, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/// Takes what is there; false when the other side is gone.
bool discard(int socket) {
  char buffer[65536];
  while (true) {
    const auto got = ::recv(socket, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got == 0) return false;
    if (got < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
  }
}

/// Keeps those of `sockets` for which `serve` is true.
template <typename Serve>
void keep_if(std::vector<int>& sockets, Serve serve) {
  std::erase_if(sockets, [&](int socket) {
    if (serve(socket)) return false;
    ::close(socket);
    return true;
  });
}

}  // namespace

BadEndpoints::BadEndpoints() {
  idle_.push_back(listen("refuses", -1));
  idle_.push_back(listen("never accepts", 0));
  fill_backlog(all_.back().second);
  tarpit_ = listen("a byte a second", 4096);
  endless_ = listen("endless body", 4096);
  slow_ = listen("slow to accept", 4);
  thread_ = std::thread([this] { serve(); });
}

BadEndpoints::~BadEndpoints() {
  stopping_ = true;
  thread_.join();
  for (const auto* sockets : {&idle_, &dripping_, &flooding_, &answering_}) {
    for (const int socket : *sockets) ::close(socket);
  }
  for (const int socket : {tarpit_, endless_, slow_}) ::close(socket);
}

/// A backlog below 0: the port is taken, and nobody listens.
int BadEndpoints::listen(const std::string& name, int backlog) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  if (::bind(socket, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      (backlog >= 0 && ::listen(socket, backlog) != 0) ||
      ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("cannot listen");
  }
  all_.emplace_back(name, "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/hook");
  return socket;
}

/// Until a connection is not made any more.
void BadEndpoints::fill_backlog(const std::string& url) {
  const auto port = static_cast<std::uint16_t>(std::stoul(url.substr(url.rfind(':') + 1)));
  const sockaddr_in address = loopback(port);
  for (int i = 0; i < 16; ++i) {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    idle_.push_back(socket);
    ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    pollfd waiting{socket, POLLOUT, 0};
    if (::poll(&waiting, 1, 200) == 0) return;
  }
  throw std::runtime_error("the backlog does not fill");
}

void BadEndpoints::serve() {
  while (!stopping_) {
    std::vector<pollfd> waiting{{tarpit_, POLLIN, 0}, {endless_, POLLIN, 0}};
    for (const int socket : flooding_) waiting.push_back({socket, POLLOUT, 0});
    for (const int socket : answering_) waiting.push_back({socket, POLLIN, 0});
    ::poll(waiting.data(), waiting.size(), kTick);
    const auto now = Clock::now();
    accept_some(now);
    feed(now);
  }
}

void BadEndpoints::accept_some(Clock::time_point now) {
  const auto accept = [](int listener, std::vector<int>& sockets) {
    const int socket = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (socket >= 0) sockets.push_back(socket);
    return socket >= 0;
  };
  while (accept(tarpit_, dripping_)) send_text(dripping_.back(), "HTTP/1.1 200 OK\r\nX-Slow: ");
  while (accept(endless_, flooding_)) send_text(flooding_.back(), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
  if (now < next_accept_) return;
  next_accept_ = now + kAcceptEvery;
  accept(slow_, answering_);
}

void BadEndpoints::feed(Clock::time_point now) {
  keep_if(flooding_, [this](int socket) { return send_endlessly(socket); });
  // One answer a connection: the next one must be accepted again.
  keep_if(answering_, [](int socket) {
    pollfd waiting{socket, POLLIN, 0};
    if (::poll(&waiting, 1, 0) == 0) return true;
    if (discard(socket)) send_text(socket, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    return false;
  });
  if (now < next_drip_) return;
  next_drip_ = now + kDrip;
  keep_if(dripping_, [](int socket) {
    if (!discard(socket)) return false;
    send_text(socket, "x");
    return true;
  });
}

bool BadEndpoints::send_endlessly(int socket) const {
  static const std::string kFlood(65536, 'x');
  if (!discard(socket)) return false;
  const auto sent = ::send(socket, kFlood.data(), kFlood.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return sent >= 0 || errno == EAGAIN || errno == EWOULDBLOCK;
}

}  // namespace chaos
