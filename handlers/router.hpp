#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "handlers/api.hpp"

namespace gamepicker {

/// Finds the route of a request. Literal path segments win over placeholders.
class Router {
 public:
  explicit Router(std::vector<Route> routes);

  struct Match {
    const Route* route = nullptr;     ///< null when path or method is unknown
    std::vector<std::string> params;  ///< decoded
    std::string allow;                ///< the methods of a known path, for 405; empty for an unknown path
  };

  /// `path` is still percent-encoded: an escaped '/' belongs to its segment. A segment that does not decode to UTF-8
  /// matches nothing. HEAD finds the GET route.
  Match find(std::string_view method, std::string_view path) const;

  const std::vector<Route>& routes() const { return routes_; }

 private:
  std::vector<Route> routes_;
  std::vector<std::vector<std::string_view>> patterns_;  ///< the segments of each route's pattern
};

}  // namespace gamepicker
