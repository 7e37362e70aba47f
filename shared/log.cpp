#include "shared/log.hpp"

#include <atomic>
#include <stdexcept>

#include <unistd.h>

#include "shared/clock.hpp"

namespace gamepicker {
namespace {

// The one piece of process-wide state: a log that had to be handed to every function would be in every signature.
std::string program_name = "gamepicker";
std::atomic<LogLevel> log_threshold = LogLevel::info;

constexpr std::string_view kNames[] = {"error", "warning", "info", "debug"};

}  // namespace

void configure_log(std::string_view program, LogLevel threshold) {
  program_name = program;
  log_threshold = threshold;
}

LogLevel parse_log_level(std::string_view text) {
  for (int i = 0; i < 4; ++i) {
    if (text == kNames[i]) return static_cast<LogLevel>(i);
  }
  throw std::invalid_argument("must be error, warning, info or debug");
}

void log(LogLevel level, std::string_view message) {
  if (level > log_threshold.load(std::memory_order_relaxed)) return;
  std::string line = format_iso(now());
  line.append(" ").append(kNames[static_cast<int>(level)]).append(" ").append(program_name);
  line.append("[").append(std::to_string(::getpid())).append("] ");
  for (const char c : message) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      line += c == '\n' ? "\\n" : "?";
    } else {
      line += c;
    }
  }
  line += '\n';
  // One write is atomic enough for a file opened with O_APPEND or a pipe; a log that cannot be written is not worth
  // failing a request for.
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace gamepicker
