#include "relay/resolver.hpp"

#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include <netdb.h>

namespace gamepicker {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kMaxRunning = 64;
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

/// One look-up, shared by the thread that does it and those that wait.
struct Resolver::Lookup {
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

struct Resolver::Running {
  std::mutex mutex;
  std::map<std::pair<std::string, std::string>, std::shared_ptr<Lookup>> lookups;  ///< by host and service
};

std::string ResolvedAddress::text() const {
  char host[NI_MAXHOST] = "";
  ::getnameinfo(&get(), length, host, sizeof host, nullptr, 0, NI_NUMERICHOST);
  return host;
}

Resolver::Resolver() : running_(std::make_shared<Running>()) {}
Resolver::~Resolver() = default;

std::vector<ResolvedAddress> Resolver::literal(const std::string& host, std::uint16_t port) {
  const addrinfo numeric = hints(AI_NUMERICHOST);
  addrinfo* list = nullptr;
  if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &numeric, &list) != 0) return {};
  return copy_and_free(list);
}

std::shared_ptr<Resolver::Lookup> Resolver::join_or_start(const std::string& host, const std::string& service) {
  const std::lock_guard lock(running_->mutex);
  const auto key = std::make_pair(host, service);
  if (const auto found = running_->lookups.find(key); found != running_->lookups.end()) return found->second;
  if (running_->lookups.size() >= kMaxRunning) throw ResolveError("DNS lookup failed: too many are not answered");
  auto lookup = std::make_shared<Lookup>();
  try {
    std::thread([lookup, running = running_, key] {
      lookup->run(key.first, key.second);
      const std::lock_guard ended(running->mutex);
      running->lookups.erase(key);
    }).detach();
  } catch (const std::system_error&) {
    throw ResolveError("DNS lookup failed: no thread for it");
  }
  running_->lookups.emplace(key, lookup);
  return lookup;
}

std::vector<ResolvedAddress> Resolver::resolve(const std::string& host, std::uint16_t port,
                                               Clock::time_point deadline) {
  const auto lookup = join_or_start(host, std::to_string(port));
  std::unique_lock lock(lookup->mutex);
  if (!lookup->finished.wait_until(lock, deadline, [&] { return lookup->done; })) {
    throw ResolveError("DNS lookup timed out");
  }
  if (lookup->error != 0) throw ResolveError(std::string("DNS lookup failed: ") + ::gai_strerror(lookup->error));
  return lookup->addresses;
}

}  // namespace gamepicker
