#include "tests/chaos/followers.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/load_frames.hpp"

namespace chaos {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kReadBytes = 256 * 1024;
constexpr std::size_t kStallingOf = 20;  ///< every which follower stalls
constexpr std::size_t kChannelsOfStalling = 10;
constexpr std::size_t kMaxChannels = 5;    ///< of the others
constexpr int kStallingBuffer = 8 * 1024;  ///< of its socket: it falls behind soon
constexpr int kFirstComeWithin = 8'000;    ///< ms
constexpr int kFirstRetry = 50;
constexpr int kLongestRetry = 2'000;
constexpr milliseconds kAnswerWithin{90'000};  ///< the upgrade and all subscribes; the database may be away

void send_all(int socket, const std::string& bytes) {
  // A few hundred bytes on a socket whose peer reads: it always has the room.
  [[maybe_unused]] const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

int connect_tcp(const std::string& target, int receive_buffer) {
  const std::size_t colon = target.rfind(':');
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::stoul(target.substr(colon + 1))));
  ::inet_pton(AF_INET, target.substr(0, colon).c_str(), &address.sin_addr);
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (receive_buffer > 0) ::setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return socket;
  ::close(socket);
  return -1;
}

/// The text behind `"channel":"`.
std::string_view channel_in(std::string_view message) {
  constexpr std::string_view kKey = R"("channel":")";
  const std::size_t found = message.rfind(kKey);
  if (found == std::string_view::npos) return {};
  message.remove_prefix(found + kKey.size());
  return message.substr(0, message.find('"'));
}

}  // namespace

Followers::Followers(std::string address, std::string token, std::size_t count, std::uint64_t seed)
    : address_(std::move(address)),
      token_(std::move(token)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      random_(seed * 1000 + 999),
      followers_(count),
      buffer_(kReadBytes, '\0'),
      now_(Clock::now()) {
  std::array<std::size_t, kChannels> channels{};
  for (std::size_t i = 0; i < kChannels; ++i) channels[i] = i;
  for (std::size_t i = 0; i < count; ++i) {
    Follower& follower = followers_[i];
    follower.stalls = i % kStallingOf == 0;
    follower.until = now_ + between(0, kFirstComeWithin);
    std::ranges::shuffle(channels, random_);
    follower.follows.resize(follower.stalls ? kChannelsOfStalling : 1 + below(kMaxChannels));
    for (std::size_t f = 0; f < follower.follows.size(); ++f) follower.follows[f].channel = channels[f];
  }
}

Followers::~Followers() {
  for (const Follower& follower : followers_) {
    if (follower.socket >= 0) ::close(follower.socket);
  }
  ::close(epoll_);
}

Clock::duration Followers::between(int from_ms, int to_ms) {
  return milliseconds(from_ms + static_cast<int>(below(static_cast<std::uint64_t>(to_ms - from_ms))));
}

void Followers::poll(int timeout_ms) {
  now_ = Clock::now();
  for (std::size_t i = 0; i < followers_.size(); ++i) tend(i);
  std::array<epoll_event, 256> ready{};
  const int count = ::epoll_wait(epoll_, ready.data(), static_cast<int>(ready.size()), timeout_ms);
  now_ = Clock::now();
  for (int i = 0; i < count; ++i) read(ready[static_cast<std::size_t>(i)].data.u64);
}

/// What is due by the clock.
void Followers::tend(std::size_t index) {
  Follower& follower = followers_[index];
  switch (follower.phase) {
    case Phase::away:
      if (now_ >= follower.until) connect(index);
      return;
    case Phase::handshake:
    case Phase::subscribing:
      if (now_ < follower.until) return;
      surprise("no answer for long");
      return away(follower);
    case Phase::stalled:
      if (now_ < follower.until && !calm_) return;
      follower.phase = Phase::ready;
      follower.whim = now_ + between(3'000, 8'000);
      return watch(index, true);
    case Phase::ready:
      if (now_ < follower.whim || calm_) return;
      if (!follower.stalls) {
        ++left_;
        return away(follower);
      }
      ++stalls_;
      follower.phase = Phase::stalled;
      follower.until = now_ + between(2'000, 8'000);
      return watch(index, false);
  }
}

/// Not watched at all when unwanted: a lost connection would be reported on and on.
void Followers::watch(std::size_t index, bool wanted) const {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = index;
  ::epoll_ctl(epoll_, wanted ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, followers_[index].socket, &event);
}

void Followers::connect(std::size_t index) {
  Follower& follower = followers_[index];
  follower.socket = connect_tcp(address_, follower.stalls ? kStallingBuffer : 0);
  if (follower.socket < 0) {
    ++refused_;
    return away(follower);
  }
  follower.phase = Phase::handshake;
  follower.until = now_ + kAnswerWithin;
  watch(index, true);
  send_all(follower.socket,
           "GET /api/sessions/live HTTP/1.1\r\nHost: chaos\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer " +
               token_ + "\r\n\r\n");
}

/// Waits longer from try to try, and never as long as the others.
void Followers::away(Follower& follower) {
  if (follower.socket >= 0) ::close(follower.socket);
  follower.socket = -1;
  follower.rest.clear();
  for (Follow& follow : follower.follows) follow.subscribed = false;
  follower.phase = Phase::away;
  const int wait = std::min(kFirstRetry << std::min(follower.tries++, 10), kLongestRetry);
  follower.until = now_ + between(wait / 2, wait * 3 / 2);
}

// What is kept of an incomplete frame goes in front of what comes.
void Followers::read(std::size_t index) {
  Follower& follower = followers_[index];
  if (follower.socket < 0) return;
  const std::size_t kept = follower.rest.size();
  std::memcpy(buffer_.data(), follower.rest.data(), kept);
  const ssize_t got = ::recv(follower.socket, buffer_.data() + kept, buffer_.size() - kept, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) {
    ++(follower.phase == Phase::handshake ? refused_ : lost_);
    return away(follower);
  }
  std::string_view left(buffer_.data(), kept + static_cast<std::size_t>(got));
  if (follower.phase == Phase::handshake) left = upgraded(follower, left);
  while (follower.phase != Phase::away && follower.phase != Phase::handshake) {
    const auto next = bench::take_frame(left);
    if (!next) break;
    frame(follower, next->opcode, next->payload);
  }
  if (follower.phase != Phase::away) follower.rest.assign(left);
}

std::string_view Followers::upgraded(Follower& follower, std::string_view answer) {
  const std::size_t end = answer.find("\r\n\r\n");
  if (end == std::string_view::npos) return answer;
  if (!answer.starts_with("HTTP/1.1 101")) {
    ++refused_;
    away(follower);
    return {};
  }
  ++connections_;
  follower.phase = Phase::subscribing;
  std::string wanted;
  for (const Follow& follow : follower.follows) {
    std::string subscribe = R"({"type":"subscribe","channel":")" + channel_name(follow.channel) + '"';
    if (follow.known) subscribe += R"(,"offset":)" + std::to_string(follow.last);
    wanted += bench::client_frame(1, subscribe + "}");
  }
  send_all(follower.socket, wanted);
  return answer.substr(end + 4);
}

void Followers::frame(Follower& follower, int opcode, std::string_view payload) {
  if (opcode == 9) return send_all(follower.socket, bench::client_frame(10, payload));
  if (opcode == 8) {
    int code = 1005;
    if (payload.size() >= 2) {
      code = static_cast<unsigned char>(payload[0]) << 8 | static_cast<unsigned char>(payload[1]);
    }
    ++closes_[code];
    return away(follower);
  }
  text(follower, payload);
}

void Followers::text(Follower& follower, std::string_view message) {
  if (message.starts_with(R"({"type":"connection_established")") || message.starts_with(R"({"type":"auth_success")")) {
    return;
  }
  const std::string_view channel = channel_in(message);
  const auto follow =
      std::ranges::find_if(follower.follows, [&](const Follow& one) { return channel_name(one.channel) == channel; });
  if (follow == follower.follows.end()) return surprise(message);
  if (message.starts_with(R"({"type":"subscribed")") && !follow->subscribed) {
    return subscribed(follower, *follow, message);
  }
  if (message.starts_with(R"({"type":"chaos")") && follow->subscribed) return event(*follow, message);
  surprise(message);
}

void Followers::subscribed(Follower& follower, Follow& follow, std::string_view message) {
  const std::uint64_t offset = bench::number_after(message, R"("offset":)").value_or(0);
  if (follow.known) {
    ++resumed_;
    if (message.find(R"("recovered":true)") == std::string_view::npos || offset != follow.last) {
      if (not_recovered++ == 0) surprise(message);
    }
  } else {
    follow.first = follow.last = offset;
  }
  follow.known = follow.subscribed = true;
  if (!std::ranges::all_of(follower.follows, &Follow::subscribed)) return;
  follower.phase = Phase::ready;
  follower.tries = 0;
  follower.whim = now_ + (follower.stalls ? between(1'000, 6'000) : between(5'000, 60'000));
}

void Followers::event(Follow& follow, std::string_view message) {
  ++events;
  const std::size_t key = message.rfind(R"("offset":)");
  const std::uint64_t offset = bench::number_after(message.substr(key), R"("offset":)").value_or(0);
  if (offset <= follow.last) {
    ++repeated;
    return;
  }
  skipped += offset - follow.last - 1;
  follow.hashes.resize(offset - follow.first - 1);  // what was left out has no hash
  follow.hashes.push_back(hash_of(data_of(message)));
  follow.last = offset;
}

void Followers::surprise(std::string_view message) {
  if (unexpected++ == 0) first_unexpected = message;
}

std::string Followers::figures() const {
  std::string text = std::to_string(events) + " events heard, " + std::to_string(connections_) + " connections, " +
                     std::to_string(refused_) + " refused, " + std::to_string(lost_) + " lost, " +
                     std::to_string(left_) + " left, " + std::to_string(stalls_) + " stalls, " +
                     std::to_string(resumed_) + " channels resumed, closed:";
  for (const auto& [code, count] : closes_) text += ' ' + std::to_string(count) + "x" + std::to_string(code);
  return text;
}

}  // namespace chaos
