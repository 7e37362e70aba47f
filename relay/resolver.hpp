#pragma once

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
/// any more (it ends by the C library's own time limits). Who asks for a name that is being looked up waits for the
/// same answer, so that a name server that is silent about some names holds up few threads; their number is bounded.
/// Thread-safe. glibc's getaddrinfo_a() would do the same, but its hidden threads crash under the sanitizers.
class Resolver {
 public:
  Resolver();
  ~Resolver();

  /// In the system's order of preference. Throws ResolveError.
  std::vector<ResolvedAddress> resolve(const std::string& host, std::uint16_t port,
                                       std::chrono::steady_clock::time_point deadline);

  /// The address that a literal means to the C library; empty for a name.
  static std::vector<ResolvedAddress> literal(const std::string& host, std::uint16_t port);

 private:
  struct Lookup;
  struct Running;
  std::shared_ptr<Lookup> join_or_start(const std::string& host, const std::string& service);

  std::shared_ptr<Running> running_;  ///< shared with threads that may outlive the resolver
};

}  // namespace gamepicker
