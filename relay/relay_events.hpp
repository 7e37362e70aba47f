#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "shared/clock.hpp"
#include "shared/tokens.hpp"

/// What happens at the relay itself, for the webhooks that ask for it; no client hears of it.
namespace gamepicker {

enum class RelayEventType : std::uint8_t {
  connection,
  disconnection,
  subscribe,
  unsubscribe,
  presence_join,
  presence_leave,
  client_event
};

/// As webhooks call them, in the order of the types.
inline constexpr std::array<std::string_view, 7> kRelayEventNames = {
    "connection", "disconnection", "subscribe", "unsubscribe", "presence_join", "presence_leave", "client_event"};

constexpr std::string_view name_of(RelayEventType type) {
  return kRelayEventNames[static_cast<std::size_t>(type)];
}

/// Which of them some webhook wanted a moment ago; all, as long as nobody has looked. Set by one thread, read by any:
/// what nobody wants costs this one look.
class WantedRelayEvents {
 public:
  static constexpr std::uint32_t kAll = (1u << kRelayEventNames.size()) - 1;
  static constexpr std::uint32_t bit(RelayEventType type) { return 1u << static_cast<unsigned>(type); }

  bool contains(RelayEventType type) const { return (types_.load(std::memory_order_relaxed) & bit(type)) != 0; }
  void set(std::uint32_t types) { types_.store(types, std::memory_order_relaxed); }

 private:
  std::atomic<std::uint32_t> types_ = kAll;
};

/// One of the first four types: something that became of a client. The fields behind the socket id are of the types
/// named there, empty for the others.
struct RelayEvent {
  RelayEventType type{};
  Timestamp at{};
  std::string socket_id;
  std::string channel;       ///< subscribe, unsubscribe
  std::string text;          ///< connection: the user; disconnection: the reason; subscribe: JSON, or empty
  Timestamp connected_at{};  ///< connection
  Role role{};               ///< connection
  std::uint16_t code = 0;    ///< disconnection
};

/// Writes them into the event log, in the order they come. Thread-safe, never blocks.
class RelayEvents {
 public:
  virtual ~RelayEvents() = default;

  virtual bool wants(RelayEventType type) const = 0;
  virtual void write(RelayEvent event) = 0;
};

}  // namespace gamepicker
