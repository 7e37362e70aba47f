#include "relay/resolver.hpp"

#include <algorithm>
#include <cstring>

#include <netdb.h>

namespace gamepicker {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kMaxAbandoned = 64;
constexpr std::size_t kMaxAddresses = 16;

addrinfo hints(int flags) {
  addrinfo wanted{};
  wanted.ai_family = AF_UNSPEC;
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = flags | AI_NUMERICSERV;
  return wanted;
}

std::vector<ResolvedAddress> copy_and_free(addrinfo* list) {
  std::vector<ResolvedAddress> addresses;
  for (const addrinfo* entry = list; entry != nullptr && addresses.size() < kMaxAddresses; entry = entry->ai_next) {
    ResolvedAddress address;
    address.length = entry->ai_addrlen;
    std::memcpy(&address.storage, entry->ai_addr, entry->ai_addrlen);
    addresses.push_back(address);
  }
  if (list != nullptr) ::freeaddrinfo(list);
  return addresses;
}

}  // namespace

/// Must stay where it is until the C library is done with it.
struct Resolver::Lookup {
  std::string host;
  std::string service;
  addrinfo wanted = hints(AI_ADDRCONFIG);
  gaicb request{};
};

std::string ResolvedAddress::text() const {
  char host[NI_MAXHOST] = "";
  ::getnameinfo(&get(), length, host, sizeof host, nullptr, 0, NI_NUMERICHOST);
  return host;
}

Resolver::Resolver() = default;

Resolver::~Resolver() {
  sweep();
  // The C library may still write into these: better to leak them at the end of the program.
  for (auto& lookup : abandoned_) static_cast<void>(lookup.release());
}

std::vector<ResolvedAddress> Resolver::resolve(const std::string& host, std::uint16_t port,
                                               Clock::time_point deadline) {
  const std::string service = std::to_string(port);
  const addrinfo numeric = hints(AI_NUMERICHOST);
  addrinfo* list = nullptr;
  if (::getaddrinfo(host.c_str(), service.c_str(), &numeric, &list) == 0) return copy_and_free(list);

  if (sweep() >= kMaxAbandoned) throw ResolveError("DNS lookup failed: too many are not answered");
  auto lookup = std::make_unique<Lookup>();
  lookup->host = host;
  lookup->service = service;
  lookup->request.ar_name = lookup->host.c_str();
  lookup->request.ar_service = lookup->service.c_str();
  lookup->request.ar_request = &lookup->wanted;
  gaicb* requests[] = {&lookup->request};
  if (::getaddrinfo_a(GAI_NOWAIT, requests, 1, nullptr) != 0) throw ResolveError("DNS lookup could not be started");
  while (::gai_error(requests[0]) == EAI_INPROGRESS) {
    const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(deadline - Clock::now()).count();
    if (left <= 0) {
      if (::gai_cancel(requests[0]) == EAI_NOTCANCELED) abandon(std::move(lookup));
      throw ResolveError("DNS lookup timed out");
    }
    const timespec limit{static_cast<time_t>(left / 1'000'000'000), static_cast<long>(left % 1'000'000'000)};
    ::gai_suspend(requests, 1, &limit);
  }
  const int error = ::gai_error(requests[0]);
  if (error != 0) throw ResolveError(std::string("DNS lookup failed: ") + ::gai_strerror(error));
  return copy_and_free(lookup->request.ar_result);
}

void Resolver::abandon(std::unique_ptr<Lookup> lookup) {
  const std::lock_guard lock(mutex_);
  abandoned_.push_back(std::move(lookup));
}

/// Frees what has ended meanwhile; returns how many have not.
std::size_t Resolver::sweep() {
  const std::lock_guard lock(mutex_);
  std::erase_if(abandoned_, [](const std::unique_ptr<Lookup>& lookup) {
    if (::gai_error(&lookup->request) == EAI_INPROGRESS) return false;
    if (lookup->request.ar_result != nullptr) ::freeaddrinfo(lookup->request.ar_result);
    return true;
  });
  return abandoned_.size();
}

}  // namespace gamepicker
