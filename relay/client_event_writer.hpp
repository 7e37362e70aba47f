#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "relay/database.hpp"
#include "relay/feed.hpp"
#include "shared/nudge.hpp"

namespace gamepicker {

/// Writes the events that clients make, several in a transaction, in a thread and over a session of its own. The sender
/// is answered after the COMMIT.
class ClientEventWriter final : public ClientEvents {
 public:
  /// Both outlive it.
  ClientEventWriter(const Config& config, Feed& feed);
  ~ClientEventWriter() override;

  void start();
  /// What was not answered may or may not be written.
  void stop();

  bool write(ClientEvent event) override;

 private:
  void run();
  std::vector<ClientEvent> wait_for_events();
  void write_all(std::vector<ClientEvent>& events);
  /// The error for the client; empty when it is written.
  std::string write_one(const ClientEvent& event);

  Feed& feed_;
  Database database_;
  Nudge nudge_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<ClientEvent> events_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace gamepicker
