#pragma once

#include <string>

#include "relay/metrics.hpp"

namespace gamepicker {

/// The media type of metrics_text().
inline constexpr char kMetricsType[] = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics in Prometheus' text format, as they stand now. README.md, "Watching it", lists them (a test compares).
std::string metrics_text(const Metrics& metrics);

}  // namespace gamepicker
