#pragma once

#include <string>
#include <vector>

#include "relay/database.hpp"
#include "relay/feed.hpp"
#include "relay/relay_events.hpp"
#include "relay/worker.hpp"
#include "shared/nudge.hpp"

namespace gamepicker {

/// Writes the events that clients make, several in a transaction, in a thread and over a session of its own. The sender
/// is answered after the COMMIT.
class ClientEventWriter final : public ClientEvents {
 public:
  /// All outlive it.
  ClientEventWriter(const Config& config, Feed& feed, const WantedRelayEvents& wanted, Counter& database_errors);

  void start();
  /// What was not answered may or may not be written.
  void stop() { worker_.stop(); }

  bool write(ClientEvent event) override;

 private:
  void run();
  std::vector<ClientEvent> wait_for_events();
  void write_all(const std::vector<ClientEvent>& events);
  /// The error for the client; empty when it is written.
  std::string write_one(const ClientEvent& event);
  void tell_webhooks(const ClientEvent& event);

  Feed& feed_;
  const WantedRelayEvents& wanted_;
  Database database_;
  Nudge nudge_;
  std::vector<ClientEvent> events_;
  std::size_t bytes_ = 0;  ///< of their bodies
  Worker worker_;          ///< last, so that its thread ends first
};

}  // namespace gamepicker
