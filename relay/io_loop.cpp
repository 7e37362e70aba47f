#include "relay/io_loop.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "shared/log.hpp"

namespace gamepicker {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr int kAcceptsPerTick = 256;
constexpr milliseconds kAcceptPause{100};     // out of descriptors, or full
constexpr milliseconds kLongestSleep{1'000};  // by its ticks others see that it lives
constexpr milliseconds kStopLimit{8'000};     // leaves two seconds of the ten for the other threads

std::vector<Listener> listen_as(const Config& config) {
  std::vector<Listener> listeners;
  if (!config.relay_listen.empty()) {
    listeners.push_back(Listener::on_port(config.relay_listen, config.relay_proxies));
  }
  // Last: from then on we are the relay, and whoever replaces the old one by us stops it.
  listeners.push_back(Listener::on_path(config.relay_socket));
  return listeners;
}

}  // namespace

IoLoop::IoLoop(const Config& config, Mailbox& mailbox, const Backend& backend, IoMetrics& metrics, int stop)
    : mailbox_(mailbox),
      metrics_(metrics),
      stop_(stop),
      now_(Clock::now()),
      reports_(backend.relay_events),
      hub_(backend.tracker, backend.history, backend.presence, reports_, metrics),
      protocol_(config, hub_, backend.client_events, reports_),
      connections_(config, epoll_, hub_, protocol_, reports_, metrics, now_),
      listeners_(listen_as(config)) {
  resume_accepting();
  epoll_.add(mailbox_.descriptor(), EPOLLIN);
  epoll_.add(stop_, EPOLLIN);
}

void IoLoop::run() {
  while (!stopping_ || (connections_.count() > 0 && now_ < stop_by_)) tick();
  if (connections_.count() > 0) log_warning("connections left at the end: " + std::to_string(connections_.count()));
  connections_.kill_all();
  connections_.flush(now_);
  mailbox_.close();
}

void IoLoop::tick() {
  bool mail = false;
  bool arrivals = false;
  const auto events = epoll_.wait(timeout());
  now_ = Clock::now();
  metrics_.ticked.note(now_);
  for (const epoll_event& event : events) {
    const int descriptor = event.data.fd;
    if (descriptor == mailbox_.descriptor()) {
      mail = true;
    } else if (is_listener(descriptor)) {
      arrivals = true;
    } else if (descriptor == stop_) {
      begin_stop();
    } else {
      connections_.ready(descriptor, event.events, now_);
    }
  }
  // Mail waits while a broadcast is under way: then the mailbox fills up, and its bound holds the reader
  // back.
  if (mail && !hub_.has_backlog()) take_mail();
  const bool broadcasting = hub_.deliver_slice();
  connections_.expire(now_);
  busy_ = connections_.flush(now_) || broadcasting;
  hub_.flushed();
  // After the burial: a new socket may get a descriptor that was just closed.
  if (arrivals && !stopping_) accept_some();
  if (!accepting_ && !stopping_ && now_ >= accept_again_) resume_accepting();
  metrics_.tick_time.observe(Clock::now() - now_);
}

int IoLoop::timeout() const {
  if (busy_) return 0;
  int wait = connections_.milliseconds_to_next(now_);
  if (wait < 0 || wait > kLongestSleep.count()) wait = static_cast<int>(kLongestSleep.count());
  const auto at_most = [&](SteadyTime at) {
    const auto left = std::chrono::ceil<milliseconds>(at - now_).count();
    const int bounded = static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
    wait = wait < 0 ? bounded : std::min(wait, bounded);
  };
  if (!accepting_ && !stopping_) at_most(accept_again_);
  if (stopping_) at_most(stop_by_);
  return wait;
}

bool IoLoop::is_listener(int descriptor) const {
  return std::ranges::any_of(listeners_, [&](const Listener& one) { return one.descriptor() == descriptor; });
}

void IoLoop::accept_some() {
  for (const Listener& listener : listeners_) {
    for (int i = 0; i < kAcceptsPerTick; ++i) {
      if (connections_.full()) return pause_accepting();
      auto accepted = listener.accept();
      if (accepted) {
        connections_.add(accepted->socket, std::move(accepted->address), now_);
        continue;
      }
      if (errno == EAGAIN) break;
      if (errno == EINTR || errno == ECONNABORTED) continue;
      log_error(std::string("accept: ") + std::strerror(errno));
      return pause_accepting();
    }
  }
}

void IoLoop::pause_accepting() {
  for (const Listener& listener : listeners_) epoll_.remove(listener.descriptor());
  accepting_ = false;
  accept_again_ = now_ + kAcceptPause;
}

void IoLoop::resume_accepting() {
  for (const Listener& listener : listeners_) epoll_.add(listener.descriptor(), EPOLLIN);
  accepting_ = true;
}

void IoLoop::take_mail() {
  struct Handler {
    IoLoop& loop;
    void operator()(const std::vector<FramePtr>& frames) const { loop.hub_.publish(frames); }
    void operator()(const Mailbox::Tracked& answer) const { loop.hub_.tracked(answer.channel, answer.head); }
    void operator()(const HistoryPage& page) const { loop.hub_.history(page); }
    void operator()(const ClientEventResult& result) const {
      const std::string reply = Protocol::written(result);
      Client* client = reply.empty() ? nullptr : loop.connections_.find(result.socket, result.socket_id);
      if (client != nullptr) client->reply(reply);
    }
    void operator()(const PresenceAnswer& answer) const {
      Client* client = loop.connections_.find(answer.socket, answer.socket_id);
      if (client != nullptr) loop.hub_.present(*client, answer);
    }
  };
  for (const Mailbox::Item& item : mailbox_.take()) std::visit(Handler{*this}, item);
}

void IoLoop::begin_stop() {
  if (stopping_) return;
  log_info("stopping, " + std::to_string(connections_.count()) + " connections");
  stopping_ = true;
  stop_by_ = now_ + kStopLimit;
  epoll_.remove(stop_);
  accept_some();  // who is in the queue has been let in by the kernel
  listeners_.clear();
  hub_.keep_seats();
  connections_.drain(now_);
}

}  // namespace gamepicker
