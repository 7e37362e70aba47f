#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
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

/// getaddrinfo() with a deadline. A look-up that is given up goes on in the C library's own threads; a bounded number
/// of those is kept. Thread-safe.
class Resolver {
 public:
  Resolver();
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  /// In the system's order of preference. Throws ResolveError.
  std::vector<ResolvedAddress> resolve(const std::string& host, std::uint16_t port,
                                       std::chrono::steady_clock::time_point deadline);

 private:
  struct Lookup;
  void abandon(std::unique_ptr<Lookup> lookup);
  std::size_t sweep();

  std::mutex mutex_;
  std::list<std::unique_ptr<Lookup>> abandoned_;
};

}  // namespace gamepicker
