#include "relay/ops_server.hpp"

#include <charconv>
#include <chrono>
#include <cstdio>
#include <optional>
#include <stdexcept>

#include <Poco/Net/HTTPRequestHandler.h>
#include <Poco/Net/HTTPRequestHandlerFactory.h>
#include <Poco/Net/HTTPServer.h>
#include <Poco/Net/HTTPServerParams.h>
#include <Poco/Net/HTTPServerRequest.h>
#include <Poco/Net/HTTPServerResponse.h>
#include <Poco/Net/IPAddress.h>
#include <Poco/Net/NetException.h>
#include <Poco/Net/ServerSocket.h>
#include <Poco/Net/SocketAddress.h>
#include <Poco/ThreadPool.h>

#include "relay/metrics_text.hpp"

namespace gamepicker {
namespace {

using Clock = std::chrono::steady_clock;
using Poco::Net::HTTPResponse;

/// An idle loop ticks every second.
constexpr std::chrono::seconds kTickLimit{5};
/// An idle reader polls every half second.
constexpr std::chrono::seconds kPollLimit{5};
/// Requests here take microseconds; more threads than one, so that a connection that says nothing keeps nobody waiting.
constexpr int kThreads = 4;
constexpr int kMaxQueued = 16;
constexpr int kTimeoutSeconds = 2;

/// Why something is not as it should be; nothing when it is.
using Complaint = std::optional<std::string>;

/// `what` must have happened less than `limit` ago.
Complaint overdue(const char* what, const Moment& moment, std::chrono::seconds limit) {
  const auto age = moment.age(Clock::now());
  if (!age) return std::string(what) + " has not happened yet";
  if (*age < limit) return std::nullopt;
  char text[120];
  std::snprintf(text, sizeof text, "%s was %.1f s ago", what, std::chrono::duration<double>(*age).count());
  return text;
}

Complaint liveness(const Metrics& metrics) {
  if (metrics.draining) return std::nullopt;  // the loop ends before the program does
  return overdue("the last tick of the I/O loop", metrics.io.ticked, kTickLimit);
}

Complaint readiness(const Metrics& metrics) {
  if (metrics.draining) return "draining";
  return overdue("database: the last read of the event log", metrics.reader.polled, kPollLimit);
}

class Handler final : public Poco::Net::HTTPRequestHandler {
 public:
  explicit Handler(const Metrics& metrics) : metrics_(metrics) {}

  void handleRequest(Poco::Net::HTTPServerRequest& request, Poco::Net::HTTPServerResponse& response) override {
    response.set("Cache-Control", "no-store");
    if (request.getMethod() != Poco::Net::HTTPRequest::HTTP_GET) {
      response.set("Allow", "GET");
      return answer(response, HTTPResponse::HTTP_METHOD_NOT_ALLOWED, "only GET\n");
    }
    const std::string& target = request.getURI();
    const std::string path = target.substr(0, target.find('?'));
    if (path == "/livez") return answer(response, liveness(metrics_));
    if (path == "/readyz") return answer(response, readiness(metrics_));
    if (path == "/metrics") return answer(response, HTTPResponse::HTTP_OK, metrics_text(metrics_), kMetricsType);
    answer(response, HTTPResponse::HTTP_NOT_FOUND, "there are /livez, /readyz and /metrics\n");
  }

 private:
  static void answer(Poco::Net::HTTPServerResponse& response, const Complaint& complaint) {
    if (complaint) return answer(response, HTTPResponse::HTTP_SERVICE_UNAVAILABLE, *complaint + "\n");
    answer(response, HTTPResponse::HTTP_OK, "ok\n");
  }

  static void answer(Poco::Net::HTTPServerResponse& response, HTTPResponse::HTTPStatus status, const std::string& body,
                     const char* type = "text/plain; charset=utf-8") {
    response.setStatusAndReason(status);
    response.setContentType(type);
    response.sendBuffer(body.data(), body.size());
  }

  const Metrics& metrics_;
};

class HandlerFactory final : public Poco::Net::HTTPRequestHandlerFactory {
 public:
  explicit HandlerFactory(const Metrics& metrics) : metrics_(metrics) {}
  Poco::Net::HTTPRequestHandler* createRequestHandler(const Poco::Net::HTTPServerRequest&) override {
    return new Handler(metrics_);  // the server deletes it
  }

 private:
  const Metrics& metrics_;
};

Poco::Net::SocketAddress read_address(const std::string& address) {
  const auto colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  Poco::Net::IPAddress ip;
  std::uint16_t port = 0;
  bool valid = colon != std::string::npos && Poco::Net::IPAddress::tryParse(host, ip);
  if (valid) {
    const char* const end = address.data() + address.size();
    const auto [stopped, error] = std::from_chars(address.data() + colon + 1, end, port);
    valid = error == std::errc{} && stopped == end;
  }
  if (!valid) throw std::invalid_argument("RELAY_OPS_LISTEN must be a numeric host:port: " + address);
  return {ip, port};
}

Poco::Net::ServerSocket listen_on(const std::string& address) {
  const Poco::Net::SocketAddress parsed = read_address(address);
  try {
    Poco::Net::ServerSocket socket;
    const bool reuse_address = true;
    const bool reuse_port = false;  // by default Poco lets two relays share a port, and each would hear half
    socket.bind(parsed, reuse_address, reuse_port);
    socket.listen(kMaxQueued);
    return socket;
  } catch (const Poco::Exception& error) {
    throw std::runtime_error("cannot listen on RELAY_OPS_LISTEN " + address + ": " + error.displayText());
  }
}

Poco::Net::HTTPServerParams::Ptr parameters() {
  Poco::Net::HTTPServerParams::Ptr parameters = new Poco::Net::HTTPServerParams;
  parameters->setMaxThreads(kThreads);
  parameters->setMaxQueued(kMaxQueued);
  parameters->setTimeout(Poco::Timespan(kTimeoutSeconds, 0));
  parameters->setKeepAlive(false);
  return parameters;
}

}  // namespace

class OpsServer::Impl {
 public:
  Impl(const std::string& address, const Metrics& metrics)
      : socket_(listen_on(address)), server_(new HandlerFactory(metrics), pool_, socket_, parameters()) {}

  Poco::ThreadPool pool_{1, kThreads};
  Poco::Net::ServerSocket socket_;
  Poco::Net::HTTPServer server_;
};

OpsServer::OpsServer(const std::string& address, const Metrics& metrics)
    : impl_(std::make_unique<Impl>(address, metrics)) {}

OpsServer::~OpsServer() {
  stop();
}

void OpsServer::start() {
  impl_->server_.start();
}

void OpsServer::stop() {
  impl_->server_.stopAll(true);
  impl_->pool_.joinAll();
}

std::uint16_t OpsServer::port() const {
  return impl_->socket_.address().port();
}

}  // namespace gamepicker
