#pragma once

#include <functional>
#include <string>

#include "handlers/http.hpp"

namespace gamepicker {

/// Answers a request; must not throw.
using RequestHandler = std::function<Response(Request&)>;

/// Opens the unix socket workers accept on; a stale one is replaced. Throws std::system_error. The caller owns the
/// descriptor.
int listen_on(const std::string& path);

/// Serves FastCGI requests from `listen_socket`, one at a time, until SIGTERM. A body over `max_body_bytes` is answered
/// with 413 before it is read.
void serve_fastcgi(int listen_socket, std::size_t max_body_bytes, const RequestHandler& handler);

/// Whether this process was started by a web server for one plain CGI request (RFC 3875).
bool is_cgi();

/// Answers that one request: environment and standard input in, standard output out.
void serve_cgi(std::size_t max_body_bytes, const RequestHandler& handler);

}  // namespace gamepicker
