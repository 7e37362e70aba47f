// Clients' messages through protocol and hub, over an event log that answers when the input says so: whatever is sent,
// in whatever order the answers come, clients read well-formed messages, and of the channels they follow every event
// once. An input is lines; the first character of each says what happens:
//   0 1 2  the client of that number (an admin, a viewer, a stranger) sends the rest of the line
//   t h w p  the next question about a channel, about history, an event of a client, or about presence is answered
//   e k    an event happens in the channel that the rest names; its oldest one is forgotten
//   d      events are handed out to subscribers
//   f l    a client (its number follows) reads what it was sent; leaves, and another one comes in its place

#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include <Poco/JSON/Parser.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay/client_reports.hpp"
#include "relay/hub.hpp"
#include "relay/protocol.hpp"
#include "shared/json_reader.hpp"
#include "tests/fuzz/expect.hpp"
#include "tests/fuzz/memory_log.hpp"

using namespace gamepicker;

namespace {

using Poco::JSON::Object;

Config make_config() {
  Config config;
  config.jwt_secret = "a secret for the tokens of the fuzz target";
  return config;
}

/// What a client knows of a channel that it follows.
struct Followed {
  std::uint64_t from = std::numeric_limits<std::uint64_t>::max();  ///< it was promised everything behind this
  bool resumed_again = false;                                      ///< it asked for what it may have had
  std::set<std::uint64_t> seen;
};

/// A client and the far end of its socket.
class Peer {
 public:
  Peer(Hub& hub, DirtyList& dirty, IoMetrics& metrics, SteadyTime now) : hub_(hub) {
    expect(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends_.data()) == 0,
           "there are sockets");
    client_.emplace(ends_[0], dirty, metrics, std::size_t{1} << 20, now);
    client_->open({});
  }
  ~Peer() {
    hub_.leave(*client_);
    for (const int end : ends_) ::close(end);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  Client& client() { return *client_; }

  /// Reads all that it was sent.
  void read() {
    if (!client_->has_output()) return;
    std::array<char, 4096> bytes;
    do {
      expect(client_->flush() != SendQueue::Result::failed, "the socket holds");
      for (ssize_t got = 0; (got = ::recv(ends_[1], bytes.data(), bytes.size(), 0)) > 0;) {
        inbox_.append(bytes.data(), static_cast<std::size_t>(got));
      }
    } while (client_->has_output());
    std::size_t at = 0;
    while (at < inbox_.size()) at += read_frame(std::string_view(inbox_).substr(at));
    inbox_.clear();
    if (client_->recovering > 0) hub_.drained(*client_);  // as Connections does when all is sent
  }

  /// All questions are answered and everything is read: nothing that was promised may be missing.
  void check_complete(MemoryLog& log) {
    for (const Membership& membership : client_->memberships) {
      expect(membership.live && !membership.recovery && membership.pending.empty() &&
                 (!membership.seat || membership.seat->waiting.empty()),
             "every subscribe comes to rest");
      const std::string& name = membership.channel->name;
      const auto& events = log.channel(name).events;
      for (std::size_t i = 0; i < events.size(); ++i) {
        const std::uint64_t offset = events[i]->offset;
        if (offset <= followed_[name].from || events[i]->except == client_->socket_id) continue;
        expect(followed_[name].seen.contains(offset), "every event since comes", name + ' ' + std::to_string(offset));
      }
    }
  }

 private:
  std::size_t read_frame(std::string_view bytes) {
    const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(bytes.at(i)); };
    expect(!closed_, "nothing comes behind a close");
    std::size_t header = 2;
    std::size_t size = byte(1);
    expect(size <= 126 || size == 127, "frames are not masked");
    const std::size_t more = size < 126 ? 0 : size == 126 ? 2 : 8;
    if (more > 0) size = 0;
    for (std::size_t i = 0; i < more; ++i) size = size << 8 | byte(header++);
    expect(bytes.size() >= header + size, "frames are whole");
    const std::string_view payload = bytes.substr(header, size);
    if (byte(0) == 0x88) {
      const int code = byte(header) << 8 | byte(header + 1);
      expect(code == 4401 || code == 4410 || code == 4429, "a close has a code of the contract");
      closed_ = true;
    } else {
      expect(byte(0) == 0x81 && is_valid_utf8(payload), "all else is text", payload);
      read_message(std::string(payload));
    }
    return header + size;
  }

  void read_message(const std::string& text) {
    Object::Ptr message;
    try {
      message = Poco::JSON::Parser().parse(text).extract<Object::Ptr>();
    } catch (const std::exception&) {
      expect(false, "a message is a JSON object", text);
    }
    expect(message->has("type"), "a message has a type", text);
    const std::string type = message->getValue<std::string>("type");
    if (message->has("id") && message->has("channel")) return read_event(*message, text);
    static const std::set<std::string> replies = {
        "ack",  "auth_error", "auth_success", "connection_established", "error",
        "pong", "subscribed", "unsubscribed", "subscribed_batch"};
    expect(replies.contains(type), "a reply is one of the contract", text);
    if (type == "subscribed") read_subscribed(*message);
    if (type == "unsubscribed") followed_.erase(channel_of(*message));
  }

  static std::string channel_of(const Object& message) {
    if (message.has("channel")) return message.getValue<std::string>("channel");
    return session_channel(message.getValue<std::int64_t>("sessionId"));
  }

  void read_subscribed(const Object& message) {
    const std::string channel = channel_of(message);
    const auto offset = message.getValue<std::uint64_t>("offset");
    const bool known = followed_.contains(channel);
    Followed& followed = followed_[channel];
    const bool resumes = message.has("recovered");
    if (resumes) {
      // It said that it has seen all up to there, or reads it elsewhere, whatever it was promised before.
      followed.from = offset;
      followed.resumed_again = followed.resumed_again || (known && message.getValue<bool>("recovered"));
    } else {
      followed.from = std::min(followed.from, offset);
    }
  }

  void read_event(const Object& message, const std::string& text) {
    const std::string channel = channel_of(message);
    const bool member = std::any_of(client_->memberships.begin(), client_->memberships.end(),
                                    [&](const Membership& membership) { return membership.channel->name == channel; });
    expect(member || !client_->is_open(), "events come to members", text);
    Followed& followed = followed_[channel];
    const bool fresh = followed.seen.insert(message.getValue<std::uint64_t>("offset")).second;
    expect(fresh || followed.resumed_again, "an event comes once", text);
  }

  Hub& hub_;
  std::array<int, 2> ends_{};
  std::optional<Client> client_;
  std::string inbox_;
  std::map<std::string, Followed> followed_;
  bool closed_ = false;
};

class World {
 public:
  World() {
    for (std::size_t i = 0; i < peers_.size(); ++i) come(i);
  }

  void line(std::string_view line) {
    now_ += std::chrono::milliseconds(5);
    const char what = line.front();
    const std::string rest(line.substr(1));
    const auto number = static_cast<std::size_t>(rest.empty() ? 0 : (rest[0] - '0') & 3) % peers_.size();
    switch (what) {
      case '0':
      case '1':
      case '2':
        return send(static_cast<std::size_t>(what - '0'), rest);
      case 't':
        log_.answer_track(hub_);
        return;
      case 'h':
        log_.answer_read(hub_);
        return;
      case 'w':
        answer_write();
        return;
      case 'p':
        answer_ask();
        return;
      case 'e':
        if (is_channel_name(rest)) log_.happen(hub_, rest, event_body("game.added", {}, "{}"), {});
        return;
      case 'k':
        if (is_channel_name(rest)) log_.forget_oldest(rest);
        return;
      case 'd':
        hub_.deliver_slice();
        return;
      case 'f':
        return read(number);
      case 'l':
        return come(number);
      default:
        return;
    }
  }

  void settle() {
    bool busy = true;
    for (int rounds = 0; busy; ++rounds) {
      expect(rounds < 10'000, "everything comes to rest");
      busy = log_.answer_track(hub_);
      busy = log_.answer_read(hub_) || busy;
      busy = answer_write() || busy;
      busy = answer_ask() || busy;
      busy = hub_.deliver_slice() || busy;
      for (std::size_t i = 0; i < peers_.size(); ++i) {
        busy = peers_[i]->client().has_output() || busy;
        read(i);
      }
    }
    std::size_t seats = 0;
    for (const auto& peer : peers_) {
      peer->check_complete(log_);
      for (const Membership& membership : peer->client().memberships) seats += membership.seat ? 1 : 0;
    }
    expect(seats == log_.seats(), "every seat is given back with its membership");
  }

 private:
  void come(std::size_t number) {
    static const std::string tokens[] = {
        TokenAuthority(config_.jwt_secret).issue(Role::admin, "admin", std::chrono::hours(1000)),
        TokenAuthority(config_.jwt_secret).issue(Role::viewer, "viewer", std::chrono::hours(1000), {"private-a*"})};
    peers_[number].reset();  // before another one has its socket
    peers_[number] = std::make_unique<Peer>(hub_, dirty_, metrics_, now_);
    protocol_.opened(peers_[number]->client(), number < 2 ? std::optional(tokens[number]) : std::nullopt, now_);
  }

  /// A client that has read everything, so that what it reads next comes after what it sends now.
  void send(std::size_t number, const std::string& text) {
    read(number);
    if (peers_[number]->client().is_open()) protocol_.message(peers_[number]->client(), text, now_);
  }

  void read(std::size_t number) {
    peers_[number]->read();
    if (!peers_[number]->client().is_open()) come(number);
  }

  bool answer_write() {
    const auto result = log_.answer_write(hub_);
    if (!result) return false;
    for (const auto& peer : peers_) {
      Client& client = peer->client();
      if (client.socket() != result->socket || client.socket_id != result->socket_id) continue;
      if (const std::string reply = Protocol::written(*result); !reply.empty()) client.reply(reply);
    }
    return true;
  }

  bool answer_ask() {
    const auto answer = log_.answer_ask(hub_);
    if (!answer) return false;
    for (const auto& peer : peers_) {
      Client& client = peer->client();
      if (client.socket() == answer->socket && client.socket_id == answer->socket_id) hub_.present(client, *answer);
    }
    return true;
  }

  static inline const Config config_ = make_config();
  DirtyList dirty_;
  MemoryLog log_;
  IoMetrics metrics_;
  ClientReports reports_{log_};
  Hub hub_{log_, log_, log_, reports_, metrics_};
  Protocol protocol_{config_, hub_, log_, reports_};
  SteadyTime now_{std::chrono::hours(1)};
  std::array<std::unique_ptr<Peer>, 3> peers_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  World world;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (!line.empty()) world.line(line);
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
  world.settle();
  return 0;
}
