#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "relay/database.hpp"
#include "relay/failpoint.hpp"
#include "relay/webhook_sender.hpp"

namespace gamepicker {

/// What is known of an endpoint after an attempt.
struct EndpointHealth {
  std::int64_t failures = 0;  ///< in a row; 0 after a success
  std::chrono::milliseconds backs_off_for{0};
  bool was_failing = false;  ///< before: a success is then worth a write
};

/// What one attempt came to.
struct AttemptOutcome {
  enum class Kind { succeeded, retry, failed, gone };

  std::uint64_t delivery_id = 0;
  std::int64_t webhook_id = 0;
  std::int64_t attempt = 1;
  std::uint64_t lease_token = 0;
  Kind kind = Kind::failed;
  std::chrono::milliseconds retry_in{0};  ///< for retry
  std::optional<int> response_status;
  std::string error;  ///< empty on success only
  std::chrono::milliseconds duration{0};
  std::string response_body;  ///< at most 1 KiB of valid UTF-8
  AttemptPhases phases;
  std::string peer_address;
  EndpointHealth health;
};

/// Records attempts: a log row each, the delivery's end or its next try, the endpoint's health. Throws DatabaseError;
/// not thread-safe.
class AttemptRecorder {
 public:
  /// A webhook all of whose deliveries have failed for `disable_after` is disabled. All outlive it.
  AttemptRecorder(Database& database, std::chrono::milliseconds disable_after, Failpoint& failpoint)
      : database_(database), disable_after_(disable_after), failpoint_(failpoint) {}

  /// All of them, at most one of each delivery, in one transaction. A failure counts only while the lease is ours; a
  /// success always. After an error the same outcomes can be given again: a COMMIT whose outcome was lost is not
  /// recorded twice.
  void record(const std::vector<AttemptOutcome>& outcomes);

 private:
  bool already_recorded(const AttemptOutcome& outcome);
  void record_all(const std::vector<AttemptOutcome>& outcomes);
  void insert_logs(const std::vector<const AttemptOutcome*>& outcomes);
  void record_health(const std::vector<const AttemptOutcome*>& outcomes);
  void disable(std::int64_t webhook_id, const std::string& reason);

  Database& database_;
  const std::chrono::milliseconds disable_after_;
  Failpoint& failpoint_;
};

}  // namespace gamepicker
