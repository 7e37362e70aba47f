#pragma once

#include <string>
#include <vector>

#include "relay/client_reports.hpp"
#include "relay/connections.hpp"
#include "relay/epoll.hpp"
#include "relay/hub.hpp"
#include "relay/listener.hpp"
#include "relay/mailbox.hpp"
#include "relay/metrics.hpp"
#include "relay/protocol.hpp"
#include "shared/config.hpp"

namespace gamepicker {

/// Those who do what the I/O thread does not: they answer through its mailbox, but for the last, which does not.
struct Backend {
  ChannelTracker& tracker;
  History& history;
  ClientEvents& client_events;
  Presence& presence;
  RelayEvents& relay_events;
};

/// The relay's I/O thread: accepts, reads, distributes and sends. Never touches the database and never blocks
/// but in epoll_wait.
class IoLoop {
 public:
  /// Listens on RELAY_SOCKET and RELAY_LISTEN at once; throws std::system_error or ConfigError. All arguments outlive
  /// it. The loop ends when `stop` (a signalfd or eventfd) becomes readable; it does not read it.
  IoLoop(const Config& config, Mailbox& mailbox, const Backend& backend, IoMetrics& metrics, int stop);
  IoLoop(const IoLoop&) = delete;
  IoLoop& operator=(const IoLoop&) = delete;

  /// Returns at most 8 s after `stop`; closes the mailbox then.
  void run();

 private:
  void tick();
  bool is_listener(int descriptor) const;
  void accept_some();
  void pause_accepting();
  void resume_accepting();
  void take_mail();
  void begin_stop();
  int timeout() const;

  Mailbox& mailbox_;
  IoMetrics& metrics_;
  const int stop_;
  SteadyTime now_;
  Epoll epoll_;
  ClientReports reports_;
  Hub hub_;
  Protocol protocol_;
  Connections connections_;
  std::vector<Listener> listeners_;  ///< none once it stops
  bool accepting_ = true;
  bool stopping_ = false;
  bool busy_ = false;  ///< work is left that waits for no descriptor
  SteadyTime accept_again_{};
  SteadyTime stop_by_{};
};

}  // namespace gamepicker
