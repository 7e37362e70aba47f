#pragma once

#include <chrono>
#include <map>
#include <string>

#include <sys/types.h>

namespace gamepicker::test {

/// A relay of a test's own, which is killed and started again. It ends with the test.
class RelayProcess {
 public:
  /// `folder`: gets its sockets and its log, relay-NAME.log.
  RelayProcess(std::string program, std::string config, const std::string& folder, const std::string& name);
  ~RelayProcess() { kill(); }
  RelayProcess(const RelayProcess&) = delete;
  RelayProcess& operator=(const RelayProcess&) = delete;

  /// With these settings besides those of the configuration file.
  void start(const std::map<std::string, std::string>& settings = {});
  /// At once; returns when it is gone.
  void kill();
  /// Asks it to stop. False when it does not in time, or not in order.
  bool stop(std::chrono::milliseconds limit);
  /// Whether it is gone by itself within that time; the signal that ended it, 0 for none.
  bool gone(std::chrono::milliseconds limit, int& signal);

  pid_t pid() const { return pid_; }
  const std::string& log() const { return log_; }
  const std::string& nudge() const { return nudge_; }
  /// Of /proc/PID/status, in KiB.
  std::uint64_t status(const std::string& key) const;

 private:
  bool wait(std::chrono::milliseconds limit, int& status);

  const std::string program_, config_, socket_, nudge_, log_;
  pid_t pid_ = -1;
};

}  // namespace gamepicker::test
