#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <openssl/ssl.h>
#include <openssl/x509.h>

namespace gamepicker::test {

/// A certificate with its key.
struct Certificate {
  std::shared_ptr<X509> certificate;
  std::shared_ptr<EVP_PKEY> key;
};

struct CertificateWish {
  std::string name = "test";            ///< the subject's CN
  std::string alternative;              ///< subjectAltName, such as "DNS:localhost,IP:127.0.0.1"; none when empty
  const Certificate* issuer = nullptr;  ///< itself when null
  bool authority = false;
  int from_days = -1;  ///< its validity, counted from now
  int to_days = 1;
};

/// Throws std::runtime_error.
Certificate make_certificate(const CertificateWish& wish);
/// Throws std::runtime_error.
void write_pem(const Certificate& certificate, const std::string& path);

/// How a TlsPeer behaves.
struct TlsManners {
  int newest = TLS1_3_VERSION;
  bool says_goodbye = true;  ///< with close_notify
  bool keeps = true;         ///< serves more than one request on a connection
  bool shakes_hands = true;  ///< otherwise it is silent once connected
  std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";
};

/// An HTTPS server on a free port of 127.0.0.1 that serves one connection after the other.
class TlsPeer {
 public:
  TlsPeer(const Certificate& certificate, TlsManners manners);
  ~TlsPeer();
  TlsPeer(const TlsPeer&) = delete;
  TlsPeer& operator=(const TlsPeer&) = delete;

  std::string url(const std::string& host) const { return "https://" + host + ":" + std::to_string(port_) + "/hook"; }
  std::uint16_t port() const { return port_; }
  int connections() const { return connections_; }
  /// The requests, whole, each headed by a line with the name asked for by SNI.
  std::vector<std::string> requests() const;

 private:
  bool wait_readable(int socket) const;
  void accept_all();
  void serve(int socket);
  bool shake_hands(SSL* ssl, int socket) const;
  bool serve_one(SSL* ssl, int socket);

  const TlsManners manners_;
  std::shared_ptr<SSL_CTX> context_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<int> connections_ = 0;
  std::atomic<bool> stopping_ = false;
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;
  std::thread thread_;
};

}  // namespace gamepicker::test
