#include "io_fixture.hpp"

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <boost/test/unit_test.hpp>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "relay/frame.hpp"

namespace gamepicker::testing {
namespace {

constexpr int kPatienceMs = 20'000;  // under sanitizers, on a busy machine

}  // namespace

void FakeTracker::track(std::string channel) {
  const std::lock_guard lock(mutex_);
  if (hold_) {
    held_.push_back(std::move(channel));
  } else {
    answer(channel);
  }
}

void FakeTracker::untrack(std::string channel) {
  const std::lock_guard lock(mutex_);
  tracked_.erase(channel);
}

void FakeTracker::answer(const std::string& channel) {
  const auto head = heads_.find(channel);
  if (head == heads_.end()) return feed_.tracked(channel, std::nullopt);
  tracked_.insert(channel);
  feed_.tracked(channel, head->second);
}

void FakeTracker::set_head(const std::string& channel, std::uint64_t head) {
  const std::lock_guard lock(mutex_);
  heads_[channel] = head;
}

void FakeTracker::hold_answers() {
  const std::lock_guard lock(mutex_);
  hold_ = true;
}

void FakeTracker::release_answers() {
  const std::lock_guard lock(mutex_);
  hold_ = false;
  for (const std::string& channel : held_) answer(channel);
  held_.clear();
}

bool FakeTracker::waits_until_tracked(const std::string& channel, bool wanted) {
  return waits_until([&] {
    const std::lock_guard lock(mutex_);
    return tracked_.contains(channel) == wanted;
  });
}

bool waits_until(const std::function<bool()>& holds) {
  for (int i = 0; i < kPatienceMs / 5; ++i) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

RawClient::RawClient(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  BOOST_TEST_REQUIRE(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
}

RawClient::RawClient(const std::string& path) : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  BOOST_TEST_REQUIRE(::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
}

RawClient::~RawClient() {
  ::close(socket_);
}

void RawClient::send_bytes(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;  // the server may have ended it; what it said is still to be read
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

bool RawClient::fill(int timeout_ms) {
  pollfd ready{socket_, POLLIN, 0};
  BOOST_TEST_REQUIRE(::poll(&ready, 1, timeout_ms) > 0, "nothing came in time");
  char bytes[65536];
  const ssize_t got = ::recv(socket_, bytes, sizeof bytes, 0);
  if (got <= 0) return false;
  buffer_.append(bytes, static_cast<std::size_t>(got));
  return true;
}

void RawClient::need(std::size_t bytes) {
  while (buffer_.size() < bytes) BOOST_TEST_REQUIRE(fill(kPatienceMs), "the connection ended");
}

std::string RawClient::upgrade(const std::string& more_headers) {
  send_bytes(
      "GET /api/sessions/live HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
      more_headers + "\r\n");
  return read_head();
}

std::string RawClient::read_head() {
  while (buffer_.find("\r\n\r\n") == std::string::npos) {
    BOOST_TEST_REQUIRE(fill(kPatienceMs), "the connection ended");
  }
  const std::size_t end = buffer_.find("\r\n\r\n") + 4;
  const std::string head = buffer_.substr(0, end);
  buffer_.erase(0, end);
  return head;
}

std::string RawClient::read_event() {
  while (buffer_.find("\n\n") == std::string::npos) BOOST_TEST_REQUIRE(fill(kPatienceMs), "the connection ended");
  const auto end = buffer_.find("\n\n") + 2;
  std::string event = buffer_.substr(0, end);
  buffer_.erase(0, end);
  return event;
}

std::string RawClient::read_to_end() {
  while (fill(kPatienceMs)) continue;
  return std::exchange(buffer_, {});
}

void RawClient::read_a_byte() {
  char byte = 0;
  if (::recv(socket_, &byte, 1, MSG_DONTWAIT) == 1) buffer_ += byte;
}

void RawClient::send_frame(int opcode, std::string_view payload) {
  std::string frame = encode_frame(static_cast<Opcode>(opcode), payload);
  // A server's frame becomes a client's by its mask bit and a mask; of zeros, so that the payload stays as it
  // is.
  frame[1] = static_cast<char>(frame[1] | 0x80);
  frame.insert(frame.size() - payload.size(), 4, '\0');
  send_bytes(frame);
}

RawClient::Received RawClient::next_frame() {
  need(2);
  const auto byte = [this](std::size_t i) { return static_cast<unsigned char>(buffer_[i]); };
  BOOST_TEST_REQUIRE((byte(0) & 0xF0) == 0x80);
  BOOST_TEST_REQUIRE((byte(1) & 0x80) == 0);
  std::size_t size = byte(1);
  std::size_t header = 2;
  if (size >= 126) {
    header += size == 126 ? 2 : 8;
    need(header);
    size = 0;
    for (std::size_t i = 2; i < header; ++i) size = size << 8 | byte(i);
  }
  need(header + size);
  Received received{byte(0) & 0x0F, buffer_.substr(header, size)};
  buffer_.erase(0, header + size);
  return received;
}

std::string RawClient::next_text() {
  Received received = next_frame();
  while (received.opcode == 9) received = next_frame();
  BOOST_TEST_REQUIRE(received.opcode == 1);
  return received.payload;
}

std::string RawClient::next_close() {
  Received received = next_frame();
  while (received.opcode != 8) received = next_frame();
  if (received.payload.size() < 2) return "none";
  const int code =
      static_cast<unsigned char>(received.payload[0]) << 8 | static_cast<unsigned char>(received.payload[1]);
  return std::to_string(code) + ' ' + received.payload.substr(2);
}

std::uint16_t free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  BOOST_TEST_REQUIRE(::bind(socket, reinterpret_cast<const sockaddr*>(&address), size) == 0);
  BOOST_TEST_REQUIRE(::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  ::close(socket);
  return ntohs(address.sin_port);
}

IoFixture::IoFixture() : stop_(::eventfd(0, EFD_CLOEXEC)) {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  char folder[] = "/tmp/gamepicker-io-XXXXXX";
  folder_ = ::mkdtemp(folder);
  config.jwt_secret = "a secret of the tests, long enough";
  config.relay_socket = folder_ + "/relay.sock";
  tracker.set_head("sessions", 0);
  tracker.set_head("session.1", 0);
  tracker.set_head("session.2", 41);
}

IoFixture::~IoFixture() {
  stop();
  ::close(stop_);
  std::filesystem::remove_all(folder_);
}

void IoFixture::start() {
  loop_ = std::make_unique<IoLoop>(config, mailbox, Backend{tracker, no_history, no_history, no_history, no_history},
                                   metrics.io, stop_);
  thread_ = std::thread([this] { loop_->run(); });
}

void IoFixture::begin_stop() {
  const std::uint64_t one = 1;
  BOOST_TEST(::write(stop_, &one, sizeof one) == static_cast<ssize_t>(sizeof one));
}

void IoFixture::stop() {
  begin_stop();
  if (thread_.joinable()) thread_.join();
}

std::unique_ptr<RawClient> IoFixture::connect(const std::string& more_headers) {
  auto client = std::make_unique<RawClient>(config.relay_socket);
  BOOST_TEST_REQUIRE(client->upgrade(more_headers).starts_with("HTTP/1.1 101 "));
  BOOST_TEST_REQUIRE(client->next_text().starts_with("{\"type\":\"connection_established\""));
  return client;
}

std::unique_ptr<RawClient> IoFixture::connect_authenticated() {
  auto client = connect();
  client->send_text("{\"type\":\"auth\",\"token\":\"" + token() + "\"}");
  BOOST_TEST_REQUIRE(client->next_text() == "{\"type\":\"auth_success\",\"message\":\"Authenticated successfully\"}");
  return client;
}

std::unique_ptr<RawClient> IoFixture::connect_subscribed(int session_id) {
  auto client = connect_authenticated();
  client->send_text("{\"type\":\"subscribe\",\"sessionId\":" + std::to_string(session_id) + "}");
  BOOST_TEST_REQUIRE(client->next_text().starts_with("{\"type\":\"subscribed\""));
  return client;
}

std::string IoFixture::token(std::chrono::seconds lifetime) const {
  return TokenAuthority(config.jwt_secret).issue(Role::admin, "tester", lifetime);
}

void IoFixture::publish(const std::string& channel, std::uint64_t offset, const std::string& text) {
  auto frame = std::make_shared<Frame>();
  frame->channel = channel;
  frame->offset = offset;
  frame->bytes = encode_text_frame(text);
  mailbox.publish({std::move(frame)});
}

}  // namespace gamepicker::testing
