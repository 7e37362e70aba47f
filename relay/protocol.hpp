#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "relay/client.hpp"
#include "shared/config.hpp"
#include "shared/tokens.hpp"

namespace gamepicker {

class ClientReports;
class Hub;
class JsonObject;
struct StreamRequest;

/// What a client's messages mean. Used by the I/O thread alone.
class Protocol {
 public:
  /// All but `config` outlive it.
  Protocol(const Config& config, Hub& hub, ClientEvents& client_events, ClientReports& reports);

  /// The upgrade is done; `token` came with it.
  void opened(Client& client, const std::optional<std::string>& token, SteadyTime now);

  /// It asked for an event stream: authenticates it and subscribes it to the one channel it names, or refuses it.
  void opened_stream(Client& client, const StreamRequest& request, SteadyTime now);

  void message(Client& client, std::string_view text, SteadyTime now);

  /// Counts a control frame against the message limit; false when it is to be ignored.
  bool allow_control(Client& client, SteadyTime now);

  /// When the present authentication, or the time to get one, ends.
  SteadyTime authentication_ends(const Client& client) const;
  /// That time has come.
  void authentication_ended(Client& client);

  /// The answer to a client's event; empty when it asked for none.
  static std::string written(const ClientEventResult& result);

 private:
  struct Command;
  static const Command kCommands[];

  void dispatch(Client& client, const JsonObject& message, const std::string& ack, SteadyTime now);
  void authenticate(Client& client, const std::optional<std::string>& token, const std::string& ack, SteadyTime now);
  void leave_forbidden(Client& client);
  static void accept(Client& client, const Claims& claims, SteadyTime now);
  void on_auth(Client& client, const JsonObject& message, const std::string& ack, SteadyTime now);
  void on_ping(Client& client, const JsonObject& message, const std::string& ack, SteadyTime now);
  void on_subscribe(Client& client, const JsonObject& message, const std::string& ack, SteadyTime now);
  void on_subscribe_batch(Client& client, const JsonObject& message, const std::string& ack, SteadyTime now);
  void on_unsubscribe(Client& client, const JsonObject& message, const std::string& ack, SteadyTime now);
  void on_client_event(Client& client, const JsonObject& message, const std::string& ack, SteadyTime now);
  void on_poll_leading(Client& client, const JsonObject& message, const std::string& ack, SteadyTime now);
  void subscribe(Client& client, Subscribe subscribe);
  void write(Client& client, ClientEvent event, const std::string& ack);

  Hub& hub_;
  ClientEvents& client_events_;
  ClientReports& reports_;
  TokenAuthority tokens_;
  std::chrono::milliseconds auth_timeout_;
  std::chrono::seconds activity_timeout_;
};

}  // namespace gamepicker
