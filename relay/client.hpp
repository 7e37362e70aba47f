#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "relay/feed.hpp"
#include "relay/frame.hpp"
#include "relay/metrics.hpp"
#include "relay/rate_limit.hpp"
#include "relay/send_queue.hpp"
#include "relay/timer_wheel.hpp"
#include "shared/clock.hpp"
#include "shared/tokens.hpp"

namespace gamepicker {

class Client;
struct Channel;

/// Clients with something to send, or with an end to be put to.
using DirtyList = std::vector<Client*>;

/// The channels of one subscribe_batch, until the last of them is answered.
struct SubscribeBatch {
  std::string ack;
  std::size_t unanswered = 0;
  std::vector<std::string> succeeded;
  std::vector<std::pair<std::string, std::string>> failed;  ///< channel and message
};

/// A subscribe whose answer waits for the event reader, or for history.
struct Subscribe {
  std::string channel;
  std::optional<std::int64_t> session_id;  ///< it was named by its session, and so is the answer
  std::optional<std::uint64_t> offset;     ///< everything up to here was seen
  std::string info;                        ///< JSON, or empty; what a presence channel tells of the client
  std::string ack;
  std::shared_ptr<SubscribeBatch> batch;
  std::shared_ptr<const std::string> members;  ///< of a presence channel; for the answer
};

/// A member that is still getting what it has missed.
struct Recovery {
  std::uint64_t next = 0;          ///< it has everything up to here
  std::optional<Subscribe> reply;  ///< not answered yet
  bool ready = true;               ///< it has taken what it was sent
  std::vector<Subscribe> waiting;  ///< that came meanwhile
};

/// A client's place in a presence channel. It is given back when the membership ends.
struct Seat {
  std::string user;
  std::vector<std::pair<std::uint64_t, Subscribe>> waiting;  ///< by the tickets of their questions
};

/// One channel of one client; the other half is Channel::members[index].
struct Membership {
  Channel* channel = nullptr;
  std::size_t index = 0;
  bool live = false;      ///< its events come as they happen
  bool reported = false;  ///< kept by ClientReports
  std::vector<Subscribe> pending;
  std::unique_ptr<Recovery> recovery;  ///< few have one, and it is large
  std::unique_ptr<Seat> seat;          ///< likewise
};

/// One connection: its socket, what it still has to send, and what it is allowed. Lives in Connections, which
/// also closes the socket; everything else refers to it only while it is connected. Used by the I/O thread
/// alone.
class Client : public TimerWheel::Entry {
 public:
  /// handshake: waiting for the request. open: WebSocket. closing: our close frame is queued or out, waiting
  /// for the peer's. lingering: our side of the socket is, or after the last byte will be, shut; waiting for
  /// the peer's end. dead: only burial is left.
  enum class Phase : std::uint8_t { handshake, open, closing, lingering, dead };

  /// `dirty` and `metrics` outlive the client.
  Client(int socket, DirtyList& dirty, IoMetrics& metrics, std::size_t max_queue_bytes, SteadyTime now)
      : socket_(socket),
        max_queue_bytes_(max_queue_bytes),
        dirty_(dirty),
        metrics_(metrics),
        since(now),
        last_heard(now) {}

  int socket() const { return socket_; }
  Phase phase() const { return phase_; }
  bool is_open() const { return phase_ == Phase::open; }
  bool is_authenticated() const { return role.has_value(); }

  /// A text message that overtakes queued events. Nothing happens unless open, and nothing to a stream.
  void reply(std::string_view json);
  /// A control frame, in the same lane.
  void send_control(Opcode opcode, std::string_view payload);
  /// A text message that keeps its place among the events.
  void reply_in_order(std::string_view json);
  /// An event. Closes the client with 4410 when it does not drain: nothing is ever skipped silently.
  void deliver(const FramePtr& frame);

  /// Sends what is queued, then a close frame; nothing can be queued afterwards.
  void close(std::uint16_t code, std::string_view reason);

  /// The 101 answer: from here on it is a WebSocket.
  void open(std::string_view response);
  /// From here on it is an event stream. Nothing goes out before one of the next two.
  void open_stream();
  /// The head of the answer and the first message.
  void begin_stream(std::string_view subscribed);
  /// No stream: an HTTP error instead.
  void refuse_stream(int status, std::string_view error);
  bool is_stream() const { return transport_ != Transport::web_socket; }
  /// An event stream's sign of life.
  void comment();
  /// Raw bytes, then the end of the connection: an HTTP error.
  void finish_with(std::string_view response);
  /// After the close handshake: shut our side as soon as everything is out.
  void linger();
  /// The peer is gone, or has to be.
  void kill();

  /// Sends queued bytes while the socket takes them, at most one sendmsg.
  SendQueue::Result flush() { return queue_.flush(socket_, metrics_); }
  bool has_output() const { return !queue_.empty(); }
  std::size_t queued_bytes() const { return queue_.bytes(); }

  /// Notes how much is queued now, unless an earlier note still stands: that much has to be out within the time that a
  /// client is given. Called when its socket takes no more.
  void note_backlog(SteadyTime now);
  /// Since when it has had what is noted; nothing when all of that is out.
  std::optional<SteadyTime> behind_since() const;
  /// Closes it for being slow.
  void close_slow();

 private:
  enum class Transport : std::uint8_t { web_socket, stream_to_begin, stream };

  void enqueue(FramePtr frame);
  bool make_room(std::size_t bytes);
  void mark_dirty();
  void note_end(std::uint16_t code, std::string_view reason);

  const int socket_;
  Phase phase_ = Phase::handshake;
  Transport transport_ = Transport::web_socket;
  const std::size_t max_queue_bytes_;
  std::uint64_t backlog_end_ = 0;  ///< the note: when so many bytes have gone out
  SteadyTime backlog_since_;
  DirtyList& dirty_;
  IoMetrics& metrics_;
  SendQueue queue_;

 public:
  // Kept by itself and its peer's close frame; 1006: without one.
  std::uint16_t end_code = close_code::abnormal;
  std::string end_reason;

  // Kept by ClientReports.
  bool reported = false;

  // Kept by Connections.
  bool listed_dirty = false;
  bool write_armed = false;
  bool shut = false;
  bool left_hub = false;
  bool admitted = false;          ///< counts against the connection limits
  std::size_t counted_bytes = 0;  ///< queued ones that IoMetrics::queue_bytes holds
  std::uint32_t pings_sent = 0;   ///< since it was last heard
  SteadyTime since;               ///< when the present phase began
  SteadyTime last_heard;
  std::optional<SteadyTime> leave_at;  ///< when a stopping relay closes it
  std::string inbox;                   ///< the incomplete request
  std::string address;                 ///< its own, or as the proxy says; empty when unknown
  FrameParser parser;

  // Kept by Protocol.
  std::optional<Role> role;  ///< nothing before authentication
  std::string subject;
  std::vector<std::string> allowed_channels;  ///< the token's claim; for viewers
  SteadyTime token_expires = SteadyTime::max();
  std::uint8_t auth_failures = 0;
  RateLimit rate;
  std::string socket_id;
  Timestamp connected_at{};

  // Kept by Hub.
  std::vector<Membership> memberships;
  std::size_t recovering = 0;  ///< how many of them have a Recovery
};

}  // namespace gamepicker
