#include "load_clients.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "load_frames.hpp"
#include "publisher.hpp"

namespace bench {
namespace {

using Phase = LoadClient::Phase;

constexpr std::size_t kReadBytes = 256 * 1024;
constexpr std::size_t kPortsAnAddress = 20'000;     // below the range of ephemeral ports
constexpr std::uint64_t kRetryAfter = 100'000'000;  // ns

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(what);
}

int connect_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return socket;
  ::close(socket);
  return -1;
}

/// From 127.0.0.1 and its neighbours, as an address has fewer ports than there may be clients.
int connect_tcp(const std::string& target, std::size_t index) {
  const std::size_t colon = target.rfind(':');
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::stoul(target.substr(colon + 1))));
  ::inet_pton(AF_INET, target.substr(0, colon).c_str(), &address.sin_addr);
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  // No TIME_WAIT that would keep the port from the next run.
  const linger reset{1, 0};
  ::setsockopt(socket, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  sockaddr_in own{};
  own.sin_family = AF_INET;
  own.sin_addr.s_addr = htonl(INADDR_LOOPBACK + static_cast<std::uint32_t>(index / kPortsAnAddress));
  ::setsockopt(socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  if (::bind(socket, reinterpret_cast<const sockaddr*>(&own), sizeof own) == 0 &&
      ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    return socket;
  }
  ::close(socket);
  return -1;
}

void send_all(int socket, const std::string& bytes) {
  // A few hundred bytes on a socket whose peer reads: it always has the room.
  [[maybe_unused]] const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

}  // namespace

LoadClients::LoadClients(Target target)
    : target_(std::move(target)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      clients_(target_.clients),
      events_(1024),
      buffer_(kReadBytes, '\0') {}

LoadClients::~LoadClients() {
  for (const LoadClient& client : clients_) {
    if (client.socket >= 0) ::close(client.socket);
  }
  ::close(epoll_);
}

void LoadClients::connect_all(double seconds) {
  const std::uint64_t end = monotonic_ns() + static_cast<std::uint64_t>(seconds * 1e9);
  while (!all_ready()) {
    poll(10);
    if (now_ > end) {
      fail(std::to_string(clients_.size() - ready_) + " of " + std::to_string(clients_.size()) + " are not subscribed");
    }
  }
}

void LoadClients::start_some() {
  for (std::size_t looked = 0; looked < clients_.size() && begun_ < target_.in_flight; ++looked) {
    if (begun_ + ready_ == clients_.size()) return;
    const std::size_t index = next_;
    next_ = (next_ + 1) % clients_.size();
    if (clients_[index].phase == Phase::idle && clients_[index].retry_at <= now_) start(index);
  }
}

void LoadClients::start(std::size_t index) {
  LoadClient& client = clients_[index];
  client.socket = target_.address.starts_with("unix:") ? connect_unix(target_.address.substr(5))
                                                       : connect_tcp(target_.address, index);
  if (client.socket < 0) {
    if (!resume) fail("connect: " + std::string(std::strerror(errno)));
    client.retry_at = now_ + kRetryAfter;
    return;
  }
  client.phase = Phase::handshake;
  ++begun_;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = index;
  ::epoll_ctl(epoll_, EPOLL_CTL_ADD, client.socket, &event);
  send_upgrade(index);
}

void LoadClients::send_upgrade(std::size_t index) {
  std::string path = target_.path;
  if (const std::size_t hole = path.find('%'); hole != std::string::npos) path.replace(hole, 1, channel_of(index));
  send_all(clients_[index].socket,
           "GET " + path +
               " HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
}

void LoadClients::watch(int socket, bool writable) {
  epoll_event event{};
  event.events = EPOLLIN | (writable ? EPOLLOUT : 0u);
  event.data.u64 = clients_.size();
  ::epoll_ctl(epoll_, watched_ == socket ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, socket, &event);
  watched_ = socket;
}

void LoadClients::poll(int timeout_ms) {
  now_ = monotonic_ns();
  start_some();
  const int count = ::epoll_wait(epoll_, events_.data(), static_cast<int>(events_.size()), timeout_ms);
  now_ = monotonic_ns();
  watched_writable_ = false;
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events_[static_cast<std::size_t>(i)];
    if (event.data.u64 < clients_.size()) {
      read(event.data.u64);
      continue;
    }
    watched_writable_ = (event.events & EPOLLOUT) != 0;
    if ((event.events & EPOLLIN) != 0 && ::recv(watched_, buffer_.data(), buffer_.size(), MSG_DONTWAIT) == 0) {
      fail("the publisher closed its connection");
    }
  }
}

// What is kept of an incomplete frame goes in front of what comes; whole frames are read where they lie.
void LoadClients::read(std::size_t index) {
  LoadClient& client = clients_[index];
  if (client.socket < 0) return;
  const std::size_t kept = client.rest.size();
  std::memcpy(buffer_.data(), client.rest.data(), kept);
  const ssize_t got = ::recv(client.socket, buffer_.data() + kept, buffer_.size() - kept, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return disconnected(index, "connection lost");
  bytes += static_cast<std::uint64_t>(got);
  std::string_view left(buffer_.data(), kept + static_cast<std::size_t>(got));
  if (client.phase == Phase::handshake) left = upgraded(index, left);
  while (client.phase != Phase::idle && client.phase != Phase::handshake) {
    const auto next = take_frame(left);
    if (!next) break;
    frame(index, next->opcode, next->payload);
  }
  if (client.phase != Phase::idle) client.rest.assign(left);
}

std::string_view LoadClients::upgraded(std::size_t index, std::string_view answer) {
  const std::size_t end = answer.find("\r\n\r\n");
  if (end == std::string_view::npos) return answer;
  if (!answer.starts_with("HTTP/1.1 101")) {
    disconnected(index, "refused: " + std::string(answer.substr(0, answer.find('\r'))));
    return {};
  }
  if (target_.gamepicker) {
    subscribe(index);
  } else {
    became_ready(clients_[index]);
  }
  return answer.substr(end + 4);
}

void LoadClients::subscribe(std::size_t index) {
  LoadClient& client = clients_[index];
  client.phase = Phase::subscribing;
  std::string wanted = R"({"type":"subscribe","sessionId":)" + channel_of(index);
  if (client.known) wanted += R"(,"offset":)" + std::to_string(client.offset);
  send_all(client.socket,
           client_frame(1, R"({"type":"auth","token":")" + target_.tokens[index % target_.tokens.size()] + "\"}") +
               client_frame(1, wanted + "}"));
}

void LoadClients::became_ready(LoadClient& client) {
  client.phase = Phase::ready;
  --begun_;
  ++ready_;
}

void LoadClients::frame(std::size_t index, int opcode, std::string_view payload) {
  LoadClient& client = clients_[index];
  if (opcode == 9) return send_all(client.socket, client_frame(10, payload));
  if (opcode == 8)
    return disconnected(index, "closed: " + std::string(payload.substr(std::min<std::size_t>(2, payload.size()))));
  if (opcode != 1) return;
  if (client.phase == Phase::subscribing) return setup_text(client, payload);
  ++messages;
  if (index % target_.sample == 0) {
    if (const auto at = number_after(payload.substr(0, 128), R"("at":)")) latency.add(monotonic_ns() - *at);
  }
  if (!resume) return;
  if (const auto offset = number_after(payload, R"("offset":)")) {
    if (*offset != client.offset + 1) ++gaps;
    client.offset = *offset;
  }
}

void LoadClients::setup_text(LoadClient& client, std::string_view text) {
  if (text.find(R"("type":"subscribed")") != std::string_view::npos) {
    const bool again = text.find(R"("recovered":true)") != std::string_view::npos;
    if (again) ++recovered;
    client.known = resume;
    if (!again) client.offset = number_after(text, R"("offset":)").value_or(0);
    return became_ready(client);
  }
  if (text.find("error\"") != std::string_view::npos) fail("the server said " + std::string(text));
}

void LoadClients::disconnected(std::size_t index, const std::string& why) {
  LoadClient& client = clients_[index];
  if (!resume) fail("client " + std::to_string(index) + ": " + why);
  const bool was_ready = client.phase == Phase::ready;
  if (was_ready && lost++ == 0) first_lost = now_;
  if (!was_ready) ++refused;
  ::close(client.socket);
  client.socket = -1;
  client.rest.clear();
  --(was_ready ? ready_ : begun_);
  client.phase = Phase::idle;
  client.retry_at = now_ + kRetryAfter;
}

std::uint64_t LoadClients::lowest_offset() const {
  std::uint64_t lowest = UINT64_MAX;
  for (const LoadClient& client : clients_) lowest = std::min(lowest, client.offset);
  return lowest;
}

}  // namespace bench
