#pragma once

#include <atomic>
#include <cstdint>

#include "tests/support/connection.hpp"

namespace bench {

/// What a webhook worker asks of the database, and nothing else: claims the deliveries that are due, reads them, writes
/// an attempt for each and ends it, in batches of `batch` and durably, as if every request had succeeded at once. Until
/// `stopping`. Throws std::runtime_error.
void run_floor(const gamepicker::test::DatabaseAddress& address, std::size_t batch, const std::atomic<bool>& stopping);

}  // namespace bench
