#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <sys/epoll.h>

#include "tests/chaos/log.hpp"

namespace chaos {

using Clock = std::chrono::steady_clock;

/// What a follower has of one channel, over all of its connections.
struct Follow {
  std::size_t channel = 0;
  bool known = false;       ///< it was told once where the channel stood
  bool subscribed = false;  ///< on this connection
  std::uint64_t first = 0;  ///< the offset it was told then
  std::uint64_t last = 0;
  std::vector<std::uint32_t> hashes;  ///< of the data of the events first + 1 to last
};

struct Follower {
  enum class Phase : std::uint8_t { away, handshake, subscribing, ready, stalled };

  Phase phase = Phase::away;
  int socket = -1;
  bool stalls = false;      ///< now and then, instead of leaving
  int tries = 0;            ///< since it was last ready
  Clock::time_point until;  ///< when the phase ends by itself
  Clock::time_point whim;   ///< when it stalls or leaves
  std::vector<Follow> follows;
  std::string rest;  ///< the beginning of a frame, or of the answer to the upgrade
};

/// WebSocket clients in one thread, which follow a few channels each and remember what they hear. They come back after
/// every loss and resume by offset. Some stop reading now and then, the others leave without a word.
class Followers {
 public:
  Followers(std::string address, std::string token, std::size_t count, std::uint64_t seed);
  ~Followers();
  Followers(const Followers&) = delete;
  Followers& operator=(const Followers&) = delete;

  void poll(int timeout_ms);
  /// From now on they stay and read.
  void calm_down() { calm_ = true; }
  const std::vector<Follower>& all() const { return followers_; }
  std::string figures() const;

  std::uint64_t events = 0;
  std::uint64_t repeated = 0;       ///< events with an offset that the follower had
  std::uint64_t skipped = 0;        ///< offsets that were left out before an event
  std::uint64_t not_recovered = 0;  ///< resumed, and not told that all is there
  std::uint64_t unexpected = 0;     ///< other messages than those that belong there
  std::string first_unexpected;

 private:
  using Phase = Follower::Phase;

  std::uint64_t below(std::uint64_t end) { return random_() % end; }
  Clock::duration between(int from_ms, int to_ms);
  void tend(std::size_t index);
  void connect(std::size_t index);
  void away(Follower& follower);
  void watch(std::size_t index, bool wanted) const;
  void read(std::size_t index);
  std::string_view upgraded(Follower& follower, std::string_view answer);
  void frame(Follower& follower, int opcode, std::string_view payload);
  void text(Follower& follower, std::string_view message);
  void subscribed(Follower& follower, Follow& follow, std::string_view message);
  void event(Follow& follow, std::string_view message);
  void surprise(std::string_view message);

  const std::string address_;
  const std::string token_;
  int epoll_;
  std::mt19937_64 random_;
  std::vector<Follower> followers_;
  std::string buffer_;
  Clock::time_point now_;
  bool calm_ = false;
  std::uint64_t connections_ = 0, refused_ = 0, resumed_ = 0, stalls_ = 0, left_ = 0, lost_ = 0;
  std::map<int, std::uint64_t> closes_;
};

}  // namespace chaos
