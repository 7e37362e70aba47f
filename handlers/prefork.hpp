#pragma once

#include <functional>

namespace gamepicker {

/// Keeps `count` worker processes running `worker` (which returns the exit code) until SIGTERM or SIGINT: a worker that
/// dies is replaced, at most ten a second. On SIGTERM the workers finish their request and leave; one still there after
/// ten seconds is killed. Workers end with their parent, even if that is killed. SIGHUP replaces all workers by new
/// ones, without refusing a request. Returns the exit code for main().
int run_prefork(unsigned count, const std::function<int()>& worker);

}  // namespace gamepicker
