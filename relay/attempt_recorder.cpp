#include "relay/attempt_recorder.hpp"

#include <set>
#include <string_view>
#include <utility>

#include "relay/webhook_queue.hpp"
#include "shared/clock.hpp"
#include "shared/events.hpp"
#include "shared/json_writer.hpp"
#include "shared/outbox.hpp"

namespace gamepicker {
namespace {

constexpr std::string_view kLockRows =
    "SELECT d.id, q.lease_token, q.delivery_id IS NOT NULL FROM webhook_deliveries d FORCE INDEX (PRIMARY) "
    "LEFT JOIN webhook_queue q FORCE INDEX (PRIMARY) ON q.delivery_id = d.id WHERE d.id IN ";
constexpr std::string_view kInsertLogs =
    "INSERT INTO webhook_logs (webhook_id, delivery_id, attempt, response_status, error_message, duration_ms, "
    "response_body, dns_us, connect_us, tls_us, first_byte_us, peer_address) VALUES ";
constexpr std::string_view kLogRow = "(?,?,?,?,?,?,?,?,?,?,?,?)";
constexpr std::string_view kReschedule =
    "UPDATE webhook_queue SET due_at = UTC_TIMESTAMP(3) + INTERVAL ? MICROSECOND, attempts = ?, lease_token = NULL "
    "WHERE delivery_id = ?";
constexpr std::string_view kCountAttempts =
    "UPDATE webhook_deliveries FORCE INDEX (PRIMARY) SET attempts = GREATEST(attempts, ?) WHERE status = 'pending' AND id IN ";
constexpr std::string_view kEndDeliveries =
    "UPDATE webhook_deliveries FORCE INDEX (PRIMARY) SET status = ?, attempts = GREATEST(attempts, ?), finished_at = UTC_TIMESTAMP(3) "
    "WHERE id IN ";
constexpr std::string_view kFindLog =
    "SELECT id FROM webhook_logs WHERE delivery_id = ? AND attempt = ? AND duration_ms = ? LIMIT 1";

constexpr std::string_view kNoteFailure =
    "INSERT INTO webhook_health (webhook_id, failures, failing_since, backoff_until, last_error, last_error_at) "
    "VALUES (?, ?, UTC_TIMESTAMP(3), IF(? > 0, UTC_TIMESTAMP(3) + INTERVAL ? MICROSECOND, NULL), ?, UTC_TIMESTAMP(3)) "
    "ON DUPLICATE KEY UPDATE failures = VALUES(failures), failing_since = COALESCE(failing_since, UTC_TIMESTAMP(3)), "
    "backoff_until = VALUES(backoff_until), last_error = VALUES(last_error), last_error_at = VALUES(last_error_at)";
constexpr std::string_view kNoteSuccess =
    "UPDATE webhook_health SET failures = 0, failing_since = NULL, backoff_until = NULL WHERE webhook_id IN ";
constexpr std::string_view kFindHopeless =
    "SELECT webhook_id FROM webhook_health WHERE failing_since <= UTC_TIMESTAMP(3) - INTERVAL ? MICROSECOND "
    "AND webhook_id IN ";
constexpr std::string_view kDisable =
    "UPDATE webhooks SET enabled = 0, disabled_reason = ? WHERE id = ? AND enabled = 1";
constexpr std::string_view kReadDisabled = "SELECT name, url FROM webhooks WHERE id = ?";

constexpr char kGone[] = "The endpoint answered 410 Gone";
constexpr std::string_view kDisabledType = "webhook.disabled";

SqlValue text_or_null(const std::string& text) {
  return text.empty() ? SqlValue(nullptr) : SqlValue(text);
}

SqlValue phase(const std::optional<std::chrono::microseconds>& time) {
  return time ? SqlValue(std::int64_t{time->count()}) : SqlValue(nullptr);
}

std::string days_text(std::chrono::milliseconds time) {
  using namespace std::chrono;
  if (time % days(1) == 0s) return std::to_string(time / days(1)) + " days";
  return std::to_string(duration_cast<seconds>(time).count()) + " seconds";
}

}  // namespace

void AttemptRecorder::record(const std::vector<AttemptOutcome>& outcomes) {
  if (outcomes.empty()) return;
  failpoint_.pass(Failpoint::kBeforeFinish);
  // One transaction: if one of its rows is there, all are.
  if (database_.commit_unknown() && already_recorded(outcomes.front())) {
    database_.forget_commit();
    return;
  }
  database_.transaction([&] {
    record_all(outcomes);
    failpoint_.pass(Failpoint::kInsideFinish);
  });
}

bool AttemptRecorder::already_recorded(const AttemptOutcome& outcome) {
  return !database_.query(kFindLog, {outcome.delivery_id, outcome.attempt, outcome.duration.count()}).empty();
}

void AttemptRecorder::record_all(const std::vector<AttemptOutcome>& outcomes) {
  std::set<std::uint64_t> ids;
  for (const AttemptOutcome& outcome : outcomes) ids.insert(outcome.delivery_id);
  struct Row {
    bool queued;
    std::uint64_t lease;  ///< 0: none
  };
  std::map<std::uint64_t, Row> rows;
  for (const SqlRow& row : database_.query(with_list(kLockRows, ids.size()) + " FOR UPDATE", as_values(ids))) {
    rows.emplace(row.id(0), Row{row.integer(2) != 0, row.is_null(1) ? 0 : row.id(1)});
  }

  std::vector<const AttemptOutcome*> logged;
  std::vector<std::uint64_t> ended;
  std::map<std::pair<std::string, std::int64_t>, std::vector<std::uint64_t>> updates;  // by status and attempts
  for (const AttemptOutcome& outcome : outcomes) {
    const auto row = rows.find(outcome.delivery_id);
    if (row == rows.end()) continue;  // deleted meanwhile, with its logs
    logged.push_back(&outcome);
    const bool succeeded = outcome.kind == AttemptOutcome::Kind::succeeded;
    const bool ours = row->second.queued && row->second.lease == outcome.lease_token;
    if (!succeeded && !ours) continue;
    const bool retry = outcome.kind == AttemptOutcome::Kind::retry;
    updates[{succeeded ? "succeeded" : retry ? "pending" : "failed", outcome.attempt}].push_back(outcome.delivery_id);
    if (retry) {
      database_.execute(kReschedule, {microseconds(outcome.retry_in), outcome.attempt, outcome.delivery_id});
    } else if (row->second.queued) {
      ended.push_back(outcome.delivery_id);
    }
  }

  insert_logs(logged);
  if (!ended.empty()) database_.execute(with_list(kDeleteQueued, ended.size()), as_values(ended));
  for (const auto& [key, delivery_ids] : updates) {
    const auto& [status, attempts] = key;
    SqlValues parameters = status == "pending" ? SqlValues{attempts} : SqlValues{status, attempts};
    parameters.insert(parameters.end(), delivery_ids.begin(), delivery_ids.end());
    database_.execute(with_list(status == "pending" ? kCountAttempts : kEndDeliveries, delivery_ids.size()),
                      std::move(parameters));
  }
  record_health(logged);
}

void AttemptRecorder::insert_logs(const std::vector<const AttemptOutcome*>& outcomes) {
  if (outcomes.empty()) return;
  std::string sql(kInsertLogs);
  SqlValues parameters;
  for (const AttemptOutcome* outcome : outcomes) {
    if (!parameters.empty()) sql += ',';
    sql += kLogRow;
    parameters.emplace_back(outcome->webhook_id);
    parameters.emplace_back(outcome->delivery_id);
    parameters.emplace_back(outcome->attempt);
    parameters.push_back(outcome->response_status ? SqlValue(std::int64_t{*outcome->response_status})
                                                  : SqlValue(nullptr));
    parameters.push_back(text_or_null(outcome->error));
    parameters.emplace_back(std::int64_t{outcome->duration.count()});
    parameters.push_back(text_or_null(outcome->response_body));
    parameters.push_back(phase(outcome->phases.dns));
    parameters.push_back(phase(outcome->phases.connect));
    parameters.push_back(phase(outcome->phases.tls));
    parameters.push_back(phase(outcome->phases.first_byte));
    parameters.push_back(text_or_null(outcome->peer_address));
  }
  database_.execute(sql, std::move(parameters));
}

/// Of each webhook what its last attempt in the batch told. Events of webhooks disabled by it come last of all.
void AttemptRecorder::record_health(const std::vector<const AttemptOutcome*>& outcomes) {
  std::map<std::int64_t, const AttemptOutcome*> last;
  std::set<std::int64_t> recovered;
  std::set<std::int64_t> gone;
  for (const AttemptOutcome* outcome : outcomes) {
    last[outcome->webhook_id] = outcome;
    if (outcome->health.was_failing && outcome->health.failures == 0) recovered.insert(outcome->webhook_id);
    if (outcome->kind == AttemptOutcome::Kind::gone) gone.insert(outcome->webhook_id);
  }
  if (!recovered.empty()) database_.execute(with_list(kNoteSuccess, recovered.size()), as_values(recovered));
  std::vector<std::int64_t> failing;
  for (const auto& [webhook_id, outcome] : last) {
    const EndpointHealth& health = outcome->health;
    if (health.failures == 0) continue;
    failing.push_back(webhook_id);
    const std::int64_t back_off = microseconds(health.backs_off_for);
    database_.execute(kNoteFailure, {webhook_id, health.failures, back_off, back_off, outcome->error});
  }
  if (!failing.empty()) {
    SqlValues parameters{microseconds(disable_after_)};
    parameters.insert(parameters.end(), failing.begin(), failing.end());
    for (const SqlRow& row : database_.query(with_list(kFindHopeless, failing.size()), std::move(parameters))) {
      disable(row.integer(0), "Every delivery failed for " + days_text(disable_after_));
    }
  }
  for (const std::int64_t webhook_id : gone) disable(webhook_id, kGone);
}

void AttemptRecorder::disable(std::int64_t webhook_id, const std::string& reason) {
  if (database_.execute(kDisable, {reason, webhook_id}) == 0) return;
  const auto webhook = database_.query(kReadDisabled, {webhook_id}).at(0);
  JsonWriter data;
  data.begin_object().key("webhook").begin_object().field("id", webhook_id).field("name", webhook.text(0));
  data.field("url", webhook.text(1)).field("enabled", false).field("disabled_reason", reason);
  data.end_object().end_object();
  database_.execute(outbox::kEnqueueWebhookEvent, {nullptr, std::string(kDisabledType), event_family(kDisabledType),
                                                   event_body(kDisabledType, format_iso(now()), data.text())});
}

}  // namespace gamepicker
