#pragma once

#include <chrono>
#include <list>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include <Poco/Net/HTTPClientSession.h>

#include "relay/resolver.hpp"
#include "relay/watchdog.hpp"
#include "relay/webhook_sender.hpp"
#include "relay/webhook_socket.hpp"
#include "shared/address_guard.hpp"
#include "shared/webhook_url.hpp"

/// The sender's connections; included by the sender's own files and their tests only.
namespace gamepicker {

/// No connection came about, or it ended before an answer. what() is for the delivery log.
struct ConnectError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// One open connection, plain or TLS. Poco's session would resolve and connect again by itself, past the address guard;
/// this one uses the socket it was given and no other.
class WebhookConnection : public Poco::Net::HTTPClientSession {
 public:
  /// Takes a connected, blocking descriptor; `peer` is its address, numeric.
  WebhookConnection(int descriptor, std::string peer);
  ~WebhookConnection() override;

  /// Verifies the certificate for `host`. Throws TlsError, also when the deadline has passed.
  void start_tls(const Poco::Net::Context::Ptr& context, const std::string& host, Watchdog& watchdog,
                 std::chrono::steady_clock::time_point deadline);
  /// An exchange of at most `limit` bytes of answer begins. Reads and writes end with the deadline, roughly: the
  /// watchdog, who watches descriptor(), is exact.
  void begin(std::size_t limit, std::chrono::steady_clock::time_point deadline);

  int descriptor() const { return handle_.descriptor(); }
  const std::string& peer() const { return peer_; }
  const Intake& intake() const { return *intake_; }
  /// Whether the whole request went out, the connection is open and all that came was asked for.
  bool clean() const { return !cut_off_ && !intake_->ended && !intake_->full() && buffered() == 0; }
  /// Whether the peer has neither closed an idle connection nor sent what nobody asked for.
  bool still_quiet();

 protected:
  int write(const char* buffer, std::streamsize length) override;
  void connect(const Poco::Net::SocketAddress& address) override;

 private:
  WebhookConnection(int descriptor, std::string peer, std::shared_ptr<Intake> intake);

  const std::string peer_;
  const std::shared_ptr<Intake> intake_;
  SocketHandle handle_;
  std::chrono::steady_clock::time_point deadline_;
  bool tls_ = false;
  bool cut_off_ = false;  ///< the peer did not wait for the whole request
};

/// Those that may be connected to. Throws ConnectError with the reason when there is none.
std::vector<ResolvedAddress> judged(std::vector<ResolvedAddress> addresses, const AddressPolicy& policy);

/// Opens connections to judged addresses. Thread-safe.
class WebhookConnector {
 public:
  /// Throws ConfigError.
  WebhookConnector(const Config& config, Watchdog& watchdog)
      : policy_(config), tls_(webhook_tls_context(config.webhook_ca_file)), watchdog_(watchdog) {}

  /// Resolves once, judges every address, connects to one that passed, within the deadline and, for https, with a
  /// certificate verified for the URL's host. `phases` are noted as each ends, `peer` as soon as one is connected to.
  /// Throws ConnectError, ResolveError or TlsError.
  std::unique_ptr<WebhookConnection> open(const WebhookUrl& url, std::chrono::steady_clock::time_point deadline,
                                          AttemptPhases& phases, std::string& peer);

 private:
  const AddressPolicy policy_;
  const Poco::Net::Context::Ptr tls_;
  Watchdog& watchdog_;
  Resolver resolver_;
};

/// Connections kept for the next delivery to the same place, for less than receivers commonly keep them (5 s).
/// Bounded: the one unused for longest makes room. Thread-safe.
class IdleConnections {
 public:
  /// Each is two descriptors and, over TLS, 34 kB of buffers (SSL_CTX_set_mode(3)). With fewer than there are webhooks
  /// with a backlog, each of their deliveries would connect anew.
  static constexpr std::size_t kMost = 1024;

  explicit IdleConnections(std::size_t most = kMost) : most_(most) {}

  std::unique_ptr<WebhookConnection> take(const std::string& key);
  void keep(const std::string& key, std::unique_ptr<WebhookConnection> connection);

 private:
  struct Entry {
    std::string key;
    std::chrono::steady_clock::time_point since;
    std::unique_ptr<WebhookConnection> connection;
  };
  using Entries = std::list<Entry>;
  void move_oldest(Entries& target);

  const std::size_t most_;
  std::mutex mutex_;
  Entries entries_;  ///< oldest first
  std::unordered_multimap<std::string, Entries::iterator> by_key_;
};

}  // namespace gamepicker
