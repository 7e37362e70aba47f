#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "relay/watchdog.hpp"
#include "shared/config.hpp"

namespace gamepicker {

/// Any trouble with the database. The relay treats every kind alike: drop the session, back off, start over.
struct DatabaseError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// This transaction was chosen to end a deadlock.
struct Deadlock : DatabaseError {
  using DatabaseError::DatabaseError;
};

/// The database is at another schema version than this program.
struct SchemaMismatch : DatabaseError {
  using DatabaseError::DatabaseError;
};

/// A parameter, or a field of a row.
using SqlValue = std::variant<std::nullptr_t, std::int64_t, std::uint64_t, std::string>;
using SqlValues = std::vector<SqlValue>;

class SqlRow {
 public:
  explicit SqlRow(SqlValues values) : values_(std::move(values)) {}

  bool is_null(std::size_t column) const { return std::holds_alternative<std::nullptr_t>(values_.at(column)); }
  /// Throw DatabaseError for a NULL, a value of the other kind, or a number out of range.
  std::int64_t integer(std::size_t column) const;
  std::uint64_t id(std::size_t column) const;
  const std::string& text(std::size_t column) const;

 private:
  SqlValues values_;
};

/// One session with the database, owned by one thread. It is opened by the first statement and dropped by the first
/// error, whatever the error: Poco's sessions cannot be asked whether they are still alive.
///
/// READ COMMITTED, UTC, utf8mb4. Rows must hold integers and texts only (CAST decimals, format dates), and no
/// MEDIUMTEXT: Poco reserves its longest length, 64 MB, for each statement (40 ms). See kBodyColumns.
class Database {
 public:
  explicit Database(const Config& config);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  /// Opens the session if there is none and checks the schema version. Throws DatabaseError or SchemaMismatch.
  void connect();
  bool connected() const;
  /// How many sessions have been opened: a change tells of a reconnect.
  std::uint64_t generation() const { return generation_; }

  std::vector<SqlRow> query(std::string_view sql, SqlValues parameters = {});
  /// Returns the number of rows changed.
  std::size_t execute(std::string_view sql, SqlValues parameters = {});

  /// Runs `work` between BEGIN and COMMIT; any exception rolls back and drops the session. The victim of a deadlock is
  /// run again at once, in a new session, a few times.
  void transaction(const std::function<void()>& work);
  /// Returns when all that was read so far is on the disk. InnoDB shows a transaction before its log is written; killed
  /// in between, the server has never had it, and gives its offset to another event.
  void settle();
  /// Whether the last transaction failed in its COMMIT, so that nobody knows whether it happened.
  bool commit_unknown() const { return commit_unknown_; }
  /// Its outcome has been looked up.
  void forget_commit() { commit_unknown_ = false; }

 private:
  struct Session;
  template <typename Work>
  auto guarded(Work&& work);
  void run_transaction(const std::function<void()>& work);

  std::string connection_string_;
  Watchdog watchdog_;
  std::unique_ptr<Session> session_;
  std::uint64_t generation_ = 0;
  bool commit_unknown_ = false;
};

/// "?,?,?" for `count` values of an IN list.
std::string placeholders(std::size_t count);

/// `sql` and such a list in parentheses.
std::string with_list(std::string_view sql, std::size_t count);
/// The values for it.
template <typename Ids>
SqlValues as_values(const Ids& ids) {
  return SqlValues(ids.begin(), ids.end());
}
/// For INTERVAL ? MICROSECOND.
inline std::int64_t microseconds(std::chrono::milliseconds time) {
  return time.count() * 1000;
}

/// The columns of events.body: its first part and whether there is more. Reads through read_body().
inline constexpr char kBodyColumns[] = "LEFT(e.body, 16000), CHAR_LENGTH(e.body) > 16000";

/// The body of a row with kBodyColumns at `column`; fetches the rest of a long one.
std::string read_body(Database& database, const SqlRow& row, std::size_t column, std::uint64_t event_id);

}  // namespace gamepicker
