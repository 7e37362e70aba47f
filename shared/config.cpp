#include "shared/config.hpp"

#include <array>
#include <charconv>
#include <cstdlib>
#include <fstream>

#include "shared/address_guard.hpp"
#include "shared/clock.hpp"
#include "shared/log.hpp"

namespace gamepicker {
namespace {

constexpr std::uint64_t kDay = 86'400'000;

const std::array kKeys = {
    ConfigKey{"ADMIN_KEY", &Config::admin_key, 12, 1000},
    ConfigKey{"ADMIN_CONFIG", &Config::admin_config, 1, 4096},
    ConfigKey{"JWT_SECRET", &Config::jwt_secret, 32, 1000},  // RFC 7518, section 3.2: at least the hash's size
    ConfigKey{"SECRET_KEY", &Config::secret_key, 64, 64},
    ConfigKey{"DB_SOCKET", &Config::db_socket, 1, 107},
    ConfigKey{"DB_HOST", &Config::db_host, 1, 253},
    ConfigKey{"DB_PORT", &Config::db_port, 1, 65535},
    ConfigKey{"DB_NAME", &Config::db_name, 1, 64},
    ConfigKey{"DB_USER", &Config::db_user, 1, 80},
    ConfigKey{"DB_PASSWORD", &Config::db_password, 1, 1000},
    ConfigKey{"HANDLER_SOCKETS", &Config::handler_sockets, 1, 90},
    ConfigKey{"HANDLER_WORKERS", &Config::handler_workers, 0, 256},
    ConfigKey{"MAX_BODY_BYTES", &Config::max_body_bytes, 1024, 16'777'216},
    ConfigKey{"CORS_ORIGIN", &Config::cors_origin, 1, 255},
    ConfigKey{"RELAY_SOCKET", &Config::relay_socket, 1, 107},
    ConfigKey{"RELAY_LISTEN", &Config::relay_listen, 3, 255},
    ConfigKey{"RELAY_PROXIES", &Config::relay_proxies, 2, 4096},
    ConfigKey{"RELAY_NUDGE", &Config::relay_nudge, 1, 4096},
    ConfigKey{"RELAY_NUDGE_BIND", &Config::relay_nudge_bind, 1, 255},
    ConfigKey{"RELAY_OPS_LISTEN", &Config::relay_ops_listen, 1, 255},
    ConfigKey{"RELAY_FAILPOINT", &Config::relay_failpoint, 1, 64},
    ConfigKey{"RELAY_MAX_CONNECTIONS", &Config::relay_max_connections, 1, 1'000'000},
    ConfigKey{"RELAY_MAX_CONNECTIONS_PER_ADDRESS", &Config::relay_max_connections_per_address, 1, 1'000'000},
    ConfigKey{"RELAY_MAX_QUEUE_BYTES", &Config::relay_max_queue_bytes, 65'536, 1'073'741'824},
    ConfigKey{"RELAY_MAX_QUEUE_AGE", &Config::relay_max_queue_age, 100, kDay},
    ConfigKey{"RELAY_AUTH_TIMEOUT", &Config::relay_auth_timeout, 100, kDay},
    ConfigKey{"RELAY_PING_AFTER", &Config::relay_ping_after, 100, kDay},
    ConfigKey{"RELAY_IDLE_TIMEOUT", &Config::relay_idle_timeout, 200, kDay},
    ConfigKey{"WEBHOOK_ALLOW_PRIVATE", &Config::webhook_allow_private, 0, 1},
    ConfigKey{"WEBHOOK_ALLOW_NETWORKS", &Config::webhook_allow_networks, 2, 4096},
    ConfigKey{"WEBHOOK_CA_FILE", &Config::webhook_ca_file, 1, 4096},
    ConfigKey{"WEBHOOK_RETRY_SCHEDULE", &Config::webhook_retry_schedule, 1, 30 * kDay},
    ConfigKey{"WEBHOOK_TIMEOUT", &Config::webhook_timeout, 100, 30'000},
    ConfigKey{"WEBHOOK_WORKERS", &Config::webhook_workers, 1, 1024},
    ConfigKey{"WEBHOOK_DISABLE_AFTER", &Config::webhook_disable_after, 1'000, 365 * kDay},
    ConfigKey{"RETENTION_EVENTS", &Config::retention_events, 60'000, 3650 * kDay},
    ConfigKey{"RETENTION_EVENTS_PER_CHANNEL", &Config::retention_events_per_channel, 1, 10'000'000},
    ConfigKey{"RETENTION_WEBHOOK_LOGS", &Config::retention_webhook_logs, 60'000, 3650 * kDay},
    ConfigKey{"RETENTION_CHAT", &Config::retention_chat, 60'000, 3650 * kDay},
    ConfigKey{"LIMIT_REQUESTS_PER_SECOND", &Config::limit_requests_per_second, 1, 1'000'000},
    ConfigKey{"LIMIT_LOGINS_PER_MINUTE", &Config::limit_logins_per_minute, 1, 1'000'000},
    ConfigKey{"LIMIT_HANDSHAKES_PER_MINUTE", &Config::limit_handshakes_per_minute, 1, 1'000'000},
    ConfigKey{"LIMIT_CONNECTIONS_PER_ADDRESS", &Config::limit_connections_per_address, 1, 1'000'000},
    ConfigKey{"LOG_LEVEL", &Config::log_level, 1, 16},
};

[[noreturn]] void fail(const ConfigKey& key, const std::string& what) {
  throw ConfigError(std::string(key.name) + " " + what);
}

std::string range(const ConfigKey& key) {
  return std::to_string(key.min) + " to " + std::to_string(key.max);
}

/// One overload a type of setting; each throws ConfigError naming the key.
struct Setter {
  const ConfigKey& key;
  Config& config;
  std::string_view text;

  void operator()(std::string Config::*member) const {
    if (!text.empty() && (text.size() < key.min || text.size() > key.max))
      fail(key, "must have " + range(key) + " characters");
    config.*member = text;
  }
  void operator()(bool Config::*member) const {
    if (text != "true" && text != "false") fail(key, "must be true or false");
    config.*member = text == "true";
  }
  void operator()(std::uint64_t Config::*member) const {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size() || number < key.min || number > key.max) {
      fail(key, "must be a whole number from " + range(key));
    }
    config.*member = number;
  }
  void operator()(Config::Milliseconds Config::*member) const { config.*member = duration(text); }
  void operator()(Config::Durations Config::*member) const {
    Config::Durations durations;
    for (std::string_view rest = text;;) {
      const auto comma = rest.find(',');
      durations.push_back(duration(rest.substr(0, comma)));
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
    if (durations.size() > 50) fail(key, "must have at most 50 steps");
    config.*member = std::move(durations);
  }

  Config::Milliseconds duration(std::string_view part) const {
    const auto parsed = parse_duration(part);
    if (!parsed || static_cast<std::uint64_t>(parsed->count()) < key.min ||
        static_cast<std::uint64_t>(parsed->count()) > key.max) {
      fail(key, "must be a time such as 500ms, 5s, 30m or 2h, in milliseconds from " + range(key));
    }
    return *parsed;
  }
};

void set(Config& config, const ConfigKey& key, std::string_view text) {
  std::visit(Setter{key, config, text}, key.member);
}

const ConfigKey* find_key(std::string_view name) {
  for (const ConfigKey& key : kKeys) {
    if (name == key.name) return &key;
  }
  return nullptr;
}

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

void read_file(Config& config, const std::string& file) {
  std::ifstream in(file);
  if (!in) throw ConfigError("cannot read the configuration file " + file);
  std::string line;
  for (int number = 1; std::getline(in, line); ++number) {
    const std::string_view text = trim(line);
    if (text.empty() || text.front() == '#') continue;
    const std::string where = file + ":" + std::to_string(number) + ": ";
    const auto equals = text.find('=');
    if (equals == std::string_view::npos) throw ConfigError(where + "expected KEY=value");
    const std::string_view name = trim(text.substr(0, equals));
    const ConfigKey* key = find_key(name);
    if (key == nullptr) throw ConfigError(where + "unknown key " + std::string(name));
    try {
      set(config, *key, trim(text.substr(equals + 1)));
    } catch (const ConfigError& error) {
      throw ConfigError(where + error.what());
    }
  }
}

std::string duration_text(Config::Milliseconds duration) {
  const auto count = duration.count();
  if (count % static_cast<std::int64_t>(kDay) == 0)
    return std::to_string(count / static_cast<std::int64_t>(kDay)) + "d";
  if (count % 3'600'000 == 0) return std::to_string(count / 3'600'000) + "h";
  if (count % 60'000 == 0) return std::to_string(count / 60'000) + "m";
  if (count % 1000 == 0) return std::to_string(count / 1000) + "s";
  return std::to_string(count) + "ms";
}

struct Printer {
  const Config& config;
  std::string operator()(std::string Config::*member) const { return config.*member; }
  std::string operator()(bool Config::*member) const { return config.*member ? "true" : "false"; }
  std::string operator()(std::uint64_t Config::*member) const { return std::to_string(config.*member); }
  std::string operator()(Config::Milliseconds Config::*member) const { return duration_text(config.*member); }
  std::string operator()(Config::Durations Config::*member) const {
    std::string text;
    for (const auto duration : config.*member) text += (text.empty() ? "" : ",") + duration_text(duration);
    return text;
  }
};

}  // namespace

std::span<const ConfigKey> config_keys() {
  return kKeys;
}

std::string config_text(const Config& config, const ConfigKey& key) {
  return std::visit(Printer{config}, key.member);
}

Config Config::load(const std::string& file, bool use_environment) {
  Config config;
  if (!file.empty()) read_file(config, file);
  if (use_environment) {
    for (const ConfigKey& key : kKeys) {
      if (const char* value = std::getenv(key.name)) set(config, key, value);
    }
  }
  try {
    parse_log_level(config.log_level);
  } catch (const std::invalid_argument& error) {
    throw ConfigError(std::string("LOG_LEVEL ") + error.what());
  }
  parse_networks("WEBHOOK_ALLOW_NETWORKS", config.webhook_allow_networks);  // throws
  if (config.relay_ping_after >= config.relay_idle_timeout) {
    throw ConfigError("RELAY_PING_AFTER must be shorter than RELAY_IDLE_TIMEOUT");
  }
  return config;
}

void Config::require_secrets() const {
  if (jwt_secret.empty()) throw ConfigError("JWT_SECRET is not set");
  if (secret_key.empty()) throw ConfigError("SECRET_KEY is not set");
  if (secret_key.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos) {
    throw ConfigError("SECRET_KEY must be 64 hexadecimal digits");
  }
  if (admin_key.empty() && admin_config.empty()) throw ConfigError("neither ADMIN_KEY nor ADMIN_CONFIG is set");
}

std::string config_file_argument(int argc, const char* const* argv) {
  if (argc == 1) return {};
  if (argc != 3 || std::string_view(argv[1]) != "--config") throw ConfigError("the only argument is --config FILE");
  return argv[2];
}

}  // namespace gamepicker
