#include "tests/relay/tls_peer.hpp"

#include <cstdio>
#include <stdexcept>
#include <utility>

#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace gamepicker::test {
namespace {

void require(bool fine, const char* what) {
  if (!fine) throw std::runtime_error(std::string("the test's TLS: ") + what);
}

void extend(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  require(extension != nullptr && X509_add_ext(certificate, extension, -1) == 1, "extension");
  X509_EXTENSION_free(extension);
}

}  // namespace

Certificate make_certificate(const CertificateWish& wish) {
  static std::atomic<long> serial = 1;
  Certificate made{{X509_new(), X509_free}, {EVP_EC_gen("P-256"), EVP_PKEY_free}};
  X509* certificate = made.certificate.get();
  require(certificate != nullptr && made.key != nullptr, "key");
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
  constexpr long kDay = 86'400;
  X509_gmtime_adj(X509_getm_notBefore(certificate), wish.from_days * kDay);
  X509_gmtime_adj(X509_getm_notAfter(certificate), wish.to_days * kDay);
  X509_set_pubkey(certificate, made.key.get());
  X509_NAME* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(wish.name.c_str()), -1,
                             -1, 0);
  X509* issuer = wish.issuer != nullptr ? wish.issuer->certificate.get() : certificate;
  X509_set_issuer_name(certificate, X509_get_subject_name(issuer));
  extend(certificate, issuer, NID_basic_constraints, wish.authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
  if (!wish.alternative.empty()) extend(certificate, issuer, NID_subject_alt_name, wish.alternative);
  EVP_PKEY* signer = wish.issuer != nullptr ? wish.issuer->key.get() : made.key.get();
  require(X509_sign(certificate, signer, EVP_sha256()) > 0, "signature");
  return made;
}

void write_pem(const Certificate& certificate, const std::string& path) {
  FILE* file = std::fopen(path.c_str(), "w");
  require(file != nullptr && PEM_write_X509(file, certificate.certificate.get()) == 1 && std::fclose(file) == 0, "PEM");
}

TlsPeer::TlsPeer(const Certificate& certificate, TlsManners manners)
    : manners_(std::move(manners)), context_(SSL_CTX_new(TLS_server_method()), SSL_CTX_free) {
  SSL_CTX* context = context_.get();
  SSL_CTX_set_security_level(context, 0);  // lets it speak TLS 1.1
  SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
  SSL_CTX_set_max_proto_version(context, manners_.newest);
  require(SSL_CTX_use_certificate(context, certificate.certificate.get()) == 1 &&
              SSL_CTX_use_PrivateKey(context, certificate.key.get()) == 1,
          "certificate");
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  require(::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) == 0 && ::listen(listener_, 8) == 0 &&
              ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0,
          "listener");
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { accept_all(); });
}

TlsPeer::~TlsPeer() {
  stopping_ = true;
  thread_.join();
  ::close(listener_);
}

std::vector<std::string> TlsPeer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

bool TlsPeer::wait_readable(int socket) const {
  pollfd waiting{socket, POLLIN, 0};
  while (!stopping_) {
    if (::poll(&waiting, 1, 20) > 0) return true;
  }
  return false;
}

void TlsPeer::accept_all() {
  while (wait_readable(listener_)) {
    const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (socket < 0) continue;
    ++connections_;
    serve(socket);
    ::close(socket);
  }
}

void TlsPeer::serve(int socket) {
  if (!manners_.shakes_hands) {
    char byte = 0;
    while (wait_readable(socket) && ::recv(socket, &byte, 1, 0) > 0) {
    }
    return;
  }
  const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context_.get()), SSL_free);
  SSL_set_fd(ssl.get(), socket);
  if (!shake_hands(ssl.get(), socket)) return;
  while (serve_one(ssl.get(), socket) && manners_.keeps) {
  }
  if (manners_.says_goodbye) SSL_shutdown(ssl.get());
}

bool TlsPeer::shake_hands(SSL* ssl, int socket) const {
  int result = 0;
  while ((result = SSL_accept(ssl)) != 1) {
    if (SSL_get_error(ssl, result) != SSL_ERROR_WANT_READ || !wait_readable(socket)) return false;
  }
  return true;
}

/// False when there is no request left. Bodies here are "{}".
bool TlsPeer::serve_one(SSL* ssl, int socket) {
  std::string request;
  while (!request.ends_with("\r\n\r\n{}")) {
    char buffer[4096];
    const int got = SSL_read(ssl, buffer, sizeof buffer);
    if (got > 0) {
      request.append(buffer, static_cast<std::size_t>(got));
    } else if (SSL_get_error(ssl, got) != SSL_ERROR_WANT_READ || !wait_readable(socket)) {
      return false;
    }
  }
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back((name != nullptr ? name : std::string()) + "\n" + request);
  }
  return SSL_write(ssl, manners_.answer.data(), static_cast<int>(manners_.answer.size())) > 0;
}

}  // namespace gamepicker::test
