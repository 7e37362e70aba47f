#include <exception>
#include <filesystem>
#include <string>
#include <string_view>
#include <thread>

#include <sysexits.h>
#include <unistd.h>

#include "handlers/api.hpp"
#include "handlers/dispatch.hpp"
#include "handlers/prefork.hpp"
#include "handlers/transport.hpp"
#include "shared/config.hpp"
#include "shared/log.hpp"
#include "shared/schema.hpp"

namespace gamepicker {
namespace {

struct Arguments {
  std::string config_file;
  std::string resource;  ///< empty serves everything
  bool check = false;    ///< only look at the configuration
};

/// `--config FILE`, `--check`, and `--resource games` or the program's own name when it was installed as `games.fcgi`.
/// Throws std::invalid_argument for an argument that is none of ours.
Arguments read_arguments(int argc, char** argv) {
  Arguments arguments;
  const std::filesystem::path name = std::filesystem::path(argv[0]).filename();
  if (name.extension() == ".fcgi" || name.extension() == ".cgi") arguments.resource = name.stem().string();
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--check") {
      arguments.check = true;
    } else if (option == "--config" && i + 1 < argc) {
      arguments.config_file = argv[++i];
    } else if (option == "--resource" && i + 1 < argc) {
      arguments.resource = argv[++i];
    } else {
      throw std::invalid_argument("usage: handler --config FILE [--resource NAME] [--check]");
    }
  }
  return arguments;
}

/// Plain CGI: the environment belongs to the web server, so only the file counts, and without an argument it lies
/// beside the program.
Config cgi_config(const Arguments& arguments, const char* program) {
  std::string file = arguments.config_file;
  if (file.empty()) file = (std::filesystem::path(program).parent_path() / "gamepicker.conf").string();
  return Config::load(file, false);
}

unsigned worker_count(const Config& config) {
  // Two for each core: one can wait for the database while the other computes; more only add latency.
  if (config.handler_workers == 0) return 2 * std::max(1U, std::thread::hardware_concurrency());
  return static_cast<unsigned>(config.handler_workers);
}

/// A database that is away is waited for by answering 503; one at another schema version is a mistake to be told.
void check_schema(Api& api) {
  try {
    const int version = api.database.schema_version();
    if (version != kSchemaVersion) {
      throw ConfigError("the database schema is at version " + std::to_string(version) + ", this program needs " +
                        std::to_string(kSchemaVersion) + ": run sql/migrate");
    }
  } catch (const db::Unavailable& error) {
    log_warning(std::string("starting without the database: ") + error.what());
  } catch (const db::Error& error) {
    throw ConfigError(std::string("cannot read the schema version (run sql/migrate): ") + error.what());
  }
}

/// The dispatcher as the transport sees it.
Service service_of(Dispatcher& dispatcher) {
  return {[&](const Request& request) { return dispatcher.max_body_bytes(request); },
          [&](Request& request) { return dispatcher.handle(request); },
          [&](const Request& request, Response& response) { dispatcher.add_common_headers(request, response); }};
}

int run_worker(const Config& config, const std::string& resource, int listen_socket) {
  Api api(config);
  Dispatcher dispatcher(api, resource);
  serve_fastcgi(listen_socket, service_of(dispatcher));
  return 0;
}

int run(int argc, char** argv) {
  const Arguments arguments = read_arguments(argc, argv);
  const std::string& resource = arguments.resource;
  if (is_cgi()) {
    const Config config = cgi_config(arguments, argv[0]);
    configure_log("handler", parse_log_level(config.log_level));
    Api api(config);
    Dispatcher dispatcher(api, resource);
    serve_cgi(service_of(dispatcher));
    return 0;
  }
  const Config config = Config::load(arguments.config_file, true);
  configure_log(resource.empty() ? "handler" : "handler-" + resource, parse_log_level(config.log_level));
  routes_of(resource);  // refuses an unknown name
  {
    Api api(config);
    if (arguments.check) return 0;
    check_schema(api);
  }  // its connection must not be shared with the workers
  const std::string name = resource.empty() ? "handler" : resource;
  const int listen_socket = listen_on(config.handler_sockets + "/" + name + ".sock");
  log_info("serving " + name);
  return run_prefork(worker_count(config), [&] { return run_worker(config, resource, listen_socket); });
}

}  // namespace
}  // namespace gamepicker

int main(int argc, char** argv) {
  try {
    return gamepicker::run(argc, argv);
  } catch (const gamepicker::ConfigError& error) {
    gamepicker::log_error(error.what());
    return EX_CONFIG;
  } catch (const std::invalid_argument& error) {
    gamepicker::log_error(error.what());
    return EX_USAGE;
  } catch (const std::exception& error) {
    gamepicker::log_error(error.what());
    return 1;
  }
}
