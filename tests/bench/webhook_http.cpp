// The HTTP part of webhooks alone: signed POSTs of 1 kB over connections that are kept.
//   bench_webhook_http ours|bare|curl URL REQUESTS CONNECTIONS
// ours: the relay's sender, a thread for each connection. bare: one epoll loop that does no more than it must. curl:
// libcurl's multi interface in one thread. All of them sign each request in both ways.

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay/webhook_sender.hpp"
#include "shared/signature.hpp"
#include "shared/webhook_url.hpp"

namespace {

using namespace gamepicker;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kBodySize = 1024;
constexpr char kSecret[] = "a secret of the benchmark";

const std::string& body() {
  static const std::string text = R"({"event":"bench","data":")" + std::string(kBodySize - 27, 'x') + R"("})";
  return text;
}

/// What a request says besides its body, as lines of a header.
std::vector<std::string> header_lines(std::uint64_t id) {
  const std::string number = std::to_string(id);
  const std::string now = std::to_string(std::chrono::system_clock::now().time_since_epoch() / std::chrono::seconds(1));
  return {"Content-Type: application/json",
          "User-Agent: Jackbox-Game-Picker-Webhook/1.0",
          "X-Webhook-Event: bench",
          "X-Webhook-Signature: " + webhook_signature(kSecret, body()),
          "X-Webhook-Delivery: " + number,
          "X-Webhook-Attempt: 1",
          "webhook-id: " + number,
          "webhook-timestamp: " + now,
          "webhook-signature: " + standard_webhook_signature(kSecret, number, now, body())};
}

void send_ours(const std::string& url, std::uint64_t requests, int connections) {
  Config config;
  config.webhook_allow_private = true;
  WebhookSender sender(config);
  std::atomic<std::uint64_t> next = 0;
  std::atomic<bool> failed = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < connections; ++i) {
    threads.emplace_back([&, i] {
      for (std::uint64_t id = ++next; id <= requests; id = ++next) {
        WebhookRequest request;
        request.delivery_id = id;
        request.webhook_id = i;
        request.url = url;
        request.secrets = {kSecret};
        request.event_type = "bench";
        request.body = body();
        if (!sender.send(request).error.empty()) failed = true;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (failed) throw std::runtime_error("a request failed");
}

/// Every connection has a request under way, or nothing more to do.
class BareLoop {
 public:
  BareLoop(const WebhookUrl& url, std::uint64_t requests) : url_(url), left_(requests), epoll_(::epoll_create1(0)) {}
  ~BareLoop() {
    for (const int socket : sockets_) ::close(socket);
    ::close(epoll_);
  }
  BareLoop(const BareLoop&) = delete;
  BareLoop& operator=(const BareLoop&) = delete;

  void run(int connections) {
    for (int i = 0; i < connections; ++i) open();
    std::size_t answers = 0;
    const std::size_t wanted = left_ + static_cast<std::size_t>(connections);
    while (answers < wanted) {
      epoll_event events[64];
      const int count = ::epoll_wait(epoll_, events, 64, 5000);
      if (count <= 0) throw std::runtime_error("no answer");
      for (int i = 0; i < count; ++i) {
        char answer[4096];
        const auto got = ::recv(events[i].data.fd, answer, sizeof answer, 0);
        if (got <= 0 || std::memcmp(answer, "HTTP/1.1 200", 12) != 0) throw std::runtime_error("a request failed");
        ++answers;
        if (left_ == 0) continue;
        --left_;
        post(events[i].data.fd);
      }
    }
  }

 private:
  void open() {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(url_.port);
    if (::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      throw std::runtime_error("cannot connect");
    }
    const int on = 1;
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = socket;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event);
    sockets_.push_back(socket);
    post(socket);
  }

  void post(int socket) {
    std::string text = "POST " + url_.target + " HTTP/1.1\r\nHost: " + url_.host_header() + "\r\n";
    for (const std::string& line : header_lines(++id_)) text.append(line).append("\r\n");
    text.append("Content-Length: ").append(std::to_string(body().size())).append("\r\n\r\n").append(body());
    if (::send(socket, text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size())) {
      throw std::runtime_error("cannot send");
    }
  }

  const WebhookUrl url_;
  std::size_t left_;
  const int epoll_;
  std::uint64_t id_ = 0;
  std::vector<int> sockets_;
};

void send_bare(const std::string& url, std::uint64_t requests, int connections) {
  const auto parsed = WebhookUrl::parse(url);
  if (!parsed) throw std::runtime_error("not a URL");
  BareLoop(*parsed, requests - static_cast<std::uint64_t>(connections)).run(connections);
}

std::size_t discard(char*, std::size_t size, std::size_t count, void*) {
  return size * count;
}

void send_curl(const std::string& url, std::uint64_t requests, int connections) {
  curl_global_init(CURL_GLOBAL_ALL);
  CURLM* multi = curl_multi_init();
  std::uint64_t id = 0;
  const auto start = [&](CURL* one, curl_slist* old) {
    curl_slist_free_all(old);
    curl_slist* headers = curl_slist_append(nullptr, "Expect:");
    for (const std::string& line : header_lines(++id)) headers = curl_slist_append(headers, line.c_str());
    curl_easy_setopt(one, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(one, CURLOPT_PRIVATE, headers);
    curl_multi_add_handle(multi, one);
  };
  for (int i = 0; i < connections; ++i) {
    CURL* one = curl_easy_init();
    curl_easy_setopt(one, CURLOPT_URL, url.c_str());
    curl_easy_setopt(one, CURLOPT_POSTFIELDS, body().c_str());
    curl_easy_setopt(one, CURLOPT_POSTFIELDSIZE, static_cast<long>(body().size()));
    curl_easy_setopt(one, CURLOPT_WRITEFUNCTION, discard);
    curl_easy_setopt(one, CURLOPT_TIMEOUT_MS, 5000L);
    curl_easy_setopt(one, CURLOPT_NOSIGNAL, 1L);
    start(one, nullptr);
  }
  for (std::uint64_t answers = 0; answers < requests;) {
    int running = 0;
    curl_multi_perform(multi, &running);
    int left = 0;
    while (CURLMsg* message = curl_multi_info_read(multi, &left)) {
      CURL* one = message->easy_handle;
      long status = 0;
      curl_easy_getinfo(one, CURLINFO_RESPONSE_CODE, &status);
      if (message->data.result != CURLE_OK || status != 200) throw std::runtime_error("a request failed");
      curl_slist* headers = nullptr;
      curl_easy_getinfo(one, CURLINFO_PRIVATE, &headers);
      curl_multi_remove_handle(multi, one);
      ++answers;
      if (id < requests) start(one, headers);
    }
    if (answers < requests) curl_multi_poll(multi, nullptr, 0, 1000, nullptr);
  }
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void run(const std::string& mode, const std::string& url, std::uint64_t requests, int connections) {
  const auto begin = Clock::now();
  const double cpu = cpu_seconds();
  if (mode == "ours") {
    send_ours(url, requests, connections);
  } else if (mode == "bare") {
    send_bare(url, requests, connections);
  } else if (mode == "curl") {
    send_curl(url, requests, connections);
  } else {
    throw std::runtime_error("no such mode: " + mode);
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  const auto count = static_cast<double>(requests);
  std::cout << "{\"per_second\":" << static_cast<std::uint64_t>(count / seconds)
            << ",\"per_cpu_second\":" << static_cast<std::uint64_t>(count / (cpu_seconds() - cpu)) << "}\n";
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 5) throw std::runtime_error("usage: bench_webhook_http ours|bare|curl URL REQUESTS CONNECTIONS");
    run(argv[1], argv[2], std::stoull(argv[3]), std::atoi(argv[4]));
  } catch (const std::exception& error) {
    std::cerr << "bench_webhook_http: " << error.what() << '\n';
    return 1;
  }
}
