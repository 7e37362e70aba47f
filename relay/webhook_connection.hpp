#pragma once

#include <chrono>
#include <list>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>

#include <Poco/Net/Context.h>
#include <Poco/Net/HTTPClientSession.h>

#include "relay/resolver.hpp"
#include "relay/watchdog.hpp"
#include "shared/address_guard.hpp"
#include "shared/webhook_url.hpp"

/// The sender's connections: the one header that shows Poco Net, included by the sender's own files only.
namespace gamepicker {

/// No connection came about. what() is for the delivery log.
struct ConnectError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// One open connection. Poco's session would resolve and connect again by itself, past the address guard; this one
/// uses the socket it was given and no other.
class WebhookConnection : public Poco::Net::HTTPClientSession {
 public:
  explicit WebhookConnection(const Poco::Net::StreamSocket& socket);

  int descriptor() const { return handle_.descriptor(); }  ///< for the watchdog
  /// Whether the peer has neither closed an idle connection nor sent what nobody asked for.
  bool still_quiet() const;

 protected:
  void connect(const Poco::Net::SocketAddress& address) override;
  int read(char* buffer, std::streamsize length) override;

 private:
  SocketHandle handle_;
};

/// Opens connections to judged addresses. Thread-safe.
class WebhookConnector {
 public:
  WebhookConnector(AddressPolicy policy, Watchdog& watchdog);

  /// Resolves once, judges every address, connects to one that passed, within the deadline and, for https, with a
  /// certificate verified for the URL's host. Throws ConnectError, ResolveError or Poco's exceptions.
  std::unique_ptr<WebhookConnection> open(const WebhookUrl& url, std::chrono::steady_clock::time_point deadline);

 private:
  const AddressPolicy policy_;
  Watchdog& watchdog_;
  Resolver resolver_;
  Poco::Net::Context::Ptr tls_;
};

/// Connections kept for the next delivery to the same place, for less than receivers commonly keep them (5 s).
/// Bounded; thread-safe.
class IdleConnections {
 public:
  std::unique_ptr<WebhookConnection> take(const std::string& key);
  void keep(const std::string& key, std::unique_ptr<WebhookConnection> connection);

 private:
  struct Entry {
    std::string key;
    std::chrono::steady_clock::time_point since;
    std::unique_ptr<WebhookConnection> connection;
  };
  std::mutex mutex_;
  std::list<Entry> entries_;  ///< oldest first
};

}  // namespace gamepicker
