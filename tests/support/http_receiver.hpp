#pragma once

#include <algorithm>
#include <atomic>
#include <cctype>
#include <chrono>
#include <functional>
#include <list>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace gamepicker::test {

/// An HTTP server that answers with exactly the bytes it is told to, right or wrong. Listens on a free port of
/// 127.0.0.1; a thread for each connection.
class HttpReceiver {
 public:
  struct Request {
    std::string head;  ///< request line and headers
    std::string body;
    int connection = 0;  ///< counted from 1

    /// The value of a header, "" when absent.
    std::string header(const std::string& name) const {
      const std::string lower_head = lower(head);
      const auto start = lower_head.find("\r\n" + lower(name) + ": ");
      if (start == std::string::npos) return {};
      const auto value = start + name.size() + 4;
      return head.substr(value, head.find("\r\n", value) - value);
    }
  };
  /// Sends the answer through `socket` itself; returns whether the connection stays open.
  using Answer = std::function<bool(const Request& request, int socket)>;

  explicit HttpReceiver(Answer answer) : answer_(std::move(answer)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_, 64) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("the test receiver cannot listen");
    }
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  /// Answers everything with one text.
  explicit HttpReceiver(std::string answer)
      : HttpReceiver([answer = std::move(answer)](const Request&, int socket) {
          send_text(socket, answer);
          return true;
        }) {}

  ~HttpReceiver() {
    stopping_ = true;
    acceptor_.join();
    for (std::thread& thread : threads_) thread.join();
    ::close(listener_);
  }
  HttpReceiver(const HttpReceiver&) = delete;
  HttpReceiver& operator=(const HttpReceiver&) = delete;

  std::string url(const std::string& path = "/hook") const {
    return "http://127.0.0.1:" + std::to_string(port_) + path;
  }
  std::vector<Request> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  /// Waits up to 10 s for `count` requests.
  std::vector<Request> wait_for(std::size_t count) const {
    for (int i = 0; i < 1000 && requests().size() < count; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return requests();
  }

  static void send_text(int socket, const std::string& text) { ::send(socket, text.data(), text.size(), MSG_NOSIGNAL); }
  static std::string answer(const std::string& status, const std::string& body = "", const std::string& more = "") {
    return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + more + "\r\n" + body;
  }
  bool stopping() const { return stopping_; }

 private:
  static std::string lower(std::string text) {
    std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
  }

  bool wait_readable(int socket) const {
    pollfd waiting{socket, POLLIN, 0};
    while (!stopping_) {
      if (::poll(&waiting, 1, 20) > 0) return true;
    }
    return false;
  }

  void accept_all() {
    while (wait_readable(listener_)) {
      const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (socket >= 0) threads_.emplace_back([this, socket, number = ++connections_] { serve(socket, number); });
    }
  }

  void serve(int socket, int number) {
    std::string input;
    Request request;
    while (read_request(socket, input, request)) {
      request.connection = number;
      {
        const std::lock_guard lock(mutex_);
        requests_.push_back(request);
      }
      if (!answer_(request, socket)) break;
    }
    ::close(socket);
  }

  bool read_request(int socket, std::string& input, Request& request) const {
    while (true) {
      if (const auto end = input.find("\r\n\r\n"); end != std::string::npos) {
        request.head = input.substr(0, end + 2);
        const std::string length = request.header("Content-Length");
        const std::size_t total = end + 4 + (length.empty() ? 0 : std::stoul(length));
        if (input.size() >= total) {
          request.body = input.substr(end + 4, total - end - 4);
          input.erase(0, total);
          return true;
        }
      }
      char buffer[8192];
      if (!wait_readable(socket)) return false;
      const auto got = ::recv(socket, buffer, sizeof buffer, 0);
      if (got <= 0) return false;
      input.append(buffer, static_cast<std::size_t>(got));
    }
  }

  const Answer answer_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  int connections_ = 0;
  std::atomic<bool> stopping_ = false;
  mutable std::mutex mutex_;
  std::vector<Request> requests_;
  std::list<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace gamepicker::test
