#include "relay/epoll.hpp"

#include <cerrno>
#include <system_error>

#include <unistd.h>

namespace gamepicker {
namespace {

constexpr std::size_t kEventsAtOnce = 1024;

int make_epoll() {
  const int descriptor = ::epoll_create1(EPOLL_CLOEXEC);
  if (descriptor < 0) throw std::system_error(errno, std::generic_category(), "epoll_create1");
  return descriptor;
}

}  // namespace

Epoll::Epoll() : epoll_(make_epoll()), events_(kEventsAtOnce) {}

Epoll::~Epoll() {
  ::close(epoll_);
}

void Epoll::control(int operation, int descriptor, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = descriptor;
  if (::epoll_ctl(epoll_, operation, descriptor, &event) != 0) {
    throw std::system_error(errno, std::generic_category(), "epoll_ctl");
  }
}

void Epoll::add(int descriptor, std::uint32_t events) {
  control(EPOLL_CTL_ADD, descriptor, events);
}
void Epoll::modify(int descriptor, std::uint32_t events) {
  control(EPOLL_CTL_MOD, descriptor, events);
}
void Epoll::remove(int descriptor) {
  control(EPOLL_CTL_DEL, descriptor, 0);
}

std::span<const epoll_event> Epoll::wait(int timeout_ms) {
  const int count = ::epoll_wait(epoll_, events_.data(), static_cast<int>(events_.size()), timeout_ms);
  if (count < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), "epoll_wait");
  return {events_.data(), static_cast<std::size_t>(count < 0 ? 0 : count)};
}

}  // namespace gamepicker
