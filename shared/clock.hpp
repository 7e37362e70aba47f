#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace gamepicker {

/// UTC with millisecond precision: what the database stores (DATETIME(3)) and the wire carries.
using Timestamp = std::chrono::sys_time<std::chrono::milliseconds>;

/// The wall clock, truncated to milliseconds.
Timestamp now();

/// "2026-03-15T20:30:00.000Z".
std::string format_iso(Timestamp time);

/// Reads an ISO 8601 date-time with any offset and 0 to 9 fraction digits; digits beyond the millisecond are cut
/// off. A missing offset means UTC. Nothing for anything else, calendar-invalid dates and years outside
/// 1000-9999 (what DATETIME holds) included.
std::optional<Timestamp> parse_iso(std::string_view text);

/// "2026-03-15 20:30:00.000", as a DATETIME(3) parameter.
std::string format_sql(Timestamp time);

/// Turns what the database prints for a DATETIME(3) or (6) into the ISO form of the wire.
std::string sql_to_iso(std::string_view datetime);

/// "500ms", "5s", "30m", "2h", "10d" or a bare number of milliseconds. Nothing for anything else, negative or over
/// ten years.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);

}  // namespace gamepicker
