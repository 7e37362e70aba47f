#include "relay/echo.hpp"

#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <system_error>
#include <unordered_map>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay/epoll.hpp"
#include "relay/frame.hpp"
#include "relay/handshake.hpp"
#include "relay/send_queue.hpp"
#include "relay/timer_wheel.hpp"
#include "shared/log.hpp"

namespace gamepicker {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kMaxMessage = 64 << 20;  // suites send 16 MiB
constexpr std::size_t kReadBytes = 65536;
constexpr std::size_t kMaxQueueBytes = 1 << 20;  // with more waiting for it, a client is not read
constexpr std::size_t kMaxClients = 256;
constexpr std::chrono::seconds kHandshakeLimit{10};
constexpr std::chrono::seconds kEndLimit{10};  // for the last bytes and the peer's end of the socket

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

struct EchoClient : TimerWheel::Entry {
  enum class Phase : std::uint8_t { handshake, open, ending };

  explicit EchoClient(int connected) : socket(connected) {}
  ~EchoClient() { ::close(socket); }

  void send(std::string bytes) {
    auto frame = std::make_shared<Frame>();
    frame->bytes = std::move(bytes);
    queue.push(std::move(frame));
  }

  const int socket;
  Phase phase = Phase::handshake;
  bool shut = false;
  std::uint32_t waits_for = EPOLLIN;
  std::string inbox;  ///< the incomplete request
  FrameParser parser{FrameParser::Options{kMaxMessage, true}};
  SendQueue queue;  ///< its control lane stays unused: answers keep the order of what they answer
};

class EchoServer {
 public:
  EchoServer(std::uint16_t port, int stop) : stop_(stop), wheel_(Clock::now()), buffer_(kReadBytes) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener_ < 0) fail("socket");
    const int on = 1;
    ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener_, any, size) != 0 || ::listen(listener_, SOMAXCONN) != 0) fail("cannot listen");
    if (::getsockname(listener_, any, &size) != 0) fail("getsockname");
    log_info("echo on 127.0.0.1:" + std::to_string(ntohs(address.sin_port)));
    epoll_.add(listener_, EPOLLIN);
    epoll_.add(stop_, EPOLLIN);
  }

  ~EchoServer() {
    for (const auto& [socket, client] : clients_) wheel_.cancel(*client);
    ::close(listener_);
  }
  EchoServer(const EchoServer&) = delete;
  EchoServer& operator=(const EchoServer&) = delete;

  void run() {
    while (true) {
      for (const epoll_event& event : epoll_.wait(wheel_.milliseconds_to_next(Clock::now()))) {
        if (event.data.fd == stop_) return;
        if (event.data.fd == listener_) {
          accept();
        } else if (const auto known = clients_.find(event.data.fd); known != clients_.end()) {
          if (!ready(*known->second, event.events)) end(*known->second);
        }
      }
      while (TimerWheel::Entry* due = wheel_.pop_due(Clock::now())) end(static_cast<EchoClient&>(*due));
    }
  }

 private:
  void accept() {
    const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (socket < 0) {
      if (errno == EMFILE || errno == ENFILE) fail("accept");
      return;
    }
    if (clients_.size() == kMaxClients) {
      ::close(socket);
      return;
    }
    const int on = 1;
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    EchoClient& client = *clients_.emplace(socket, std::make_unique<EchoClient>(socket)).first->second;
    epoll_.add(socket, client.waits_for);
    set_limit(client, kHandshakeLimit);
  }

  void set_limit(EchoClient& client, std::chrono::seconds limit) {
    wheel_.schedule(client, Clock::now() + limit);  // both limits are within the wheel's horizon
  }

  void end(EchoClient& client) {
    wheel_.cancel(client);
    clients_.erase(client.socket);
  }

  /// False when the connection is over.
  bool ready(EchoClient& client, std::uint32_t events) {
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) return false;
    if ((events & EPOLLIN) != 0 && !read(client)) return false;
    return write(client);
  }

  bool read(EchoClient& client) {
    const ssize_t got = ::recv(client.socket, buffer_.data(), buffer_.size(), 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) return false;
    std::string_view bytes(buffer_.data(), static_cast<std::size_t>(got));
    if (client.phase == EchoClient::Phase::handshake) read_handshake(client, bytes);
    if (client.phase == EchoClient::Phase::open) read_frames(client, bytes);
    return true;
  }

  /// Leaves what stands behind the request's head in `bytes`.
  void read_handshake(EchoClient& client, std::string_view& bytes) {
    const std::size_t searched = client.inbox.size();
    client.inbox.append(bytes.substr(0, kMaxHeadBytes + 1));  // one more shows that it is too long
    const std::size_t end = find_head_end(client.inbox, searched);
    if (end == std::string::npos || end > kMaxHeadBytes) {
      if (client.inbox.size() > kMaxHeadBytes) refuse(client, {431, "Request header too large"});
      return;
    }
    const auto request = read_live_request(std::string_view(client.inbox).substr(0, end));
    if (const auto* refusal = std::get_if<Refusal>(&request)) return refuse(client, *refusal);
    std::string().swap(client.inbox);
    client.send(upgrade_response(std::get<UpgradeRequest>(request)));
    client.phase = EchoClient::Phase::open;
    wheel_.cancel(client);  // in the middle of a suite it may be silent
    bytes.remove_prefix(end - searched);
  }

  void refuse(EchoClient& client, const Refusal& refusal) { finish(client, refusal_response(refusal)); }

  /// Sends this last, and then ends our side of the socket; what still comes is thrown away.
  void finish(EchoClient& client, std::string last) {
    client.send(std::move(last));
    client.phase = EchoClient::Phase::ending;
    set_limit(client, kEndLimit);
  }

  void read_frames(EchoClient& client, std::string_view bytes) {
    std::string answers;  // of all frames that came together: small ones would cost more to queue than to send
    while (true) {
      const FrameParser::Item item = client.parser.next(bytes);
      switch (item.kind) {
        case FrameParser::Kind::incomplete:
          if (!answers.empty()) client.send(std::move(answers));
          return;
        case FrameParser::Kind::text:
          answers += encode_text_frame(item.payload);
          break;
        case FrameParser::Kind::binary:
          answers += encode_frame(Opcode::binary, item.payload);
          break;
        case FrameParser::Kind::ping:
          answers += encode_frame(Opcode::pong, item.payload);
          break;
        case FrameParser::Kind::pong:
          break;
        case FrameParser::Kind::close:
          return finish(client, answers + encode_close_frame(item.code, {}));
        case FrameParser::Kind::violation:
          return finish(client, answers + encode_close_frame(item.code, item.payload));
      }
    }
  }

  bool write(EchoClient& client) {
    SendQueue::Result result = SendQueue::Result::more;
    while (result == SendQueue::Result::more) result = client.queue.flush(client.socket, metrics_);
    if (result == SendQueue::Result::failed) return false;
    if (client.queue.empty() && client.phase == EchoClient::Phase::ending && !client.shut) {
      client.shut = true;
      ::shutdown(client.socket, SHUT_WR);
    }
    const bool reads = client.phase == EchoClient::Phase::ending || client.queue.bytes() <= kMaxQueueBytes;
    const std::uint32_t wanted = (reads ? EPOLLIN : 0u) | (client.queue.empty() ? 0u : EPOLLOUT);
    if (wanted != client.waits_for) epoll_.modify(client.socket, client.waits_for = wanted);
    return true;
  }

  const int stop_;
  IoMetrics metrics_;  ///< nobody reads them here
  int listener_ = -1;
  Epoll epoll_;
  TimerWheel wheel_;
  std::unordered_map<int, std::unique_ptr<EchoClient>> clients_;  ///< by descriptor
  std::vector<char> buffer_;                                      ///< every read goes through this one
};

}  // namespace

void serve_echo(std::uint16_t port, int stop) {
  EchoServer(port, stop).run();
}

}  // namespace gamepicker
