#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <sys/socket.h>

namespace gamepicker {

/// A name could not be resolved, or not in time. what() is for the delivery log.
struct ResolveError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct ResolvedAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  const sockaddr& get() const { return reinterpret_cast<const sockaddr&>(storage); }
  std::string text() const;  ///< numeric, without port
};

/// getaddrinfo() with a deadline: each look-up runs in a thread of its own, which is left to itself when nobody waits
/// any more (it ends by the C library's own time limits). Their number is bounded. Thread-safe. glibc's getaddrinfo_a()
/// would do the same, but its hidden threads crash under the sanitizers.
class Resolver {
 public:
  /// In the system's order of preference. Throws ResolveError.
  std::vector<ResolvedAddress> resolve(const std::string& host, std::uint16_t port,
                                       std::chrono::steady_clock::time_point deadline);

 private:
  /// Shared with threads that may outlive the resolver.
  std::shared_ptr<std::atomic<int>> running_ = std::make_shared<std::atomic<int>>(0);
};

}  // namespace gamepicker
