#include "relay/resolver.hpp"

#include <condition_variable>
#include <cstring>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include <netdb.h>

namespace gamepicker {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kMaxRunning = 64;
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

/// One look-up, shared by the thread that does it and the one that waits.
struct Lookup {
  std::mutex mutex;
  std::condition_variable finished;
  bool done = false;
  int error = 0;
  std::vector<ResolvedAddress> addresses;

  void run(const std::string& host, const std::string& service) {
    const addrinfo wanted = hints(AI_ADDRCONFIG);
    addrinfo* list = nullptr;
    const int result = ::getaddrinfo(host.c_str(), service.c_str(), &wanted, &list);
    const std::lock_guard lock(mutex);
    error = result;
    if (result == 0) addresses = copy_and_free(list);
    done = true;
    finished.notify_all();
  }
};

}  // namespace

std::string ResolvedAddress::text() const {
  char host[NI_MAXHOST] = "";
  ::getnameinfo(&get(), length, host, sizeof host, nullptr, 0, NI_NUMERICHOST);
  return host;
}

std::vector<ResolvedAddress> Resolver::resolve(const std::string& host, std::uint16_t port,
                                               Clock::time_point deadline) {
  const std::string service = std::to_string(port);
  const addrinfo numeric = hints(AI_NUMERICHOST);
  addrinfo* list = nullptr;
  if (::getaddrinfo(host.c_str(), service.c_str(), &numeric, &list) == 0) return copy_and_free(list);

  if (running_->fetch_add(1) >= kMaxRunning) {
    running_->fetch_sub(1);
    throw ResolveError("DNS lookup failed: too many are not answered");
  }
  const auto lookup = std::make_shared<Lookup>();
  try {
    std::thread([lookup, running = running_, host, service] {
      lookup->run(host, service);
      running->fetch_sub(1);
    }).detach();
  } catch (const std::system_error&) {
    running_->fetch_sub(1);
    throw ResolveError("DNS lookup failed: no thread for it");
  }
  std::unique_lock lock(lookup->mutex);
  if (!lookup->finished.wait_until(lock, deadline, [&] { return lookup->done; })) {
    throw ResolveError("DNS lookup timed out");
  }
  if (lookup->error != 0) throw ResolveError(std::string("DNS lookup failed: ") + ::gai_strerror(lookup->error));
  return std::move(lookup->addresses);
}

}  // namespace gamepicker
