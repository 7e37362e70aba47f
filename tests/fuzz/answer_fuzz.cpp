// Answers of webhook receivers: whatever they send, it is read to an end and within bounds.

#include <string_view>

#include <Poco/Net/HTTPRequest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay/webhook_exchange.hpp"
#include "tests/fuzz/expect.hpp"

using namespace gamepicker;

/// An input is what a peer sends before it closes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  int ends[2];
  expect(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0, "there are sockets");
  WebhookConnection connection(ends[0], "peer");
  expect(::send(ends[1], data, size, MSG_NOSIGNAL) == static_cast<ssize_t>(size), "an input fits a socket's buffer");
  ::close(ends[1]);

  Poco::Net::HTTPRequest request(Poco::Net::HTTPRequest::HTTP_POST, "/", Poco::Net::HTTPRequest::HTTP_1_1);
  request.setContentLength(0);
  connection.begin(kMaxAnswer, std::chrono::steady_clock::now() + std::chrono::seconds(5));
  const WebhookAnswer answer = exchange(connection, request, "");
  expect(connection.intake().bytes <= size, "no more is read than came");
  expect(answer.status.has_value() == answer.error.empty(), "there is a status or a reason why not");
  expect(!answer.status || *answer.status == 101 || (*answer.status >= 200 && *answer.status <= 999),
         "a status is a final one");
  expect(answer.body.size() <= size, "a body is no longer than what came");
  expect(!answer.reusable, "who answered before the request came is not asked again");
  return 0;
}
