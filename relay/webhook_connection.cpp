#include "relay/webhook_connection.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

#include <Poco/Net/NetException.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

namespace gamepicker {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::chrono::seconds kKeepIdle{4};

microseconds since(Clock::time_point start) {
  return std::chrono::duration_cast<microseconds>(Clock::now() - start);
}

milliseconds left_until(Clock::time_point deadline) {
  return std::max(std::chrono::ceil<milliseconds>(deadline - Clock::now()), milliseconds{0});
}

/// What poll() sees of the descriptor by then; 0 when that is nothing.
short wait_until(int descriptor, short events, Clock::time_point deadline) {
  pollfd waiting{descriptor, events, 0};
  int ready = 0;
  do {
    ready = ::poll(&waiting, 1, static_cast<int>(left_until(deadline).count()));
  } while (ready < 0 && errno == EINTR);
  return ready > 0 ? waiting.revents : short{0};
}

/// A second line behind the watchdog: no single read or write waits longer than what is left.
void limit_socket(int descriptor, Clock::time_point deadline) {
  const auto left = std::max(left_until(deadline), milliseconds{1}) + milliseconds{50};
  const timeval limit{static_cast<time_t>(left.count() / 1000), static_cast<suseconds_t>(left.count() % 1000 * 1000)};
  ::setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

void set_blocking(int descriptor, bool on) {
  const int flags = ::fcntl(descriptor, F_GETFL);
  ::fcntl(descriptor, F_SETFL, on ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

/// 0 or the error of one attempt to connect.
int connect_within(int descriptor, const ResolvedAddress& address, Clock::time_point limit) {
  if (::connect(descriptor, &address.get(), address.length) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  if (wait_until(descriptor, POLLOUT, limit) == 0) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
  return error;
}

/// Each address gets its share of what is left, so that a dead first one does not use it all.
std::unique_ptr<WebhookConnection> connect_any(const std::vector<ResolvedAddress>& addresses,
                                               Clock::time_point deadline) {
  int error = ETIMEDOUT;
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const auto now = Clock::now();
    if (now >= deadline) break;
    const int descriptor = ::socket(addresses[i].get().sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) {
      error = errno;
      continue;
    }
    // Before connecting (tcp(7)). The kernel doubles it; grown by itself to megabytes, it would be filled by answers
    // without end.
    const int received_ahead = 64 * 1024;
    ::setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &received_ahead, sizeof received_ahead);
    error = connect_within(descriptor, addresses[i], now + (deadline - now) / static_cast<int>(addresses.size() - i));
    if (error == 0) {
      set_blocking(descriptor, true);
      const int on = 1;
      ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      return std::make_unique<WebhookConnection>(descriptor, addresses[i].text());
    }
    ::close(descriptor);
  }
  throw ConnectError(error == ETIMEDOUT ? "Connection timed out"
                                        : std::string("Connection failed: ") + std::strerror(error));
}

}  // namespace

WebhookConnection::WebhookConnection(int descriptor, std::string peer)
    : WebhookConnection(descriptor, std::move(peer), std::make_shared<Intake>()) {}

WebhookConnection::WebhookConnection(int descriptor, std::string peer, std::shared_ptr<Intake> intake)
    : HTTPClientSession(metered_socket(descriptor, intake)),
      peer_(std::move(peer)),
      intake_(std::move(intake)),
      handle_(descriptor) {
  setKeepAlive(true);
}

WebhookConnection::~WebhookConnection() {
  set_blocking(descriptor(), false);  // TLS says goodbye, but waits for nobody to hear it
}

void WebhookConnection::start_tls(const Poco::Net::Context::Ptr& context, const std::string& host, Watchdog& watchdog,
                                  Clock::time_point deadline) {
  limit_socket(descriptor(), deadline);
  const Watchdog::Guard guard(watchdog, descriptor(), deadline);
  attachSocket(secured_socket(socket(), host, context, intake_));
  tls_ = true;
}

void WebhookConnection::begin(std::size_t limit, Clock::time_point deadline) {
  *intake_ = Intake{};
  intake_->limit = limit;
  deadline_ = deadline;
  limit_socket(descriptor(), deadline);
}

bool WebhookConnection::still_quiet() {
  return wait_until(descriptor(), POLLIN, Clock::now()) == 0 && buffered() == 0 && (!tls_ || socket().available() == 0);
}

/// Poco's would connect again when writing fails. A peer may answer, or close, before it has read everything: then the
/// rest stays here, and what it had to say is read. With TLS nobody can tell an answer from the protocol's own messages
/// before it is read; there only a close is noticed.
int WebhookConnection::write(const char* buffer, std::streamsize length) {
  if (!cut_off_ && !tls_) cut_off_ = wait_until(descriptor(), POLLIN | POLLOUT, deadline_) != POLLOUT;
  if (!cut_off_) {
    try {
      cut_off_ = HTTPSession::write(buffer, length) != length;
    } catch (const Poco::Exception&) {
      clearException();
      cut_off_ = true;
    }
  }
  return static_cast<int>(length);
}

void WebhookConnection::connect(const Poco::Net::SocketAddress& /*address*/) {
  throw Poco::Net::ConnectionResetException("the connection was lost");
}

std::vector<ResolvedAddress> judged(std::vector<ResolvedAddress> addresses, const AddressPolicy& policy) {
  std::string why = "Address not allowed: none found";
  std::erase_if(addresses, [&](const ResolvedAddress& address) {
    const auto refusal = policy.refusal(address.get());
    if (refusal) why = *refusal;
    return refusal.has_value();
  });
  if (addresses.empty()) throw ConnectError(why);
  return addresses;
}

std::unique_ptr<WebhookConnection> WebhookConnector::open(const WebhookUrl& url, Clock::time_point deadline,
                                                          AttemptPhases& phases, std::string& peer) {
  if (const auto why = policy_.literal_refusal(url.host, url.port)) throw ConnectError(*why);
  auto start = Clock::now();
  auto addresses = Resolver::literal(url.host, url.port);
  if (addresses.empty()) {
    addresses = resolver_.resolve(url.host, url.port, deadline);
    phases.dns = since(start);
  }
  addresses = judged(std::move(addresses), policy_);

  start = Clock::now();
  auto connection = connect_any(addresses, deadline);
  phases.connect = since(start);
  peer = connection->peer();
  if (url.secure) {
    start = Clock::now();
    connection->start_tls(tls_, url.host, watchdog_, deadline);
    phases.tls = since(start);
  }
  return connection;
}

std::unique_ptr<WebhookConnection> IdleConnections::take(const std::string& key) {
  Entries expired;  // closed without the lock
  std::unique_ptr<WebhookConnection> connection;
  {
    const std::lock_guard lock(mutex_);
    const auto oldest = Clock::now() - kKeepIdle;
    while (!entries_.empty() && entries_.front().since < oldest) move_oldest(expired);
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) return nullptr;
    connection = std::move(found->second->connection);
    entries_.erase(found->second);
    by_key_.erase(found);
  }
  return connection->still_quiet() ? std::move(connection) : nullptr;
}

void IdleConnections::keep(const std::string& key, std::unique_ptr<WebhookConnection> connection) {
  Entries surplus;
  const std::lock_guard lock(mutex_);
  if (entries_.size() >= most_) move_oldest(surplus);
  entries_.push_back({key, Clock::now(), std::move(connection)});
  by_key_.emplace(key, std::prev(entries_.end()));
}

void IdleConnections::move_oldest(Entries& target) {
  const auto [first, last] = by_key_.equal_range(entries_.front().key);
  by_key_.erase(std::find_if(first, last, [&](const auto& entry) { return entry.second == entries_.begin(); }));
  target.splice(target.end(), entries_, entries_.begin());
}

}  // namespace gamepicker
