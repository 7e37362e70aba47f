#include "relay/webhook_recovery.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

namespace gamepicker {
namespace {

/// Without being woken: a nudge may be lost.
constexpr std::chrono::seconds kLookEvery{5};
/// However often it is woken: every event wakes it.
constexpr std::chrono::milliseconds kShortestPause{500};
/// Deliveries looked at in one step, failed or not.
constexpr std::int64_t kStep = 500;

constexpr std::string_view kTakeJob =
    "SELECT id, webhook_id, cursor_id, last_id, CAST(DATE_FORMAT(since, '%Y-%m-%d %H:%i:%s.%f') AS CHAR(26)) "
    "FROM webhook_recoveries WHERE finished_at IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED";
constexpr std::string_view kReadStep =
    "SELECT id, status = 'failed' AND created_at >= ? FROM webhook_deliveries FORCE INDEX (webhook_deliveries_webhook) "
    "WHERE webhook_id = ? AND id > ? AND id <= ? ORDER BY id LIMIT ?";
// Its schedule begins anew; its attempts go on being counted.
constexpr std::string_view kQueue =
    "INSERT IGNORE INTO webhook_queue (delivery_id, webhook_id, due_at, attempts, base_attempts) "
    "SELECT id, webhook_id, UTC_TIMESTAMP(3), attempts, attempts FROM webhook_deliveries WHERE status = 'failed' AND id IN ";
constexpr std::string_view kReopen =
    "UPDATE webhook_deliveries SET status = 'pending', finished_at = NULL WHERE status = 'failed' AND id IN ";
constexpr std::string_view kAdvance =
    "UPDATE webhook_recoveries SET cursor_id = ?, requeued = requeued + ?, "
    "finished_at = IF(?, UTC_TIMESTAMP(3), NULL) WHERE id = ?";

}  // namespace

WebhookRecovery::WebhookRecovery(const Config& config, std::function<void()> on_queued, Counter& database_errors)
    : database_(config), on_queued_(std::move(on_queued)), worker_(database_errors) {}

void WebhookRecovery::start() {
  worker_.start([this] { run(); });
}

void WebhookRecovery::wake() {
  {
    const std::lock_guard lock(worker_.mutex());
    woken_ = true;
  }
  worker_.notify();
}

void WebhookRecovery::run() {
  while (true) {
    bool more = true;
    while (more) {
      if (!worker_.persist("webhook recovery", [&] { more = step(); })) return;
      if (queued_) on_queued_();
    }
    if (!worker_.pause(kShortestPause)) return;
    std::unique_lock lock(worker_.mutex());
    if (!worker_.wait_for(lock, kLookEvery, [this] { return woken_; })) return;
    woken_ = false;
  }
}

bool WebhookRecovery::step() {
  bool found = false;
  queued_ = false;
  database_.transaction([&] {
    const auto jobs = database_.query(kTakeJob);
    if (jobs.empty()) return;
    found = true;
    const SqlRow& job = jobs.front();
    const auto rows = database_.query(kReadStep, {job.text(4), job.integer(1), job.id(2), job.id(3), kStep});
    SqlValues failed;
    for (const SqlRow& row : rows) {
      if (row.integer(1) != 0) failed.emplace_back(row.id(0));
    }
    std::int64_t queued = 0;
    if (!failed.empty()) {
      const std::string list = "(" + placeholders(failed.size()) + ")";
      database_.execute(std::string(kQueue) + list, failed);
      queued = static_cast<std::int64_t>(database_.execute(std::string(kReopen) + list, failed));
    }
    queued_ = queued > 0;
    const std::int64_t done = rows.size() < static_cast<std::size_t>(kStep) ? 1 : 0;
    const std::uint64_t cursor = rows.empty() ? job.id(3) : rows.back().id(0);
    database_.execute(kAdvance, {cursor, queued, done, job.id(0)});
  });
  return found;
}

}  // namespace gamepicker
