#pragma once

#include <string>

#include "relay/client.hpp"
#include "relay/relay_events.hpp"

namespace gamepicker {

/// Tells webhooks what becomes of clients. A client counts from its authentication on, an event stream from the answer
/// that begins it: who never gets so far is not told of, neither coming nor going. The end of a connection ends its
/// subscriptions without a word. Used by the I/O thread alone.
class ClientReports {
 public:
  /// `events` outlives it.
  explicit ClientReports(RelayEvents& events) : events_(events) {}

  // Each is told once, however often these are called.

  void connected(Client& client);
  void subscribed(Client& client, Membership& membership, const Subscribe& subscribe);
  /// It leaves the channel, and stays.
  void unsubscribed(const Client& client, Membership& membership);
  void disconnected(Client& client);

 private:
  RelayEvents& events_;
};

}  // namespace gamepicker
