#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "relay/admission.hpp"
#include "relay/client.hpp"
#include "relay/epoll.hpp"
#include "relay/timer_wheel.hpp"
#include "shared/config.hpp"

namespace gamepicker {

class ClientReports;
class Hub;
class Protocol;
struct LiveRequest;

/// All clients' sockets: reading, the handshake, frames, heartbeat, sending, ending. Used by the I/O thread
/// alone.
class Connections {
 public:
  /// The others outlive it.
  Connections(const Config& config, Epoll& epoll, Hub& hub, Protocol& protocol, ClientReports& reports,
              IoMetrics& metrics, SteadyTime now);
  ~Connections();
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;

  /// Takes over a connected, non-blocking socket. `address`: of the peer; empty when a proxy will say.
  void add(int socket, std::string address, SteadyTime now);
  /// What epoll reported of one of them.
  void ready(int socket, std::uint32_t events, SteadyTime now);
  /// Runs the deadlines that have come.
  void expire(SteadyTime now);
  /// The end of a tick: one send for each client with something to send, and the burial of the dead. Returns
  /// whether a socket would have taken more.
  bool flush(SteadyTime now);

  /// Closes all with 1012 over the next seconds; who is not upgraded yet has a second to be, and leaves then.
  void drain(SteadyTime now);
  /// The client with this id, null when it is not there any more.
  Client* find(int socket, const std::string& socket_id) const;
  /// Ends what is left.
  void kill_all();

  std::size_t count() const { return count_; }
  bool full() const { return count_ >= max_sockets_; }
  int milliseconds_to_next(SteadyTime now) const { return wheel_.milliseconds_to_next(now); }

 private:
  void read(Client& client, SteadyTime now);
  void read_handshake(Client& client, std::string_view bytes, SteadyTime now);
  bool admit(Client& client, const LiveRequest& request, int status, SteadyTime now);
  void refuse(Client& client, int status, const char* error, SteadyTime now);
  bool origin_allowed(const std::string& origin) const;
  void read_frames(Client& client, std::string_view bytes, SteadyTime now);
  void peer_closed(Client& client, std::uint16_t code, std::string_view reason, SteadyTime now);

  SteadyTime deadline(const Client& client) const;
  SteadyTime next_ping(const Client& client) const;
  SteadyTime idle_ends(const Client& client) const;
  SteadyTime slowness_ends(const Client& client) const;
  void deadline_passed(Client& client, SteadyTime now);
  void end_or_ping(Client& client, SteadyTime now);
  void arm(Client& client) { wheel_.schedule_no_later(client, deadline(client)); }

  bool flush_client(Client& client, SteadyTime now);
  void count_queue(Client& client, std::size_t bytes);
  void arm_write(Client& client, bool wanted);
  void leave_hub(Client& client, SteadyTime now);
  void bury(Client& client);

  const Config& config_;
  Epoll& epoll_;
  Hub& hub_;
  Protocol& protocol_;
  ClientReports& reports_;
  IoMetrics& metrics_;
  Admission admission_;
  const std::size_t max_sockets_;
  TimerWheel wheel_;
  std::vector<std::unique_ptr<Client>> clients_;  ///< by descriptor
  std::size_t count_ = 0;
  DirtyList dirty_;
  std::vector<Client*> dead_;
  std::vector<char> buffer_;  ///< every read goes through this one
};

}  // namespace gamepicker
