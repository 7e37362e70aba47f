#pragma once

#include "handlers/api.hpp"
#include "handlers/router.hpp"

namespace gamepicker {

/// Answers one request: route, access, handler, and the one place where errors become statuses. Never throws.
class Dispatcher {
 public:
  /// `api` must outlive the dispatcher.
  Dispatcher(Api& api, std::string_view resource) : api_(api), router_(routes_of(resource)) {}

  Response handle(Request& request);

  /// What every answer carries; handle() adds it to its own.
  void add_common_headers(const Request& request, Response& response) const;

  /// How large a body of this method and path may be. Never throws.
  std::size_t max_body_bytes(const Request& request) const;

  const Router& router() const { return router_; }

 private:
  Response answer(Request& request);
  Response call(Request& request);
  void check_access(const Route& route, Request& request);
  Response run(const Route& route, Request& request);

  Api& api_;
  Router router_;
};

}  // namespace gamepicker
