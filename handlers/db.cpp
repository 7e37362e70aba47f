#include "handlers/db.hpp"

#include <array>
#include <chrono>
#include <map>
#include <random>
#include <thread>

#include <cppconn/connection.h>
#include <cppconn/driver.h>
#include <cppconn/exception.h>
#include <cppconn/prepared_statement.h>
#include <cppconn/resultset.h>
#include <cppconn/statement.h>
#include <mysql_driver.h>

#include "shared/clock.hpp"
#include "shared/log.hpp"
#include "shared/schema.hpp"

namespace gamepicker::db {
namespace {

// READ COMMITTED: no gap locks, so a reader of the queue never holds up an insert.
constexpr std::array kSessionSetup = {
    "SET NAMES utf8mb4",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION time_zone = '+00:00', innodb_lock_wait_timeout = 5, "
    "sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
};

/// Error numbers of the server (mysqld_error.h) and the client library (errmsg.h).
[[noreturn]] void rethrow(const sql::SQLException& error) {
  const int code = error.getErrorCode();
  switch (code) {
    case 1062:
      throw DuplicateKey(code, error.what());
    case 1205:
    case 1213:
    case 1020:
    case 3572:  // NOWAIT on MySQL; MariaDB says 1205
      throw Conflict(code, error.what());
    case 1040:  // too many connections
    case 1053:  // server shutdown in progress
    case 1152:
    case 1153:
    case 1154:
    case 1158:
    case 1159:
    case 1160:
    case 1161:  // network errors seen by the server
    case 1203:  // too many connections of this user
    case 1290:  // read-only: a replica during failover
    case 1927:  // connection was killed
    case 2002:
    case 2003:
    case 2006:
    case 2013:
    case 2026:
    case 2030:  // statement of a connection that is gone
    case 2055:
      throw Unavailable(code, error.what());
    default:
      throw Error(code, error.what());
  }
}

template <typename Fn>
auto translated(Fn&& fn) {
  try {
    return fn();
  } catch (const sql::SQLException& error) {
    rethrow(error);
  }
}

struct Binder {
  sql::PreparedStatement& statement;
  unsigned position;

  void operator()(std::nullptr_t) const { statement.setNull(position, sql::DataType::VARCHAR); }
  void operator()(std::int64_t number) const { statement.setInt64(position, number); }
  void operator()(std::string_view text) const { statement.setString(position, std::string(text)); }
};

}  // namespace

struct Rows::Source {
  std::unique_ptr<sql::ResultSet> result;
  unsigned column = 0;
  sql::PreparedStatement* called = nullptr;  ///< a CALL, whose closing status is still to be read

  ~Source() {
    if (called == nullptr) return;
    result.reset();
    try {
      while (called->getMoreResults()) continue;
    } catch (const sql::SQLException& error) {
      log_warning(std::string("end of a procedure's results: ") + error.what());
    }
  }
};

Rows::Rows(std::unique_ptr<Source> source) : source_(std::move(source)) {}
Rows::Rows(Rows&&) noexcept = default;
Rows& Rows::operator=(Rows&&) noexcept = default;
Rows::~Rows() = default;

bool Rows::next() {
  source_->column = 0;
  return translated([&] { return source_->result->next(); });
}

std::int64_t Rows::integer() {
  return translated([&] { return source_->result->getInt64(++source_->column); });
}

std::optional<std::int64_t> Rows::maybe_integer() {
  return translated([&]() -> std::optional<std::int64_t> {
    const std::int64_t number = source_->result->getInt64(++source_->column);
    if (number == 0 && source_->result->isNull(source_->column)) return std::nullopt;
    return number;
  });
}

std::string Rows::text() {
  return translated([&] {
    sql::SQLString value = source_->result->getString(++source_->column);
    // Ours to take apart; it hands out a const reference only, and half of the time of a list is copies.
    return std::move(const_cast<std::string&>(value.asStdString()));
  });
}

std::optional<std::string> Rows::maybe_text() {
  std::string value = text();
  const auto is_null = [&] { return translated([&] { return source_->result->isNull(source_->column); }); };
  if (value.empty() && is_null()) return std::nullopt;
  return value;
}

std::string Rows::time() {
  return sql_to_iso(text());
}

std::optional<std::string> Rows::maybe_time() {
  auto raw = maybe_text();
  if (raw) raw = sql_to_iso(*raw);
  return raw;
}

struct Database::Connection {
  std::unique_ptr<sql::Connection> connection;
  // After the connection, so that statements are closed before it.
  std::map<std::string, std::unique_ptr<sql::PreparedStatement>, std::less<>> statements;
  bool autocommit = true;
  std::chrono::steady_clock::time_point used_at{};  ///< when a statement was last sent

  explicit Connection(const Config& config) {
    sql::ConnectOptionsMap options;
    options["hostName"] =
        sql::SQLString(config.db_socket.empty() ? "tcp://" + config.db_host + ":" + std::to_string(config.db_port)
                                                : "unix://" + config.db_socket);
    options["userName"] = sql::SQLString(config.db_user);
    options["password"] = sql::SQLString(config.db_password);
    options["schema"] = sql::SQLString(config.db_name);
    options["OPT_CONNECT_TIMEOUT"] = 5;
    options["OPT_READ_TIMEOUT"] = 30;
    options["OPT_WRITE_TIMEOUT"] = 30;
    connection.reset(sql::mysql::get_driver_instance()->connect(options));
    const std::unique_ptr<sql::Statement> setup(connection->createStatement());
    for (const char* text : kSessionSetup) setup->execute(text);
  }

  sql::PreparedStatement& prepare(std::string_view text) {
    auto found = statements.find(text);
    if (found == statements.end()) {
      std::unique_ptr<sql::PreparedStatement> statement(
          connection->prepareStatement(sql::SQLString(text.data(), text.size())));
      found = statements.emplace(std::string(text), std::move(statement)).first;
    }
    return *found->second;
  }

  sql::PreparedStatement& bind(std::string_view text, const Param* params, std::size_t count) {
    sql::PreparedStatement& statement = prepare(text);
    used_at = std::chrono::steady_clock::now();
    for (unsigned i = 0; i < count; ++i) std::visit(Binder{statement, i + 1}, params[i]);
    return statement;
  }
};

Rows Transaction::run_query(std::string_view sql, const Param* params, std::size_t count) {
  auto source = translated([&] {
    auto& statement = database_.connection_->bind(sql, params, count);
    auto rows = std::make_unique<Rows::Source>();
    rows->result.reset(statement.executeQuery());
    return rows;
  });
  started_ = true;
  return Rows(std::move(source));
}

Rows Transaction::run_call(std::string_view sql, const Param* params, std::size_t count) {
  auto source = translated([&] {
    auto& statement = database_.connection_->bind(sql, params, count);
    auto rows = std::make_unique<Rows::Source>();
    rows->result.reset(statement.executeQuery());
    rows->called = &statement;
    return rows;
  });
  started_ = true;
  return Rows(std::move(source));
}

std::int64_t Transaction::run_execute(std::string_view sql, const Param* params, std::size_t count) {
  const int affected = translated([&] { return database_.connection_->bind(sql, params, count).executeUpdate(); });
  started_ = true;
  return affected;
}

/// A connection that was idle may have been closed by the server, or by a restart of it. Asked before work that must
/// not be sent twice; throws Unavailable, upon which the transaction begins anew on another connection.
void Transaction::make_sure_of_connection() {
  constexpr std::chrono::seconds kFresh{1};
  if (std::chrono::steady_clock::now() - database_.connection_->used_at < kFresh) return;
  translated([&] {
    const std::unique_ptr<sql::Statement> statement(database_.connection_->connection->createStatement());
    statement->execute("DO 1");
  });
}

std::int64_t Transaction::last_insert_id() {
  Rows rows = query("SELECT LAST_INSERT_ID()");
  rows.next();
  return rows.integer();
}

Database::Database(const Config& config, std::function<void()> on_events_committed)
    : config_(config), on_events_committed_(std::move(on_events_committed)) {}

Database::~Database() = default;

void Database::begin(bool autocommit) {
  translated([&] {
    if (!connection_) {
      connection_ = std::make_unique<Connection>(config_);
      const int version = schema_version();
      if (version != kSchemaVersion) {
        drop();
        throw Unavailable(0, "the database schema is at version " + std::to_string(version) + ", this program needs " +
                                 std::to_string(kSchemaVersion));
      }
    }
    // Writers keep autocommit off and readers keep it on: a switch costs a round trip, and worker processes rarely
    // switch, as each serves one resource.
    if (connection_->autocommit != autocommit) {
      connection_->connection->setAutoCommit(autocommit);
      connection_->autocommit = autocommit;
    }
  });
}

Database::Snapshot::Snapshot(Database& owner) : database(owner) {
  translated([&] {
    const std::unique_ptr<sql::Statement> statement(database.connection_->connection->createStatement());
    statement->execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ");
    statement->execute("START TRANSACTION READ ONLY");
  });
}

Database::Snapshot::~Snapshot() {
  try {
    const std::unique_ptr<sql::Statement> statement(database.connection_->connection->createStatement());
    statement->execute("COMMIT");
  } catch (const std::exception& error) {
    log_warning(std::string("end of a read view failed, dropping the connection: ") + error.what());
    database.drop();
  }
}

void Database::commit(const Transaction& tx) {
  try {
    if (!tx.ended_) translated([&] { connection_->connection->commit(); });
  } catch (const Unavailable& error) {
    throw CommitUnknown(error.code, std::string("connection lost during COMMIT: ") + error.what());
  }
  if (tx.nudge_) on_events_committed_();
}

void Database::roll_back() noexcept {
  if (!connection_) return;
  try {
    connection_->connection->rollback();
  } catch (const std::exception& error) {
    log_warning(std::string("rollback failed, dropping the connection: ") + error.what());
    drop();
  }
}

void Database::drop() noexcept {
  connection_.reset();
}

void Database::wait_before_retry(int attempt) {
  // Jittered, so that the two sides of a deadlock do not meet again.
  static thread_local std::minstd_rand generator(std::random_device{}());
  std::uniform_int_distribution<int> jitter(1, 5 * attempt);
  std::this_thread::sleep_for(std::chrono::milliseconds(jitter(generator)));
}

int Database::schema_version() {
  return translated([&] {
    if (!connection_) connection_ = std::make_unique<Connection>(config_);
    const std::unique_ptr<sql::Statement> statement(connection_->connection->createStatement());
    const std::unique_ptr<sql::ResultSet> result(statement->executeQuery(kReadSchemaVersion));
    result->next();
    return result->getInt(1);
  });
}

}  // namespace gamepicker::db
