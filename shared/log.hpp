#pragma once

#include <string>
#include <string_view>

namespace gamepicker {

enum class LogLevel { error, warning, info, debug };

/// Sets the program's name and threshold. Lines go to standard error, one write each, so that lines of several
/// processes and threads do not mix. Call once at start, before threads exist; until then the threshold is info.
void configure_log(std::string_view program, LogLevel threshold);

/// "error", "warning", "info" or "debug"; throws std::invalid_argument for anything else.
LogLevel parse_log_level(std::string_view text);

/// One line: time, level, program, pid, message. Control characters are escaped, so that nothing a client sends can
/// fake a line. Never pass a secret or a token.
void log(LogLevel level, std::string_view message);

inline void log_error(std::string_view message) {
  log(LogLevel::error, message);
}
inline void log_warning(std::string_view message) {
  log(LogLevel::warning, message);
}
inline void log_info(std::string_view message) {
  log(LogLevel::info, message);
}
inline void log_debug(std::string_view message) {
  log(LogLevel::debug, message);
}

}  // namespace gamepicker
