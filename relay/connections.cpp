#include "relay/connections.hpp"

#include <algorithm>
#include <cerrno>
#include <random>

#include <sys/socket.h>
#include <unistd.h>

#include "relay/client_reports.hpp"
#include "relay/handshake.hpp"
#include "relay/hub.hpp"
#include "relay/protocol.hpp"

namespace gamepicker {
namespace {

using std::chrono::milliseconds;
using Phase = Client::Phase;

constexpr std::string_view kPath = "/api/sessions/live";
constexpr std::size_t kReadBytes = 65536;
constexpr std::size_t kMaxHandshaking = 1024;  // sockets beyond the connection limit, so that it can be told them
constexpr milliseconds kHandshakeTimeout{10'000};
constexpr milliseconds kCloseTimeout{3'000};   // for the peer's half of the close handshake
constexpr milliseconds kLingerTimeout{2'000};  // for the peer's end of the socket
constexpr milliseconds kCommentEvery{15'000};  // of an event stream
constexpr milliseconds kDrainSpread{5'000};
constexpr milliseconds kLastHandshakes{1'000};
constexpr milliseconds kDrainStep{5};  // few clients need not wait
constexpr std::uint32_t kReadEvents = EPOLLIN | EPOLLRDHUP;
constexpr std::uint16_t kServiceRestart = 1012;
constexpr std::uint16_t kIdle = 4408;

}  // namespace

Connections::Connections(const Config& config, Epoll& epoll, Hub& hub, Protocol& protocol, ClientReports& reports,
                         IoMetrics& metrics, SteadyTime now)
    : config_(config),
      epoll_(epoll),
      hub_(hub),
      protocol_(protocol),
      reports_(reports),
      metrics_(metrics),
      admission_(config.relay_max_connections, config.relay_max_connections_per_address),
      max_sockets_(config.relay_max_connections + kMaxHandshaking),
      wheel_(now),
      buffer_(kReadBytes) {}

Connections::~Connections() {
  kill_all();
  flush({});
}

void Connections::add(int socket, std::string address, SteadyTime now) {
  const auto slot = static_cast<std::size_t>(socket);
  if (slot >= clients_.size()) clients_.resize(slot + 1);
  clients_[slot] = std::make_unique<Client>(socket, dirty_, metrics_, config_.relay_max_queue_bytes, now);
  clients_[slot]->address = std::move(address);
  ++count_;
  epoll_.add(socket, kReadEvents);
  arm(*clients_[slot]);
}

void Connections::ready(int socket, std::uint32_t events, SteadyTime now) {
  const auto slot = static_cast<std::size_t>(socket);
  Client* client = slot < clients_.size() ? clients_[slot].get() : nullptr;
  if (client == nullptr || client->phase() == Phase::dead) return;
  if ((events & EPOLLOUT) != 0) {
    arm_write(*client, false);
    if (!client->listed_dirty) {
      client->listed_dirty = true;
      dirty_.push_back(client);
    }
  }
  if ((events & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0) read(*client, now);
}

// One read for each report: epoll is level-triggered, and no client keeps the others waiting.
void Connections::read(Client& client, SteadyTime now) {
  const ssize_t got = ::recv(client.socket(), buffer_.data(), buffer_.size(), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return client.kill();
  client.last_heard = now;
  client.pings_sent = 0;
  const std::string_view bytes(buffer_.data(), static_cast<std::size_t>(got));
  if (client.phase() == Phase::handshake) {
    read_handshake(client, bytes, now);
  } else if (!client.is_stream() && (client.phase() == Phase::open || client.phase() == Phase::closing)) {
    read_frames(client, bytes, now);  // a stream's client has nothing more to say
  }
  if (client.phase() != Phase::dead) arm(client);
}

void Connections::read_handshake(Client& client, std::string_view bytes, SteadyTime now) {
  const std::size_t searched = client.inbox.size();
  client.inbox.append(bytes.substr(0, kMaxHeadBytes + 1));  // one more shows that it is too long
  const std::size_t end = find_head_end(client.inbox, searched);
  if (end == std::string::npos || end > kMaxHeadBytes) {
    if (client.inbox.size() > kMaxHeadBytes) refuse(client, 431, "Request header too large", now);
    return;
  }
  const std::string head = std::move(client.inbox).substr(0, end);
  std::string().swap(client.inbox);
  const auto result = read_live_request(head);
  if (const auto* refusal = std::get_if<Refusal>(&result)) {
    return refuse(client, refusal->status, refusal->error.c_str(), now);
  }
  if (const auto* stream = std::get_if<StreamRequest>(&result)) {
    if (!admit(client, *stream, 200, now)) return;
    client.open_stream();
    return protocol_.opened_stream(client, *stream, now);
  }
  const auto& request = std::get<UpgradeRequest>(result);
  if (!admit(client, request, 101, now)) return;
  client.open(upgrade_response(request));
  protocol_.opened(client, request.token, now);
  // What came behind the head are frames already.
  if (client.is_open()) read_frames(client, bytes.substr(end - searched), now);
}

bool Connections::origin_allowed(const std::string& origin) const {
  if (origin.empty() || config_.cors_origin == "*") return true;
  std::string_view rest = config_.cors_origin;
  while (!rest.empty()) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    std::string_view entry = rest.substr(0, comma);
    while (entry.starts_with(' ')) entry.remove_prefix(1);
    while (entry.ends_with(' ')) entry.remove_suffix(1);
    if (entry == "*" || entry == origin) return true;
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  return false;
}

/// Whether it may come in; refuses it otherwise. `status`: of the answer, for the metrics.
bool Connections::admit(Client& client, const LiveRequest& request, int status, SteadyTime now) {
  const auto refused = [&](int error, const char* message) {
    refuse(client, error, message, now);
    return false;
  };
  if (request.path != kPath) return refused(404, "Not found");
  if (!origin_allowed(request.origin)) return refused(403, "Origin not allowed");
  if (client.address.empty()) client.address = request.address;
  if (!admission_.admit(client.address)) return refused(503, "Too many connections");
  client.admitted = true;
  metrics_.connections.add(1);
  metrics_.handshakes.add(status);
  client.since = now;
  return true;
}

void Connections::refuse(Client& client, int status, const char* error, SteadyTime now) {
  std::string().swap(client.inbox);
  client.since = now;
  client.finish_with(refusal_response({status, error}));
  metrics_.handshakes.add(status);
}

void Connections::read_frames(Client& client, std::string_view bytes, SteadyTime now) {
  while (client.phase() == Phase::open || client.phase() == Phase::closing) {
    const FrameParser::Item item = client.parser.next(bytes);
    switch (item.kind) {
      case FrameParser::Kind::incomplete:
        return;
      case FrameParser::Kind::violation:
        client.close(item.code, item.payload);
        return;  // what follows cannot be read any more
      case FrameParser::Kind::close:
        return peer_closed(client, item.code, item.payload, now);
      case FrameParser::Kind::text:
        if (client.is_open()) protocol_.message(client, item.payload, now);
        break;
      case FrameParser::Kind::ping:
        if (protocol_.allow_control(client, now)) client.send_control(Opcode::pong, item.payload);
        break;
      case FrameParser::Kind::pong:
        protocol_.allow_control(client, now);
        break;
      case FrameParser::Kind::binary:
        return client.close(close_code::unsupported, "binary not supported");
    }
  }
}

void Connections::peer_closed(Client& client, std::uint16_t code, std::string_view reason, SteadyTime now) {
  if (client.is_open()) {
    client.close(code, {});
    client.end_reason = reason;  // the answer has none
  }
  client.since = now;
  client.linger();
}

SteadyTime Connections::next_ping(const Client& client) const {
  if (client.is_stream()) return client.last_heard + kCommentEvery * (client.pings_sent + 1);
  // Up to a sixteenth early, a different bit for each: clients that came together do not answer together.
  const auto early = config_.relay_ping_after * (client.socket() % 64) / 1024;
  return client.last_heard + config_.relay_ping_after * (client.pings_sent + 1) - early;
}

/// A stream's client is never heard of; who does not read it is found by its queue.
SteadyTime Connections::idle_ends(const Client& client) const {
  return client.is_stream() ? SteadyTime::max() : client.last_heard + config_.relay_idle_timeout;
}

SteadyTime Connections::slowness_ends(const Client& client) const {
  const auto since = client.behind_since();
  return since ? *since + config_.relay_max_queue_age : SteadyTime::max();
}

SteadyTime Connections::deadline(const Client& client) const {
  switch (client.phase()) {
    case Phase::handshake:
      return std::min(client.since + kHandshakeTimeout, client.leave_at.value_or(SteadyTime::max()));
    case Phase::closing:
    case Phase::lingering:
      // Until the end of this tick nobody has noted when it began: see leave_hub().
      if (!client.left_hub) return SteadyTime::max();
      return client.since + (client.phase() == Phase::closing ? kCloseTimeout : kLingerTimeout);
    case Phase::open:
    case Phase::dead:
      break;
  }
  return std::min({protocol_.authentication_ends(client), next_ping(client), idle_ends(client), slowness_ends(client),
                   client.leave_at.value_or(SteadyTime::max())});
}

void Connections::expire(SteadyTime now) {
  while (TimerWheel::Entry* entry = wheel_.pop_due(now)) {
    Client& client = static_cast<Client&>(*entry);
    if (client.phase() == Phase::dead) continue;
    // It may have been heard of since this was scheduled.
    if (deadline(client) <= now) deadline_passed(client, now);
    if (client.phase() != Phase::dead) wheel_.schedule(client, deadline(client));
  }
}

void Connections::deadline_passed(Client& client, SteadyTime now) {
  switch (client.phase()) {
    case Phase::handshake:
      return refuse(client, 408, "Request timeout", now);
    case Phase::open:
      return end_or_ping(client, now);
    case Phase::closing:
    case Phase::lingering:
    case Phase::dead:
      return client.kill();
  }
}

void Connections::end_or_ping(Client& client, SteadyTime now) {
  if (client.leave_at.value_or(SteadyTime::max()) <= now) {
    client.close(kServiceRestart, "service restart");
  } else if (protocol_.authentication_ends(client) <= now) {
    protocol_.authentication_ended(client);
  } else if (slowness_ends(client) <= now) {
    client.close_slow();
  } else if (idle_ends(client) <= now) {
    client.close(kIdle, "no activity");
  } else {
    ++client.pings_sent;
    client.is_stream() ? client.comment() : client.send_control(Opcode::ping, {});
  }
}

bool Connections::flush(SteadyTime now) {
  DirtyList dirty;
  dirty.swap(dirty_);
  for (Client* client : dirty) {
    client->listed_dirty = false;
    if (client->phase() != Phase::dead && flush_client(*client, now)) {
      client->listed_dirty = true;
      dirty_.push_back(client);
    }
    if (client->phase() == Phase::dead) dead_.push_back(client);
  }
  // kill() lists a client again when it was found dead just now.
  std::erase_if(dirty_, [](const Client* client) { return client->phase() == Phase::dead; });
  for (Client* client : dead_) bury(*client);
  dead_.clear();
  const bool more = !dirty_.empty();
  if (!more && dirty.capacity() > dirty_.capacity()) {
    dirty.clear();
    dirty_.swap(dirty);
  }
  return more;
}

/// Returns whether to come back in the next tick.
bool Connections::flush_client(Client& client, SteadyTime now) {
  if (client.phase() != Phase::open) leave_hub(client, now);
  const SendQueue::Result result = client.write_armed ? SendQueue::Result::blocked : client.flush();
  count_queue(client, client.queued_bytes());
  switch (result) {
    case SendQueue::Result::failed:
      client.kill();
      return false;
    case SendQueue::Result::blocked:
      client.note_backlog(now);
      arm_write(client, true);
      arm(client);
      return false;
    case SendQueue::Result::more:
      return true;
    case SendQueue::Result::drained:
      if (client.recovering > 0) hub_.drained(client);
      break;
  }
  if (client.phase() == Phase::lingering && !client.shut) {
    client.shut = true;
    ::shutdown(client.socket(), SHUT_WR);
  }
  return false;
}

void Connections::count_queue(Client& client, std::size_t bytes) {
  metrics_.queue_bytes.add(static_cast<std::int64_t>(bytes) - static_cast<std::int64_t>(client.counted_bytes));
  client.counted_bytes = bytes;
}

void Connections::arm_write(Client& client, bool wanted) {
  if (client.write_armed == wanted) return;
  client.write_armed = wanted;
  epoll_.modify(client.socket(), wanted ? kReadEvents | EPOLLOUT : kReadEvents);
}

// Where every way out of `open` comes by.
void Connections::leave_hub(Client& client, SteadyTime now) {
  if (client.left_hub) return;
  client.left_hub = true;
  hub_.leave(client);
  reports_.disconnected(client);
  client.since = now;
  arm(client);
}

void Connections::bury(Client& client) {
  hub_.leave(client);
  reports_.disconnected(client);
  wheel_.cancel(client);
  if (client.admitted) admission_.release(client.address);
  if (client.admitted) metrics_.connections.add(-1);
  count_queue(client, 0);
  const int socket = client.socket();
  clients_[static_cast<std::size_t>(socket)].reset();
  ::close(socket);
  --count_;
}

void Connections::drain(SteadyTime now) {
  std::vector<Client*> leaving;
  for (const auto& client : clients_) {
    if (!client) continue;
    if (client->phase() == Phase::open) leaving.push_back(client.get());
    if (client->phase() != Phase::handshake) continue;
    client->leave_at = now + kLastHandshakes;  // who has come to the door still gets in, and is told to come back
    arm(*client);
  }
  std::shuffle(leaving.begin(), leaving.end(), std::minstd_rand(std::random_device{}()));
  const milliseconds spread = std::min(kDrainSpread, kDrainStep * static_cast<std::int64_t>(leaving.size()));
  for (std::size_t i = 0; i < leaving.size(); ++i) {
    const auto share = static_cast<std::int64_t>(i);
    leaving[i]->leave_at = now + spread * share / static_cast<std::int64_t>(leaving.size());
    arm(*leaving[i]);
  }
}

Client* Connections::find(int socket, const std::string& socket_id) const {
  const auto slot = static_cast<std::size_t>(socket);
  Client* client = slot < clients_.size() ? clients_[slot].get() : nullptr;
  return client != nullptr && client->socket_id == socket_id ? client : nullptr;
}

void Connections::kill_all() {
  for (const auto& client : clients_) {
    if (client) client->kill();
  }
}

}  // namespace gamepicker
