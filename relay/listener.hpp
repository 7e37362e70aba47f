#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace gamepicker {

/// A listening socket of the I/O loop: nginx' unix socket, or a TCP port.
class Listener {
 public:
  struct Accepted {
    int socket = -1;      ///< connected, non-blocking; the caller's
    std::string address;  ///< of the peer; empty when it is a proxy, whose X-Real-IP says who the client is
  };

  /// Takes the path over from whoever had it: a relay that was killed, or one that is leaving. Throws
  /// std::system_error.
  static Listener on_path(const std::string& path);
  /// `address`: numeric host:port. `proxies`: addresses separated by commas. Throws ConfigError naming the key for what
  /// is none, std::system_error when the port is taken.
  static Listener on_port(const std::string& address, const std::string& proxies);

  ~Listener();
  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&&) = delete;

  int descriptor() const { return descriptor_; }
  /// Nothing when nobody waits (errno EAGAIN), or for another reason in errno.
  std::optional<Accepted> accept() const;

 private:
  explicit Listener(int descriptor) : descriptor_(descriptor) {}
  bool is_proxy(const std::string& address) const;

  int descriptor_ = -1;
  std::string path_;         ///< of a unix socket
  std::uint64_t inode_ = 0;  ///< what the path named when it was ours
  std::string proxies_;      ///< ",a,b," on a port
};

}  // namespace gamepicker
