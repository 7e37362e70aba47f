#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace gamepicker {

/// A key is unknown, malformed or missing. what() names the key and, for a file, the line; never a secret's value.
struct ConfigError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Every setting of both programs and of what deploy/ makes for nginx. One member a key; the table in config.cpp gives
/// each its name, range and meaning, and deploy/gamepicker.conf.example documents them (a test compares the two).
struct Config {
  using Milliseconds = std::chrono::milliseconds;
  using Durations = std::vector<Milliseconds>;

  std::string admin_key;
  std::string admin_config;
  std::string jwt_secret;
  std::string secret_key;

  std::string db_socket;
  std::string db_host = "127.0.0.1";
  std::uint64_t db_port = 3306;
  std::string db_name = "gamepicker";
  std::string db_user = "gamepicker";
  std::string db_password;

  std::string handler_sockets = "/run/gamepicker";
  std::uint64_t handler_workers = 0;
  std::uint64_t max_body_bytes = 1048576;
  std::string cors_origin = "*";

  std::string relay_socket = "/run/gamepicker/relay.sock";
  std::string relay_listen;
  std::string relay_proxies;
  std::string relay_nudge = "/run/gamepicker/nudge.sock";
  std::string relay_nudge_bind;
  std::string relay_ops_listen;
  std::string relay_failpoint;
  std::uint64_t relay_max_connections = 10000;
  std::uint64_t relay_max_connections_per_address = 50;
  std::uint64_t relay_max_queue_bytes = 1048576;
  Milliseconds relay_max_queue_age{15'000};
  Milliseconds relay_auth_timeout{10'000};
  Milliseconds relay_ping_after{25'000};
  Milliseconds relay_idle_timeout{60'000};

  bool webhook_allow_private = false;
  std::string webhook_allow_networks;
  std::string webhook_ca_file;
  Durations webhook_retry_schedule{Milliseconds{5'000},     Milliseconds{300'000},    Milliseconds{1'800'000},
                                   Milliseconds{7'200'000}, Milliseconds{18'000'000}, Milliseconds{36'000'000},
                                   Milliseconds{36'000'000}};
  Milliseconds webhook_timeout{5'000};
  std::uint64_t webhook_workers = 32;
  Milliseconds webhook_disable_after{432'000'000};

  Milliseconds retention_events{604'800'000};
  std::uint64_t retention_events_per_channel = 10000;
  Milliseconds retention_webhook_logs{2'592'000'000};
  Milliseconds retention_chat{31'536'000'000};

  std::uint64_t limit_requests_per_second = 50;
  std::uint64_t limit_logins_per_minute = 10;
  std::uint64_t limit_handshakes_per_minute = 60;
  std::uint64_t limit_connections_per_address = 100;

  std::string log_level = "info";

  /// Defaults, then `file` (none when empty), then the environment when asked for: it wins. Throws ConfigError.
  static Config load(const std::string& file, bool use_environment);

  /// What the programs cannot start without: JWT_SECRET, SECRET_KEY, and ADMIN_KEY or ADMIN_CONFIG. Throws
  /// ConfigError naming the missing key.
  void require_secrets() const;
};

/// One line of the table of settings.
struct ConfigKey {
  using Member = std::variant<std::string Config::*, bool Config::*, std::uint64_t Config::*,
                              Config::Milliseconds Config::*, Config::Durations Config::*>;
  const char* name;
  Member member;
  std::uint64_t min;  ///< for numbers; for durations in milliseconds; for text the shortest length when given
  std::uint64_t max;
};

std::span<const ConfigKey> config_keys();

/// The value as the example file writes it: "5s,5m" for durations, "true" for flags.
std::string config_text(const Config& config, const ConfigKey& key);

/// FILE of a program whose only argument is `--config FILE`, or empty. Throws ConfigError for any other argument.
std::string config_file_argument(int argc, const char* const* argv);

}  // namespace gamepicker
