#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>

#include <poll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "relay/client_event_writer.hpp"
#include "relay/database.hpp"
#include "relay/echo.hpp"
#include "relay/event_reader.hpp"
#include "relay/history_reader.hpp"
#include "relay/io_loop.hpp"
#include "relay/mailbox.hpp"
#include "relay/metrics.hpp"
#include "relay/ops_server.hpp"
#include "relay/poll_ender.hpp"
#include "relay/presence_keeper.hpp"
#include "relay/relay_event_writer.hpp"
#include "relay/retention.hpp"
#include "relay/webhook_recovery.hpp"
#include "relay/webhook_service.hpp"
#include "shared/config.hpp"
#include "shared/log.hpp"

namespace {

using namespace gamepicker;

constexpr int kExitConfiguration = 78;  // EX_CONFIG of sysexits.h: starting again will not help

/// Blocks the signals that end the program in this and every later thread, and makes them readable.
int stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  const int descriptor = ::signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
  if (descriptor < 0) throw std::system_error(errno, std::generic_category(), "signalfd");
  return descriptor;
}

/// One descriptor a client: as many as we may have.
void raise_descriptor_limit(std::uint64_t wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < wanted) {
    log_warning("only " + std::to_string(limit.rlim_cur) + " open files allowed, fewer than RELAY_MAX_CONNECTIONS");
  }
}

/// A database at another version is not ours; one that is not there yet will come.
void check_schema(const Config& config) {
  try {
    Database(config).connect();
  } catch (const SchemaMismatch&) {
    throw;
  } catch (const DatabaseError& error) {
    log_warning(std::string("starting without the database: ") + error.what());
  }
}

/// The loop in its own thread, so that all parts can stop at the same time. An error of it ends the program.
class LoopThread {
 public:
  explicit LoopThread(IoLoop& loop) : thread_([this, &loop] { run(loop); }) {}

  /// Waits for its end. Throws std::runtime_error when an error ended it.
  void join() {
    thread_.join();
    if (!error_.empty()) throw std::runtime_error("I/O loop: " + error_);
  }

 private:
  void run(IoLoop& loop) {
    try {
      loop.run();
    } catch (const std::exception& error) {
      error_ = error.what();
      ::kill(::getpid(), SIGTERM);  // wakes whoever waits for the signal
    }
  }

  std::string error_;
  std::thread thread_;
};

void wait_readable(int descriptor) {
  pollfd waiting{descriptor, POLLIN, 0};
  while (::poll(&waiting, 1, -1) < 0 && errno == EINTR) continue;
}

void run(const Config& config) {
  const int stop = stop_signals();
  raise_descriptor_limit(config.relay_max_connections);
  check_schema(config);

  Metrics metrics;
  std::optional<OpsServer> ops;
  if (!config.relay_ops_listen.empty()) ops.emplace(config.relay_ops_listen, metrics);
  Mailbox mailbox;
  WebhookService webhooks(config, metrics.webhooks);
  WebhookRecovery recovery(
      config, [&webhooks] { webhooks.wake(); }, metrics.recovery_errors);
  WantedRelayEvents wanted;
  RelayEventWriter relay_events(config, wanted, metrics.relay_events);
  const auto on_activity = [&] {
    webhooks.wake();
    recovery.wake();
    relay_events.wake();
  };
  EventReader reader(config, mailbox, on_activity, metrics.reader);
  HistoryReader history(config, mailbox, metrics.history_errors);
  ClientEventWriter client_events(config, mailbox, wanted, metrics.client_event_errors);
  PresenceKeeper presence(config, mailbox, wanted, metrics.presence_errors);
  IoLoop loop(config, mailbox, {reader, history, client_events, presence, relay_events}, metrics.io, stop);
  PollEnder polls(config, metrics.poll_errors);
  Retention retention(config, metrics.retention_errors);

  if (ops) ops->start();
  webhooks.start();
  recovery.start();
  relay_events.start();
  reader.start();
  history.start();
  client_events.start();
  presence.start();
  polls.start();
  retention.start();
  LoopThread loop_thread(loop);
  log_info("listening on " + config.relay_socket);

  wait_readable(stop);  // the loop sees it too, and says goodbye to its clients meanwhile
  metrics.draining = true;
  webhooks.stop();
  loop_thread.join();
  relay_events.stop();  // first: it tells of the goodbyes, and has not long
  retention.stop();
  polls.stop();
  presence.stop();
  client_events.stop();
  history.stop();
  reader.stop();
  recovery.stop();
  if (ops) ops->stop();
  log_info("stopped");
  ::close(stop);
}

std::uint16_t parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) throw ConfigError("--echo needs a port");
  return port;
}

}  // namespace

int main(int argc, char** argv) {
  configure_log("relay", LogLevel::info);
  try {
    if (argc == 3 && std::string_view(argv[1]) == "--echo") {
      serve_echo(parse_port(argv[2]), stop_signals());
      return EXIT_SUCCESS;
    }
    const Config config = Config::load(config_file_argument(argc, argv), true);
    config.require_secrets();
    configure_log("relay", parse_log_level(config.log_level));
    run(config);
    return EXIT_SUCCESS;
  } catch (const ConfigError& error) {
    log_error(error.what());
    return kExitConfiguration;
  } catch (const SchemaMismatch& error) {
    log_error(error.what());
    return kExitConfiguration;
  } catch (const std::invalid_argument& error) {  // a setting that only its user can judge
    log_error(error.what());
    return kExitConfiguration;
  } catch (const std::exception& error) {
    log_error(error.what());
    return EXIT_FAILURE;
  }
}
