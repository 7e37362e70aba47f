#include "tests/support/relay_process.hpp"

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace gamepicker::test {

RelayProcess::RelayProcess(std::string program, std::string config, const std::string& folder, const std::string& name)
    : program_(std::move(program)),
      config_(std::move(config)),
      socket_(folder + "/relay-" + name + ".sock"),
      nudge_(folder + "/nudge-" + name + ".sock"),
      log_(folder + "/relay-" + name + ".log") {}

void RelayProcess::start(const std::map<std::string, std::string>& settings) {
  std::map<std::string, std::string> all = settings;
  all.insert(
      {{"RELAY_SOCKET", socket_}, {"RELAY_NUDGE", nudge_}, {"RELAY_NUDGE_BIND", nudge_}, {"RELAY_OPS_LISTEN", ""}});
  std::vector<std::string> words;
  for (const auto& [key, value] : all) words.push_back(key + "=" + value);
  // The first of a name counts.
  for (char** word = environ; *word != nullptr; ++word) words.emplace_back(*word);
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("cannot fork");
  if (pid_ > 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  const int log = ::open(log_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  ::execle(program_.c_str(), program_.c_str(), "--config", config_.c_str(), nullptr, pointers.data());
  ::_exit(127);
}

bool RelayProcess::wait(std::chrono::milliseconds limit, int& status) {
  const int process = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  if (process < 0) throw std::runtime_error("cannot watch the relay");
  pollfd waiting{process, POLLIN, 0};
  const int ended = ::poll(&waiting, 1, static_cast<int>(limit.count()));
  ::close(process);
  if (ended != 1) return false;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  return true;
}

void RelayProcess::kill() {
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

bool RelayProcess::stop(std::chrono::milliseconds limit) {
  int status = 0;
  ::kill(pid_, SIGTERM);
  return wait(limit, status) && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool RelayProcess::gone(std::chrono::milliseconds limit, int& signal) {
  int status = 0;
  if (!wait(limit, status)) return false;
  signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  return true;
}

std::uint64_t RelayProcess::status(const std::string& key) const {
  std::ifstream file("/proc/" + std::to_string(pid_) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key + ":")) return std::strtoull(line.c_str() + key.size() + 1, nullptr, 10);
  }
  return 0;
}

}  // namespace gamepicker::test
