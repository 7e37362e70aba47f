#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include <Poco/Net/Context.h>
#include <Poco/Net/StreamSocket.h>

/// The sockets under the sender's HTTP sessions: Poco's own, which count what they read. Included by the sender's own
/// files and their tests only.
namespace gamepicker {

/// The other side's TLS is not good enough, or not TLS. what() is for the delivery log.
struct TlsError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What came through a socket since the exchange began. Poco bounds a header line and the number of fields, but not
/// what it skips: lines without a colon, interim answers, chunk extensions. Here everything counts.
struct Intake {
  std::size_t limit = 0;  ///< not a byte more is read; then it looks like the end of the connection
  std::size_t bytes = 0;
  bool ended = false;  ///< the peer has closed, or the connection broke
  std::optional<std::chrono::steady_clock::time_point> first;
  std::string last;  ///< the last bytes, at most four

  bool full() const { return bytes >= limit; }
  void note(std::string_view read);
};

/// Takes a connected, blocking descriptor.
Poco::Net::StreamSocket metered_socket(int descriptor, std::shared_ptr<Intake> intake);

/// TLS 1.2 and later; certificates must lead to an authority of the system's store or of `ca_file` (PEM, may be
/// empty). Throws ConfigError when that cannot be read.
Poco::Net::Context::Ptr webhook_tls_context(const std::string& ca_file);

/// Shakes hands on a connected socket that came from metered_socket(), and verifies the certificate for `host`, a name
/// or the address connected to; names are sent (SNI). Waits as long as the socket's time limits and whoever shuts it
/// down allow. Throws TlsError.
Poco::Net::StreamSocket secured_socket(const Poco::Net::StreamSocket& plain, const std::string& host,
                                       const Poco::Net::Context::Ptr& context, std::shared_ptr<Intake> intake);

}  // namespace gamepicker
