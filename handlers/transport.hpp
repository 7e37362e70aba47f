#pragma once

#include <functional>
#include <string>

#include "handlers/http.hpp"

namespace gamepicker {

/// What answers requests. Neither function may throw.
struct Service {
  std::function<std::size_t(const Request&)> max_body_bytes;  ///< for this method and path, before the body is read
  std::function<Response(Request&)> handle;
  std::function<void(const Request&, Response&)> add_common_headers;  ///< to an answer that `handle` did not make
};

/// Opens the unix socket workers accept on; a stale one is replaced. Throws std::system_error. The caller owns the
/// descriptor.
int listen_on(const std::string& path);

/// Serves FastCGI requests from `listen_socket`, one at a time, until SIGTERM. A body over the limit is answered with
/// 413 before it is read.
void serve_fastcgi(int listen_socket, const Service& service);

/// Whether this process was started by a web server for one plain CGI request (RFC 3875).
bool is_cgi();

/// Answers that one request: environment and standard input in, standard output out.
void serve_cgi(const Service& service);

}  // namespace gamepicker
