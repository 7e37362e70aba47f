#include "handlers/prefork.hpp"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <ctime>
#include <set>
#include <string>
#include <system_error>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/log.hpp"

namespace gamepicker {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kGrace{10};
constexpr timespec kTick{0, 100'000'000};

class Prefork {
 public:
  Prefork(unsigned count, const std::function<int()>& worker) : count_(count), worker_(worker) {
    sigemptyset(&signals_);
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&signals_, signal);
    sigprocmask(SIG_BLOCK, &signals_, &original_mask_);
  }

  int run() {
    const pid_t parent = ::getpid();
    while (!stopping_) {
      while (workers_.size() < count_) {
        if (const int code = start_worker(parent); code >= 0) return code;
      }
      wait_for_signal();
      reap();
    }
    return stop();
  }

 private:
  /// -1 in the parent; the exit code in the worker, after it has done its work.
  int start_worker(pid_t parent) {
    const pid_t pid = ::fork();
    if (pid < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid > 0) {
      workers_.insert(pid);
      return -1;
    }
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) return 0;  // it died before the line above
    sigprocmask(SIG_SETMASK, &original_mask_, nullptr);
    return worker_();
  }

  void wait_for_signal() {
    // SIGCHLDs merge, so the wait also ends by itself now and then.
    const timespec limit{1, 0};
    const int signal = sigtimedwait(&signals_, nullptr, &limit);
    if (signal == SIGTERM || signal == SIGINT) stopping_ = true;
    if (signal == SIGHUP) {
      retiring_.merge(workers_);
      workers_.clear();
    }
    // A SIGTERM that falls between a worker's look at its flag and its accept() is lost: send it again.
    for (const pid_t pid : retiring_) ::kill(pid, SIGTERM);
  }

  void reap() {
    int status = 0;
    for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      if (retiring_.erase(pid) != 0 || workers_.erase(pid) == 0 || stopping_) continue;
      log_warning("worker " + std::to_string(pid) + " ended, " +
                  (WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status))
                                       : "exit code " + std::to_string(WEXITSTATUS(status))));
      ::nanosleep(&kTick, nullptr);  // a worker that cannot start must not become a fork loop
    }
  }

  int stop() {
    retiring_.merge(workers_);
    const auto deadline = Clock::now() + kGrace;
    while (!retiring_.empty()) {
      const bool late = Clock::now() > deadline;
      for (const pid_t pid : retiring_) ::kill(pid, late ? SIGKILL : SIGTERM);
      sigset_t child;
      sigemptyset(&child);
      sigaddset(&child, SIGCHLD);
      sigtimedwait(&child, nullptr, &kTick);
      reap();
    }
    return 0;
  }

  unsigned count_;
  const std::function<int()>& worker_;
  sigset_t signals_{};
  sigset_t original_mask_{};
  std::set<pid_t> workers_;
  std::set<pid_t> retiring_;
  bool stopping_ = false;
};

}  // namespace

int run_prefork(unsigned count, const std::function<int()>& worker) {
  return Prefork(count, worker).run();
}

}  // namespace gamepicker
