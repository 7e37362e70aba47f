#include "relay/webhook_socket.hpp"

#include <algorithm>
#include <utility>

#include <Poco/Exception.h>
#include <Poco/Net/IPAddress.h>
#include <Poco/Net/InvalidCertificateHandler.h>
#include <Poco/Net/NetException.h>
#include <Poco/Net/SSLException.h>
#include <Poco/Net/SecureStreamSocketImpl.h>
#include <Poco/Net/StreamSocketImpl.h>
#include <Poco/Net/Utility.h>
#include <Poco/Net/VerificationErrorArgs.h>

#include "shared/config.hpp"

namespace gamepicker {
namespace {

/// Poco makes this constructor protected; it takes the implementation.
class Socket : public Poco::Net::StreamSocket {
 public:
  explicit Socket(Poco::Net::SocketImpl* impl) : StreamSocket(impl) {}
};

/// One of Poco's implementations of a socket that notes what it reads. A connection that breaks reads as ended: what
/// came before may be a whole answer, and a peer that ends TLS without close_notify is nothing special.
template <typename Impl>
class Metered : public Impl {
 public:
  template <typename... Arguments>
  explicit Metered(std::shared_ptr<Intake> intake, Arguments&&... arguments)
      : Impl(std::forward<Arguments>(arguments)...), intake_(std::move(intake)) {}

  using Impl::receiveBytes;
  int receiveBytes(void* buffer, int length, int flags) override {
    const auto left = std::min<std::size_t>(intake_->limit - intake_->bytes, static_cast<std::size_t>(length));
    if (left == 0 || intake_->ended) return 0;
    int got = 0;
    try {
      Poco::Net::Utility::clearErrorStack();  // Poco takes an old error of this thread for one of this call
      got = Impl::receiveBytes(buffer, static_cast<int>(left), flags);
    } catch (const Poco::IOException&) {  // also TLS's
    }
    intake_->ended = got <= 0;
    if (got <= 0) return 0;
    char* const bytes = static_cast<char*>(buffer);
    // HTTPSession::get() returns signed chars, so that Poco takes 0xFF for the end. Neither byte is part of UTF-8: the
    // log shows both as U+FFFD.
    std::replace(bytes, bytes + got, '\xFF', '\xFE');
    intake_->note({bytes, static_cast<std::size_t>(got)});
    return got;
  }

 private:
  const std::shared_ptr<Intake> intake_;
};

using MeteredPlain = Metered<Poco::Net::StreamSocketImpl>;

class MeteredTls : public Metered<Poco::Net::SecureStreamSocketImpl> {
 public:
  using Metered::Metered;

  /// Poco's own handshake takes one that was interrupted for a finished one, and would never check the name.
  void handshake() {
    setLazyHandshake(true);
    connectSSL();
    if (completeHandshake() != 1 || !havePeerCertificate()) {
      throw Poco::Net::SSLConnectionUnexpectedlyClosedException();
    }
    verifyPeerCertificate();
  }
};

/// Keeps the reason why a chain of certificates was refused, which Poco's exception does not tell.
class RefusalNote : public Poco::Net::InvalidCertificateHandler {
 public:
  RefusalNote() : InvalidCertificateHandler(false) {}
  void onInvalidCertificate(const void* /*sender*/, Poco::Net::VerificationErrorArgs& error) override {
    reason = error.errorMessage();
  }
  /// Called back within the handshake, by the thread that shakes hands.
  static thread_local std::string reason;
};
thread_local std::string RefusalNote::reason;

/// "error:0A00042E:SSL routines::tlsv1 alert protocol version" without what only programmers read.
std::string reason_of(const Poco::Exception& error) {
  if (!RefusalNote::reason.empty()) return RefusalNote::reason;
  const std::string& text = error.message();
  return text.substr(text.rfind(':') + 1);
}

}  // namespace

void Intake::note(std::string_view read) {
  if (!first) first = std::chrono::steady_clock::now();
  bytes += read.size();
  last.append(read.substr(read.size() - std::min<std::size_t>(read.size(), 4)));
  if (last.size() > 4) last.erase(0, last.size() - 4);
}

Poco::Net::StreamSocket metered_socket(int descriptor, std::shared_ptr<Intake> intake) {
  return Socket(new MeteredPlain(std::move(intake), descriptor));
}

Poco::Net::Context::Ptr webhook_tls_context(const std::string& ca_file) {
  using Poco::Net::Context;
  try {
    // Strict: the relaxed mode does not check the name of local hosts.
    Context::Ptr context(
        new Context(Context::TLS_CLIENT_USE, ca_file, Context::VERIFY_STRICT, 9, true, "HIGH:!aNULL:!MD5:!RC4"));
    context->requireMinimumProtocol(Context::PROTO_TLSV1_2);
    context->enableExtendedCertificateVerification(true);
    context->setInvalidCertificateHandler(new RefusalNote);
    return context;
  } catch (const Poco::Exception& error) {
    if (ca_file.empty()) throw;
    throw ConfigError("WEBHOOK_CA_FILE " + ca_file + " cannot be read: " + error.displayText());
  }
}

Poco::Net::StreamSocket secured_socket(const Poco::Net::StreamSocket& plain, const std::string& host,
                                       const Poco::Net::Context::Ptr& context, std::shared_ptr<Intake> intake) {
  auto* impl = new MeteredTls(std::move(intake), static_cast<Poco::Net::StreamSocketImpl*>(plain.impl()), context);
  const Socket socket(impl);
  std::string name = host;
  while (name.ends_with('.')) name.pop_back();  // RFC 6066, section 3
  // Without a name Poco sends none, and verifies the certificate for the address connected to.
  if (Poco::Net::IPAddress address; !Poco::Net::IPAddress::tryParse(name, address)) impl->setPeerHostName(name);
  RefusalNote::reason.clear();
  Poco::Net::Utility::clearErrorStack();
  try {
    impl->handshake();
  } catch (const Poco::Net::CertificateValidationException&) {
    throw TlsError("TLS error: the certificate is not for " + name);
  } catch (const Poco::Net::SSLConnectionUnexpectedlyClosedException&) {
    throw TlsError("TLS error: the connection was closed");
  } catch (const Poco::Net::SSLException& error) {
    throw TlsError("TLS error: " + reason_of(error));
  } catch (const Poco::Exception& error) {
    throw TlsError("TLS error: " + error.displayText());
  }
  return socket;
}

}  // namespace gamepicker
