#include "relay/webhook_connection.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include <Poco/Net/NetException.h>
#include <Poco/Net/SSLException.h>
#include <Poco/Net/SecureStreamSocket.h>
#include <Poco/Net/StreamSocketImpl.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

namespace gamepicker {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::chrono::seconds kKeepIdle{4};
constexpr std::size_t kMaxIdle = 256;

/// Poco makes this constructor protected; it takes the descriptor.
class ConnectedSocket : public Poco::Net::StreamSocket {
 public:
  explicit ConnectedSocket(int descriptor) : StreamSocket(new Poco::Net::StreamSocketImpl(descriptor)) {}
};

milliseconds left_until(Clock::time_point deadline) {
  return std::max(std::chrono::ceil<milliseconds>(deadline - Clock::now()), milliseconds{0});
}

/// 0 or the error of one attempt to connect.
int connect_within(int descriptor, const ResolvedAddress& address, milliseconds limit) {
  if (::connect(descriptor, &address.get(), address.length) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  pollfd waiting{descriptor, POLLOUT, 0};
  const auto until = Clock::now() + limit;
  int ready = 0;
  do {
    ready = ::poll(&waiting, 1, static_cast<int>(left_until(until).count()));
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  if (ready < 0 || ::getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
  return error;
}

/// A connected, blocking descriptor. Each address gets its share of what is left, so that a dead first one does not
/// use it all.
int connect_any(const std::vector<ResolvedAddress>& addresses, Clock::time_point deadline) {
  int error = ETIMEDOUT;
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const auto share = left_until(deadline) / static_cast<milliseconds::rep>(addresses.size() - i);
    if (share <= milliseconds{0}) break;
    const int family = addresses[i].get().sa_family;
    const int descriptor = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) {
      error = errno;
      continue;
    }
    error = connect_within(descriptor, addresses[i], share);
    if (error == 0) {
      ::fcntl(descriptor, F_SETFL, ::fcntl(descriptor, F_GETFL) & ~O_NONBLOCK);
      const int on = 1;
      ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      return descriptor;
    }
    ::close(descriptor);
  }
  throw ConnectError(error == ETIMEDOUT ? "Connection timed out"
                                        : std::string("Connection failed: ") + std::strerror(error));
}

}  // namespace

WebhookConnection::WebhookConnection(const Poco::Net::StreamSocket& socket)
    : HTTPClientSession(socket), handle_(static_cast<int>(socket.impl()->sockfd())) {
  setKeepAlive(true);
}

bool WebhookConnection::still_quiet() const {
  pollfd waiting{handle_.descriptor(), POLLIN, 0};
  return ::poll(&waiting, 1, 0) == 0;
}

void WebhookConnection::connect(const Poco::Net::SocketAddress& /*address*/) {
  throw Poco::Net::ConnectionResetException("the connection was lost");
}

int WebhookConnection::read(char* buffer, std::streamsize length) {
  try {
    return HTTPClientSession::read(buffer, length);
  } catch (const Poco::Net::SSLConnectionUnexpectedlyClosedException&) {
    return 0;  // a peer that ends without close_notify; the HTTP framing tells whether anything is missing
  }
}

WebhookConnector::WebhookConnector(AddressPolicy policy, Watchdog& watchdog)
    : policy_(std::move(policy)), watchdog_(watchdog) {
  // Strict: the relaxed mode does not check the name of local hosts.
  tls_ = new Poco::Net::Context(Poco::Net::Context::TLS_CLIENT_USE, "", Poco::Net::Context::VERIFY_STRICT, 9, true,
                                "HIGH:!aNULL:!MD5:!RC4");
  tls_->requireMinimumProtocol(Poco::Net::Context::PROTO_TLSV1_2);
  tls_->enableExtendedCertificateVerification(true);
}

std::unique_ptr<WebhookConnection> WebhookConnector::open(const WebhookUrl& url, Clock::time_point deadline) {
  if (const auto why = policy_.literal_refusal(url.host, url.port)) throw ConnectError(*why);
  const auto addresses = resolver_.resolve(url.host, url.port, deadline);
  for (const ResolvedAddress& address : addresses) {
    if (const auto why = policy_.refusal(address.get())) throw ConnectError(*why);
  }
  const ConnectedSocket socket(connect_any(addresses, deadline));
  if (!url.secure) return std::make_unique<WebhookConnection>(socket);
  const SocketHandle handle(static_cast<int>(socket.impl()->sockfd()));
  const Watchdog::Guard guard(watchdog_, handle.descriptor(), deadline);
  return std::make_unique<WebhookConnection>(Poco::Net::SecureStreamSocket::attach(socket, url.host, tls_));
}

std::unique_ptr<WebhookConnection> IdleConnections::take(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto oldest = Clock::now() - kKeepIdle;
  std::erase_if(entries_, [&](const Entry& entry) { return entry.since < oldest; });
  const auto found = std::ranges::find(entries_, key, &Entry::key);
  if (found == entries_.end()) return nullptr;
  auto connection = std::move(found->connection);
  entries_.erase(found);
  return connection->still_quiet() ? std::move(connection) : nullptr;
}

void IdleConnections::keep(const std::string& key, std::unique_ptr<WebhookConnection> connection) {
  const std::lock_guard lock(mutex_);
  if (entries_.size() >= kMaxIdle) entries_.pop_front();
  entries_.push_back({key, Clock::now(), std::move(connection)});
}

}  // namespace gamepicker
