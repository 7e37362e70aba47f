#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "relay/metrics.hpp"

namespace gamepicker {

/// HTTP for whoever operates the relay, on an address of its own and in threads of its own; clients never come here.
/// GET only:
///   /livez    200 while the I/O loop ticks, or while the relay is ending
///   /readyz   200 while it is not ending and the event log was read less than 5 s ago; else 503
///   /metrics  Prometheus' text format
/// Each 503 comes with a line that says why.
class OpsServer {
 public:
  /// Listens at once on `address`, a numeric host:port; port 0 means any. `metrics` outlives it. Throws
  /// std::invalid_argument for anything that is no such address, std::runtime_error when it cannot be had.
  OpsServer(const std::string& address, const Metrics& metrics);
  ~OpsServer();
  OpsServer(const OpsServer&) = delete;
  OpsServer& operator=(const OpsServer&) = delete;

  void start();
  /// Answers nothing more, and ends what is being answered.
  void stop();

  std::uint16_t port() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gamepicker
