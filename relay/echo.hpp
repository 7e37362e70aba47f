#pragma once

#include <cstdint>

namespace gamepicker {

/// A WebSocket echo on 127.0.0.1 with the relay's handshake and framing and nothing else of it, for conformance suites.
/// Port 0 takes any free one; the log names it. Serves until `stop` is readable. Throws std::system_error.
void serve_echo(std::uint16_t port, int stop);

}  // namespace gamepicker
