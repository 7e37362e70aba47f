#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "relay/client.hpp"
#include "shared/config.hpp"
#include "shared/tokens.hpp"

namespace gamepicker {

class Hub;
class JsonObject;

/// What a client's messages mean. Used by the I/O thread alone.
class Protocol {
 public:
  /// `hub` outlives it.
  Protocol(const Config& config, Hub& hub);

  /// The upgrade is done; `token` came with it.
  void opened(Client& client, const std::optional<std::string>& token, SteadyTime now);

  void message(Client& client, std::string_view text, SteadyTime now);

  /// Counts a control frame against the message limit; false when it is to be ignored.
  bool allow_control(Client& client, SteadyTime now);

  /// When the present authentication, or the time to get one, ends.
  SteadyTime authentication_ends(const Client& client) const;
  /// That time has come.
  void authentication_ended(Client& client);

 private:
  struct Command;
  static const Command kCommands[];

  void dispatch(Client& client, const JsonObject& message, const std::string& ack, SteadyTime now);
  void authenticate(Client& client, const std::optional<std::string>& token, const std::string& ack, SteadyTime now);
  void on_auth(Client& client, const JsonObject& message, const std::string& ack, SteadyTime now);
  void on_ping(Client& client, const JsonObject& message, const std::string& ack, SteadyTime now);
  void on_subscribe(Client& client, const JsonObject& message, const std::string& ack, SteadyTime now);
  void on_unsubscribe(Client& client, const JsonObject& message, const std::string& ack, SteadyTime now);

  Hub& hub_;
  TokenAuthority tokens_;
  std::chrono::milliseconds auth_timeout_;
  std::chrono::seconds activity_timeout_;
};

}  // namespace gamepicker
