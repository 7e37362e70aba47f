#include "handlers/router.hpp"

#include <algorithm>
#include <optional>

namespace gamepicker {
namespace {

std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> segments;
  while (!path.empty()) {
    path.remove_prefix(1);  // the slash
    const auto end = std::min(path.find('/'), path.size());
    segments.push_back(path.substr(0, end));
    path.remove_prefix(end);
  }
  return segments;
}

bool is_placeholder(std::string_view segment) {
  return segment.starts_with('{');
}

/// The placeholders' values, or nothing when the path does not fit.
std::optional<std::vector<std::string>> match(const std::vector<std::string_view>& pattern,
                                              const std::vector<std::string_view>& path) {
  if (pattern.size() != path.size()) return std::nullopt;
  std::vector<std::string> params;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (!is_placeholder(pattern[i])) {
      if (pattern[i] != path[i]) return std::nullopt;
      continue;
    }
    auto value = percent_decode(path[i], false);
    if (!value || value->empty()) return std::nullopt;
    params.push_back(std::move(*value));
  }
  return params;
}

/// Orders literals before placeholders, segment by segment.
bool more_literal(std::string_view a, std::string_view b) {
  const auto x = split(a);
  const auto y = split(b);
  for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
    if (is_placeholder(x[i]) != is_placeholder(y[i])) return is_placeholder(y[i]);
  }
  return false;
}

}  // namespace

Router::Router(std::vector<Route> routes) : routes_(std::move(routes)) {
  std::ranges::stable_sort(routes_, more_literal, &Route::pattern);
  for (const Route& route : routes_) patterns_.push_back(split(route.pattern));
}

Router::Match Router::find(std::string_view method, std::string_view path) const {
  Match result;
  if (!path.starts_with('/')) return result;
  const auto segments = split(path);
  const std::string_view wanted = method == "HEAD" ? "GET" : method;
  std::string_view known_pattern;
  for (std::size_t i = 0; i < routes_.size(); ++i) {
    const Route& route = routes_[i];
    // Once a path is known, a less literal pattern that fits it too belongs to another resource.
    if (!known_pattern.empty() && known_pattern != route.pattern) continue;
    auto params = match(patterns_[i], segments);
    if (!params) continue;
    if (wanted == route.method) {
      result.route = &route;
      result.params = std::move(*params);
      return result;
    }
    known_pattern = route.pattern;
    if (!result.allow.empty()) result.allow += ", ";
    result.allow += route.method;
    if (std::string_view(route.method) == "GET") result.allow += ", HEAD";
  }
  return result;
}

}  // namespace gamepicker
