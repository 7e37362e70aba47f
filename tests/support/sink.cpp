#include "tests/support/sink.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <stdexcept>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace gamepicker::test {
namespace {

constexpr int kBacklog = 4096;
constexpr int kLongestWait = 20;  ///< ms

void watch(int epoll, int socket) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP;
  event.data.fd = socket;
  ::epoll_ctl(epoll, EPOLL_CTL_ADD, socket, &event);
}

/// Few bytes on a connection that nothing else waits on: they always fit.
void send_answer(int socket, int status) {
  const std::string text = "HTTP/1.1 " + std::to_string(status) + " Told\r\nContent-Length: 2\r\n\r\nok";
  ::send(socket, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace

std::string_view Sink::Request::header(std::string_view name) const {
  for (std::size_t at = head.find(name); at != std::string_view::npos; at = head.find(name, at + 1)) {
    if (at < 2 || head[at - 1] != '\n' || head.substr(at + name.size(), 1) != ":") continue;
    std::string_view value = head.substr(at + name.size() + 1);
    value = value.substr(0, value.find('\r'));
    while (value.starts_with(' ')) value.remove_prefix(1);
    return value;
  }
  return {};
}

std::uint64_t Sink::Request::number(std::string_view name) const {
  const std::string_view text = header(name);
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

Sink::Sink(Answer answer) : answer_(std::move(answer)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_, kBacklog) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("the sink cannot listen");
  }
  port_ = ntohs(address.sin_port);
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  watch(epoll_, listener_);
  thread_ = std::thread([this] { serve(); });
}

Sink::~Sink() {
  stopping_ = true;
  thread_.join();
  for (const auto& entry : inputs_) ::close(entry.first);
  ::close(listener_);
  ::close(epoll_);
}

void Sink::serve() {
  while (!stopping_) {
    int wait = kLongestWait;
    if (!delayed_.empty()) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(delayed_.begin()->first - Clock::now()).count();
      wait = static_cast<int>(std::clamp<std::int64_t>(left, 0, kLongestWait));
    }
    epoll_event events[256];
    const int count = ::epoll_wait(epoll_, events, 256, wait);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.fd == listener_) {
        accept_all();
      } else {
        read(events[i].data.fd);
      }
    }
    reply_due();
  }
}

void Sink::accept_all() {
  while (true) {
    const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (socket < 0) return;
    const int on = 1;
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    inputs_.emplace(socket, std::string());
    connections_[socket] = ++last_connection_;
    watch(epoll_, socket);
  }
}

void Sink::read(int socket) {
  std::string& input = inputs_[socket];
  char buffer[16384];
  while (true) {
    const auto got = ::recv(socket, buffer, sizeof buffer, 0);
    if (got < 0) break;
    if (got == 0) {
      inputs_.erase(socket);
      connections_.erase(socket);
      ::close(socket);
      return;
    }
    input.append(buffer, static_cast<std::size_t>(got));
    if (static_cast<std::size_t>(got) < sizeof buffer) break;
  }
  while (take_request(socket, input)) continue;
}

bool Sink::take_request(int socket, std::string& input) {
  const auto end = input.find("\r\n\r\n");
  if (end == std::string::npos) return false;
  std::string head = input.substr(0, end + 2);
  std::ranges::transform(head, head.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  Request request;
  request.head = head;
  const std::size_t size = request.number("content-length");
  if (input.size() < end + 4 + size) return false;
  request.body = std::string_view(input).substr(end + 4, size);
  const std::size_t space = head.find(' ');
  request.target = std::string_view(head).substr(space + 1, head.find(' ', space + 1) - space - 1);
  const Reply reply = answer_(request);
  input.erase(0, end + 4 + size);
  if (reply.delay.count() == 0) {
    send_answer(socket, reply.status);
  } else {
    delayed_.emplace(Clock::now() + reply.delay, Delayed{socket, connections_[socket], reply.status});
  }
  return true;
}

void Sink::reply_due() {
  const auto now = Clock::now();
  while (!delayed_.empty() && delayed_.begin()->first <= now) {
    const Delayed delayed = delayed_.begin()->second;
    delayed_.erase(delayed_.begin());
    const auto open = connections_.find(delayed.socket);
    if (open != connections_.end() && open->second == delayed.connection) send_answer(delayed.socket, delayed.status);
  }
}

}  // namespace gamepicker::test
