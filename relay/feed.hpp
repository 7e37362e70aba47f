#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "shared/clock.hpp"

namespace gamepicker {

/// One event as it goes onto the wire. Encoded once, shared by every subscriber, never changed.
struct Frame {
  std::string channel;
  std::uint64_t offset = 0;
  std::string bytes;           ///< a complete server text frame (encode_text_frame of event_message)
  std::string except;          ///< the socket id of the one client that does not get it; empty for none
  std::uint32_t messages = 1;  ///< how many frames `bytes` holds, for the metrics
  /// The same for event streams, once one has asked for it; the I/O thread's alone.
  mutable std::shared_ptr<const Frame> in_stream;
  /// By this machine's clock, from its age by the database's; only of events that are read as they happen.
  std::chrono::steady_clock::time_point written_at{};
};

using FramePtr = std::shared_ptr<const Frame>;

/// What is kept of a channel after an offset, as much of it as fits a page.
struct HistoryPage {
  std::string channel;
  std::uint64_t after = 0;       ///< as it was asked for
  std::uint64_t head = 0;        ///< the channel's newest offset, read before the frames
  std::uint64_t tail = 0;        ///< events up to this offset are not kept for subscribers any more
  std::uint64_t last = 0;        ///< the last offset found; 0 when there was none
  std::vector<FramePtr> frames;  ///< in offset order
};

/// An event that a client makes: a client event, or the standing of a poll.
struct ClientEvent {
  std::string channel;
  std::string type;
  std::string body;                        ///< as the outbox stores it
  Timestamp at{};                          ///< as its timestamp says
  std::size_t data_bytes = 0;              ///< of "data" in the body of a client event, which has "from" behind it
  std::string except;                      ///< the sender's socket id when it is not to hear it itself
  std::optional<std::int64_t> session_id;  ///< must exist; set for poll.leading
  std::int64_t game_id = 0;                ///< of poll.leading, kept on the session
  std::string label;
  std::int64_t votes = 0;
  int socket = -1;        ///< who gets the answer
  std::string socket_id;  ///< still the same one
  std::string ack;
};

/// The answer to a ClientEvent: empty `error` when it is in the event log.
struct ClientEventResult {
  int socket = -1;
  std::string socket_id;
  std::string ack;
  std::string error;
};

/// A client that enters a presence channel, or is in it and asks who else is. All answers carry its ticket.
struct PresenceRequest {
  std::string channel;
  std::string user;
  std::string info;       ///< JSON; of the member's first connection it stays
  bool enters = true;     ///< counts as one more connection of the user, until Presence::leave()
  int socket = -1;        ///< who gets the answer
  std::string socket_id;  ///< still the same one
  std::uint64_t ticket = 0;
};

/// Who is in the channel, as of an offset: the joins and leaves behind it tell what changes.
struct PresenceAnswer {
  int socket = -1;
  std::string socket_id;
  std::string channel;
  std::uint64_t ticket = 0;
  std::uint64_t offset = 0;
  std::shared_ptr<const std::string> members;  ///< {"count","ids","hash"}; null when there is no room for one more
};

/// What the event reader tells the I/O side. Thread-safe; called from the reader's thread. Calls arrive in
/// the order they are made, which is what makes "the answer, then everything after it" hold.
class Feed {
 public:
  virtual ~Feed() = default;

  /// Live events of tracked channels, in offset order per channel. May wait while the I/O side is behind.
  virtual void publish(std::vector<FramePtr> frames) = 0;

  /// The answer to ChannelTracker::track(): the channel's current offset, or nothing when its session does
  /// not exist (the channel then is not tracked). Exactly one answer for each track().
  virtual void tracked(const std::string& channel, std::optional<std::uint64_t> head) = 0;

  /// The answer to History::read(). Exactly one for each.
  virtual void history(HistoryPage page) = 0;

  /// What became of a client's event. Exactly one for each that ClientEvents::write() took.
  virtual void written(ClientEventResult result) = 0;

  /// The answer to Presence::ask(). At most one for each: who leaves before gets none.
  virtual void present(PresenceAnswer answer) = 0;
};

/// Reads what clients have missed. Thread-safe, never blocks.
class History {
 public:
  virtual ~History() = default;

  /// Answers Feed::history() with a page of the channel's events after this offset, when the database is there.
  virtual void read(std::string channel, std::uint64_t after) = 0;
};

/// Puts the events of clients into the event log, from where they come back to every relay. Thread-safe, never blocks.
class ClientEvents {
 public:
  virtual ~ClientEvents() = default;

  /// False when too many wait already: nothing was taken.
  virtual bool write(ClientEvent event) = 0;
};

/// What the I/O side asks of the event reader. Thread-safe, never blocks.
class ChannelTracker {
 public:
  virtual ~ChannelTracker() = default;

  /// The first local subscriber came: look up the channel, answer Feed::tracked(), and from then on publish
  /// every later event of it, in order. Never asked again before the answer has come.
  virtual void track(std::string channel) = 0;

  /// The last local subscriber left. Only called for a channel that was answered with a head.
  virtual void untrack(std::string channel) = 0;
};

/// Who is in which presence channel, over all relays. Thread-safe, never blocks.
class Presence {
 public:
  virtual ~Presence() = default;

  /// Answers Feed::present() once the database knows of it, unless that connection leaves before.
  virtual void ask(PresenceRequest request) = 0;

  /// One connection fewer. Once for each ask() with `enters`, be it answered yet or not, be there room or not.
  virtual void leave(std::string channel, std::string user, const std::string& socket_id) = 0;
};

}  // namespace gamepicker
