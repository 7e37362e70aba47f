#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

/// What the relay counts of itself, for /metrics, /livez and /readyz (ops_server.hpp). Every number is written by one
/// thread, the one its struct belongs to, and read by any: a count is a load and a store without a locked instruction,
/// and nobody ever waits.
namespace gamepicker {

/// Only ever grows. Counted by one thread at a time.
class Counter {
 public:
  void add(std::uint64_t count = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_ = 0;
};

/// Goes up and down. Changed by one thread at a time.
class Level {
 public:
  void add(std::int64_t change) { set(value() + change); }
  void set(std::int64_t value) { value_.store(value, std::memory_order_relaxed); }
  std::int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> value_ = 0;
};

/// When something last happened.
class Moment {
 public:
  using Clock = std::chrono::steady_clock;

  void note(Clock::time_point at) { at_.store(at.time_since_epoch().count(), std::memory_order_relaxed); }
  /// Nothing when it has not happened yet.
  std::optional<Clock::duration> age(Clock::time_point now) const {
    const auto at = at_.load(std::memory_order_relaxed);
    if (at == 0) return std::nullopt;
    return now.time_since_epoch() - Clock::duration(at);
  }

 private:
  std::atomic<Clock::rep> at_ = 0;
};

/// One counter for each expected code and one for all others: a peer may send any code, and each would be a time
/// series.
template <std::uint16_t... Codes>
class CountersByCode {
 public:
  static constexpr std::array<std::uint16_t, sizeof...(Codes)> kCodes{Codes...};

  void add(int code) { counters_[index_of(code)].add(); }

  /// Calls visit(code, count) for each, with code 0 for the others.
  template <typename Visit>
  void each(Visit visit) const {
    for (std::size_t i = 0; i < kCodes.size(); ++i) visit(kCodes[i], counters_[i].value());
    visit(std::uint16_t{0}, counters_[kCodes.size()].value());
  }

 private:
  static std::size_t index_of(int code) {
    std::size_t i = 0;
    while (i < kCodes.size() && kCodes[i] != code) ++i;
    return i;
  }

  std::array<Counter, sizeof...(Codes) + 1> counters_;
};

/// How long something took, in buckets; the bounds are microseconds, rising.
template <std::int64_t... Bounds>
class TimeHistogram {
 public:
  static constexpr std::array<std::int64_t, sizeof...(Bounds)> kBounds{Bounds...};

  /// What is negative, by the clocks of two machines or by rounding, counts as zero.
  void observe(std::chrono::steady_clock::duration time) {
    const std::int64_t taken =
        std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::microseconds>(time).count());
    std::size_t bucket = 0;
    while (bucket < kBounds.size() && taken > kBounds[bucket]) ++bucket;
    buckets_[bucket].add();
    sum_.add(static_cast<std::uint64_t>(taken));
  }

  /// Of one bucket alone, not of all up to it; the last one has no bound.
  std::uint64_t count(std::size_t bucket) const { return buckets_[bucket].value(); }
  /// In microseconds.
  std::uint64_t sum() const { return sum_.value(); }

 private:
  std::array<Counter, sizeof...(Bounds) + 1> buckets_;
  Counter sum_;
};

/// From 50 us to a second: a tick beyond that is a fault.
using TickTime =
    TimeHistogram<50, 100, 250, 500, 1'000, 2'500, 5'000, 10'000, 25'000, 50'000, 100'000, 250'000, 1'000'000>;
/// Fine around the few milliseconds that an event takes, up to the minute that a late commit is waited for.
using EventTime = TimeHistogram<1'000, 2'000, 3'000, 5'000, 7'500, 10'000, 15'000, 25'000, 50'000, 100'000, 250'000,
                                500'000, 1'000'000, 2'500'000, 5'000'000, 10'000'000, 60'000'000>;

inline constexpr std::size_t kCacheLine = 64;

/// The I/O thread's.
struct alignas(kCacheLine) IoMetrics {
  Moment ticked;
  Level connections;    ///< upgraded and not yet buried
  Level subscriptions;  ///< memberships of clients in channels
  Level queue_bytes;    ///< left in the clients' queues at the end of a tick
  Counter frames;       ///< handed to sockets completely
  Counter bytes;
  Counter sends;                                                           ///< calls of sendmsg
  Counter slow_closes;                                                     ///< because a queue was full
  CountersByCode<101, 400, 403, 404, 405, 408, 426, 431, 503> handshakes;  ///< by the status of the answer
  /// By the code that ended the connection, whichever side named it; 1005: a close frame without a code, 1006: none.
  CountersByCode<1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1011, 1012, 4401, 4408, 4410, 4429> closes;
  Counter recovered_recent;   ///< resumed from the channel's recent events
  Counter recovered_history;  ///< resumed from the event log
  Counter not_recovered;
  TickTime tick_time;
  EventTime commit_to_socket;  ///< an event once, when its last subscriber was sent it
};

/// The event reader's.
struct alignas(kCacheLine) ReaderMetrics {
  Moment polled;  ///< the last read that succeeded
  Counter nudges;
  Counter filled_holes;    ///< events whose id was passed over and came later
  Counter filled_fetched;  ///< events read because a later one of their channel was seen
  Counter filled_by_head;  ///< events found by comparing heads
  Counter errors;
  EventTime event_lag;  ///< from being written to being read
};

/// The relay event writer's, and under its lock.
struct alignas(kCacheLine) RelayEventMetrics {
  Counter written;  ///< or not wanted after all
  Counter dropped;
  Counter errors;
};

/// Of the webhook service's threads, each member by one of them or under the service's lock.
struct alignas(kCacheLine) WebhookMetrics {
  Counter delivered;
  Counter retried;
  Counter failed;  ///< given up
  Counter gone;
  Level pending;          ///< rows of the queue, counted up to a bound
  Level oldest_age;       ///< in milliseconds
  Counter queue_errors;   ///< the scheduler's
  Counter finish_errors;  ///< the finisher's
};

/// All of them. Built once, first of all, and handed in parts to those who count.
struct Metrics {
  IoMetrics io;
  ReaderMetrics reader;
  WebhookMetrics webhooks;
  RelayEventMetrics relay_events;
  alignas(kCacheLine) Counter history_errors;
  alignas(kCacheLine) Counter client_event_errors;
  alignas(kCacheLine) Counter presence_errors;
  alignas(kCacheLine) Counter poll_errors;
  alignas(kCacheLine) Counter retention_errors;
  alignas(kCacheLine) Counter recovery_errors;
  alignas(kCacheLine) std::atomic<bool> draining = false;  ///< the signal to end has come
};

}  // namespace gamepicker
