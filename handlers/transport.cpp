#include "handlers/transport.hpp"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <system_error>

#include <fcgiapp.h>
#include <malloc.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "shared/log.hpp"
#include "shared/signature.hpp"

namespace gamepicker {
namespace {

/// The two modes differ in where the variables come from and how bytes move; everything else is common.
struct Channel {
  std::function<const char*(const char*)> variable;
  std::function<std::size_t(char*, std::size_t)> read;  ///< fewer bytes than asked for: the input ended
  std::function<bool(const char*, std::size_t)> write;  ///< false: the client is gone
  std::function<void()> abort;  ///< breaks the answer off, so that the client sees that it is not whole
};

std::string variable(const Channel& channel, const char* name) {
  const char* value = channel.variable(name);
  return value == nullptr ? std::string() : std::string(value);
}

/// nginx hands over $request_id; without nginx one is made here. Anything but plain characters is replaced, as the id
/// goes into headers and logs.
std::string request_id(const Channel& channel) {
  std::string id = variable(channel, "REQUEST_ID");
  const bool plain =
      id.find_first_not_of("0123456789abcdefABCDEFghijklmnopqrstuvwxyzGHIJKLMNOPQRSTUVWXYZ-_.") == std::string::npos;
  if (!id.empty() && id.size() <= 64 && plain) return id;
  unsigned char random[16] = {};
  if (::getentropy(random, sizeof random) != 0) return "unknown";
  return to_hex({reinterpret_cast<const char*>(random), sizeof random});
}

/// The path and query as sent: REQUEST_URI where there is one (nginx, Apache), else what plain CGI defines.
void read_target(const Channel& channel, Request& request) {
  std::string target = variable(channel, "REQUEST_URI");
  if (target.empty()) {
    request.path = variable(channel, "PATH_INFO");
    request.query = variable(channel, "QUERY_STRING");
    return;
  }
  // An absolute-form target (RFC 9112, section 3.2.2) names scheme and host first.
  if (!target.starts_with('/')) {
    const auto authority = target.find("://");
    const auto slash = authority == std::string::npos ? authority : target.find('/', authority + 3);
    if (slash != std::string::npos) target.erase(0, slash);
  }
  const auto question = target.find('?');
  request.path = target.substr(0, question);
  if (question != std::string::npos) request.query = target.substr(question + 1);
}

/// Reads the body, or answers why not.
std::optional<Response> read_body(const Channel& channel, std::size_t max_bytes, std::string& body) {
  const std::string text = variable(channel, "CONTENT_LENGTH");
  if (text.empty() || text == "0") return std::nullopt;
  const auto length = parse_positive(text, INT64_MAX);
  if (!length) return error_response(400, "Invalid Content-Length");
  if (static_cast<std::uint64_t>(*length) > max_bytes) return error_response(413, "Request body too large");
  body.resize(static_cast<std::size_t>(*length));
  if (channel.read(body.data(), body.size()) != body.size()) return error_response(400, "Request body is incomplete");
  return std::nullopt;
}

void write_response(const Channel& channel, const Request& request, const Response& response) {
  std::string out = "Status: " + std::to_string(response.status) + "\r\n";
  if (!response.content_type.empty() && response.status != 304)
    out += "Content-Type: " + response.content_type + "\r\n";
  if (response.status != 204 && response.status != 304 && !response.stream) {
    out += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
  }
  for (const auto& [name, value] : response.headers) out.append(name).append(": ").append(value).append("\r\n");
  out += "\r\n";
  if (request.method != "HEAD") out += response.body;
  channel.write(out.data(), out.size());
  if (!response.stream || request.method == "HEAD") return;
  try {
    response.stream([&](std::string_view piece) {
      if (!channel.write(piece.data(), piece.size())) throw std::runtime_error("the client went away");
    });
  } catch (const std::exception& error) {
    log_error(request.method + " " + request.path + " (" + request.request_id + "), broken off: " + error.what());
    channel.abort();
  }
}

/// What a large body took must not stay with the worker for good.
void give_back_memory(Request& request) {
  constexpr std::size_t kLarge = 1024 * 1024;
  if (request.body.capacity() <= kLarge) return;
  std::string().swap(request.body);
  ::malloc_trim(0);
}

void serve_one(const Channel& channel, const Service& service) {
  Request request;
  request.method = variable(channel, "REQUEST_METHOD");
  request.authorization = variable(channel, "HTTP_AUTHORIZATION");
  request.if_none_match = variable(channel, "HTTP_IF_NONE_MATCH");
  request.content_type = variable(channel, "CONTENT_TYPE");
  if (const char* key = channel.variable("HTTP_IDEMPOTENCY_KEY")) request.idempotency_key = key;
  request.request_id = request_id(channel);
  read_target(channel, request);
  std::optional<Response> refused = read_body(channel, service.max_body_bytes(request), request.body);
  if (refused) {
    service.add_common_headers(request, *refused);
    refused->headers.emplace_back("Connection", "close");
  }
  write_response(channel, request, refused ? *refused : service.handle(request));
  give_back_memory(request);
}

volatile std::sig_atomic_t shutting_down = 0;

void on_terminate(int) {
  shutting_down = 1;
  FCGX_ShutdownPending();
}

}  // namespace

int listen_on(const std::string& path) {
  sockaddr_un address{};
  if (path.size() >= sizeof(address.sun_path)) {
    throw std::system_error(ENAMETOOLONG, std::generic_category(), "socket path " + path);
  }
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ::unlink(path.c_str());
  // nginx's workers may run as another user; who may reach the socket is decided by its folder.
  const bool bound = descriptor >= 0 &&
                     ::bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
                     ::chmod(path.c_str(), 0666) == 0 && ::listen(descriptor, SOMAXCONN) == 0;
  if (!bound) throw std::system_error(errno, std::generic_category(), "cannot listen on " + path);
  return descriptor;
}

void serve_fastcgi(int listen_socket, const Service& service) {
  // Without SA_RESTART, so that a worker waiting in accept() leaves at once.
  struct sigaction action {};
  action.sa_handler = on_terminate;
  ::sigaction(SIGTERM, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);

  FCGX_Init();
  FCGX_Request fcgi;
  FCGX_InitRequest(&fcgi, listen_socket, 0);
  while (shutting_down == 0 && FCGX_Accept_r(&fcgi) == 0) {
    const Channel channel{
        [&](const char* name) { return FCGX_GetParam(name, fcgi.envp); },
        [&](char* to, std::size_t count) {
          return static_cast<std::size_t>(FCGX_GetStr(to, static_cast<int>(count), fcgi.in));
        },
        [&](const char* from, std::size_t count) { return FCGX_PutStr(from, static_cast<int>(count), fcgi.out) >= 0; },
        [&] { ::shutdown(fcgi.ipcFd, SHUT_RDWR); },
    };
    serve_one(channel, service);
    fcgi.keepConnection = 0;  // a kept connection would pin this worker while others wait
    FCGX_Finish_r(&fcgi);
  }
}

bool is_cgi() {
  return std::getenv("GATEWAY_INTERFACE") != nullptr && FCGX_IsCGI() != 0;
}

void serve_cgi(const Service& service) {
  const Channel channel{
      [](const char* name) -> const char* { return std::getenv(name); },
      [](char* to, std::size_t count) { return std::fread(to, 1, count, stdin); },
      [](const char* from, std::size_t count) { return std::fwrite(from, 1, count, stdout) == count; },
      [] { std::_Exit(EXIT_FAILURE); },
  };
  serve_one(channel, service);
  std::fflush(stdout);
}

}  // namespace gamepicker
