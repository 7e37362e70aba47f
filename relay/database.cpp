#include "relay/database.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <utility>

#include <Poco/Data/DataException.h>
#include <Poco/Data/LOB.h>
#include <Poco/Data/MySQL/Connector.h>
#include <Poco/Data/MySQL/SessionImpl.h>
#include <Poco/Data/RecordSet.h>
#include <Poco/Data/Session.h>
#include <mysql/mysql.h>

#include "shared/schema.hpp"

namespace gamepicker {
namespace {

constexpr std::size_t kConnectTimeoutSeconds = 5;
/// What has not answered by then is given up: the server hangs or the network lost it. Above
/// innodb_lock_wait_timeout, far above what any statement of ours takes. The client library would wait for ever; Poco
/// offers no way to set its read timeout, and it retries when the socket's own runs out.
constexpr std::chrono::seconds kAnswerTimeout{20};

constexpr std::string_view kSessionSetup[] = {
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION time_zone = '+00:00', innodb_lock_wait_timeout = 5, "
    "sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
};

/// Of one transaction that is chosen to end deadlocks again and again.
constexpr int kMostRuns = 5;
/// How the server's sentence for error 1213 begins; Poco does not tell the number.
constexpr std::string_view kDeadlock = "Deadlock found";

constexpr std::string_view kReadRestOfBody = "SELECT SUBSTRING(body, ?, 16000) FROM events WHERE id = ?";
constexpr std::size_t kBodyPart = 16000;

/// Poco's connection strings have no quoting: what would be read as more settings is refused.
std::string setting(const char* name, const std::string& value) {
  if (value.find_first_of(";=") != std::string::npos) {
    throw ConfigError(std::string("DB_* settings must not contain ';' or '=' (") + name + ")");
  }
  return std::string(name) + "=" + value + ";";
}

std::string connection_string(const Config& config) {
  std::string text = setting("user", config.db_user) + setting("password", config.db_password) +
                     setting("db", config.db_name) + "character-set=utf8mb4;compress=false;auto-reconnect=false;";
  if (config.db_socket.empty()) {
    return text + setting("host", config.db_host) + "port=" + std::to_string(config.db_port);
  }
  // Poco has no setting for a unix socket; the client library takes it from the environment for "localhost".
  if (const char* present = std::getenv("MYSQL_UNIX_PORT"); present == nullptr || config.db_socket != present) {
    ::setenv("MYSQL_UNIX_PORT", config.db_socket.c_str(), 1);
  }
  return text + "host=localhost";
}

MYSQL* handle_of(Poco::Data::Session& session) {
  auto* impl = dynamic_cast<Poco::Data::MySQL::SessionImpl*>(session.impl());
  if (impl == nullptr) throw DatabaseError("not a MySQL session");
  return impl->handle();
}

/// The client library's own socket.
int socket_of(Poco::Data::Session& session) {
  return static_cast<int>(mysql_get_socket(handle_of(session)));
}

/// Poco's own begin() turns autocommit off and leaves it off after the end: every later statement would open a
/// transaction that nobody ends.
void run_plain(Poco::Data::Session& session, const char* sql) {
  MYSQL* handle = handle_of(session);
  if (mysql_query(handle, sql) != 0) throw DatabaseError(std::string(mysql_error(handle)) + " in: " + sql);
}

SqlValue read_field(Poco::Data::RecordSet& records, std::size_t column, std::size_t row) {
  using Poco::Data::MetaColumn;
  if (records.isNull(column, row)) return nullptr;
  switch (records.columnType(column)) {
    case MetaColumn::FDT_BOOL:
    case MetaColumn::FDT_INT8:
    case MetaColumn::FDT_INT16:
    case MetaColumn::FDT_INT32:
    case MetaColumn::FDT_INT64:
    case MetaColumn::FDT_UINT8:
    case MetaColumn::FDT_UINT16:
    case MetaColumn::FDT_UINT32:
      return records.value(column, row).convert<std::int64_t>();
    case MetaColumn::FDT_UINT64:
      return records.value(column, row).convert<std::uint64_t>();
    case MetaColumn::FDT_STRING:
      return records.value(column, row).convert<std::string>();
    case MetaColumn::FDT_BLOB: {
      const auto& blob = records.value<Poco::Data::BLOB>(column, row);
      return std::string(reinterpret_cast<const char*>(blob.rawContent()), blob.size());
    }
    default:
      throw DatabaseError("a column of a type the relay does not read");
  }
}

void bind_all(Poco::Data::Statement& statement, SqlValues& parameters) {
  using namespace Poco::Data::Keywords;
  static Poco::Data::NullData null = Poco::NULL_GENERIC;
  for (SqlValue& parameter : parameters) {
    if (auto* number = std::get_if<std::int64_t>(&parameter)) {
      statement.addBind(use(*number));
    } else if (auto* id = std::get_if<std::uint64_t>(&parameter)) {
      statement.addBind(use(*id));
    } else if (auto* text = std::get_if<std::string>(&parameter)) {
      statement.addBind(use(*text));
    } else {
      statement.addBind(use(null));
    }
  }
}

/// The server's sentence out of Poco's "[Comment]: ... [mysql_stmt_error]: <sentence> [mysql_stmt_errno]: ...", with
/// the start of the statement.
std::string sentence(const Poco::Exception& error) {
  const std::string text = error.displayText();
  const auto part = [&](std::string_view label, std::size_t limit) {
    const auto start = text.find(label);
    if (start == std::string::npos) return std::string();
    const auto from = start + label.size();
    return text.substr(from, std::min(text.find('\t', from) - from, limit));
  };
  const std::string server = part("_error]: ", 300);
  if (server.empty()) return text.substr(0, 300);
  const std::string statement = part("[statemnt]: ", 80);  // sic
  return statement.empty() ? server : server + " in: " + statement;
}

}  // namespace

struct Database::Session {
  explicit Session(const std::string& connection_string)
      : poco("MySQL", connection_string, kConnectTimeoutSeconds), socket(socket_of(poco)) {}

  Poco::Data::Session poco;
  SocketHandle socket;
};

std::int64_t SqlRow::integer(std::size_t column) const {
  const SqlValue& value = values_.at(column);
  if (const auto* number = std::get_if<std::int64_t>(&value)) return *number;
  if (const auto* id = std::get_if<std::uint64_t>(&value); id != nullptr && std::in_range<std::int64_t>(*id)) {
    return static_cast<std::int64_t>(*id);
  }
  throw DatabaseError("column " + std::to_string(column) + " is not a number");
}

std::uint64_t SqlRow::id(std::size_t column) const {
  if (const auto* id = std::get_if<std::uint64_t>(&values_.at(column))) return *id;
  const std::int64_t number = integer(column);
  if (number < 0) throw DatabaseError("column " + std::to_string(column) + " is negative");
  return static_cast<std::uint64_t>(number);
}

const std::string& SqlRow::text(std::size_t column) const {
  const auto* text = std::get_if<std::string>(&values_.at(column));
  if (text == nullptr) throw DatabaseError("column " + std::to_string(column) + " is not text");
  return *text;
}

Database::Database(const Config& config) : connection_string_(connection_string(config)) {
  Poco::Data::MySQL::Connector::registerConnector();
}

Database::~Database() = default;

bool Database::connected() const {
  return session_ != nullptr;
}

/// Runs `work` under the time limit; any failure drops the session and leaves as DatabaseError.
template <typename Work>
auto Database::guarded(Work&& work) {
  try {
    const Watchdog::Guard guard(watchdog_, session_->socket.descriptor(), Watchdog::Clock::now() + kAnswerTimeout);
    return work();
  } catch (const DatabaseError&) {
    session_.reset();
    throw;
  } catch (const Poco::Exception& error) {
    session_.reset();
    const std::string text = sentence(error);
    if (text.starts_with(kDeadlock)) throw Deadlock(text);
    throw DatabaseError(text);
  } catch (...) {
    session_.reset();
    throw;
  }
}

void Database::connect() {
  if (session_) return;
  try {
    session_ = std::make_unique<Session>(connection_string_);
  } catch (const Poco::Exception& error) {
    throw DatabaseError(sentence(error));
  }
  guarded([&] {
    for (const std::string_view sql : kSessionSetup) {
      Poco::Data::Statement statement(session_->poco);
      statement << std::string(sql);
      statement.execute();
    }
    int version = 0;
    Poco::Data::Statement statement(session_->poco);
    statement << kReadSchemaVersion, Poco::Data::Keywords::into(version);
    statement.execute();
    if (version != kSchemaVersion) {
      throw SchemaMismatch("the database is at schema version " + std::to_string(version) + ", this program needs " +
                           std::to_string(kSchemaVersion));
    }
    ++generation_;
  });
}

std::vector<SqlRow> Database::query(std::string_view sql, SqlValues parameters) {
  connect();
  return guarded([&] {
    Poco::Data::Statement statement(session_->poco);
    statement << std::string(sql);
    bind_all(statement, parameters);
    statement.execute();
    Poco::Data::RecordSet records(statement);
    const std::size_t rows = records.rowCount();
    const std::size_t columns = records.columnCount();
    std::vector<SqlRow> result;
    result.reserve(rows);
    for (std::size_t row = 0; row < rows; ++row) {
      SqlValues values;
      values.reserve(columns);
      for (std::size_t column = 0; column < columns; ++column) values.push_back(read_field(records, column, row));
      result.emplace_back(std::move(values));
    }
    return result;
  });
}

std::size_t Database::execute(std::string_view sql, SqlValues parameters) {
  connect();
  return guarded([&] {
    Poco::Data::Statement statement(session_->poco);
    statement << std::string(sql);
    bind_all(statement, parameters);
    return statement.execute();
  });
}

// The log of our own COMMIT comes behind theirs. Few rows, and no two relays wait for each other often.
constexpr char kSettle[] =
    "INSERT INTO log_marks (id, mark) VALUES (CONNECTION_ID() % 64, 1) ON DUPLICATE KEY UPDATE mark = mark + 1";

void Database::settle() {
  execute(kSettle);
}

void Database::transaction(const std::function<void()>& work) {
  for (int run = 1;; ++run) {
    try {
      return run_transaction(work);
    } catch (const Deadlock&) {
      if (run == kMostRuns) throw;
    }
  }
}

void Database::run_transaction(const std::function<void()>& work) {
  commit_unknown_ = false;
  connect();
  guarded([&] { run_plain(session_->poco, "START TRANSACTION"); });
  try {
    work();
  } catch (...) {
    // Dropping the session is what rolls back: the server does so when the connection ends.
    session_.reset();
    throw;
  }
  if (!session_) throw DatabaseError("the session was lost within a transaction");
  commit_unknown_ = true;
  guarded([&] { run_plain(session_->poco, "COMMIT"); });
  commit_unknown_ = false;
}

std::string placeholders(std::size_t count) {
  std::string text;
  text.reserve(count * 2);
  for (std::size_t i = 0; i < count; ++i) text += i == 0 ? "?" : ",?";
  return text;
}

std::string with_list(std::string_view sql, std::size_t count) {
  return std::string(sql) + "(" + placeholders(count) + ")";
}

std::string read_body(Database& database, const SqlRow& row, std::size_t column, std::uint64_t event_id) {
  std::string body = row.text(column);
  if (row.integer(column + 1) == 0) return body;
  for (std::int64_t position = kBodyPart + 1;; position += kBodyPart) {
    const auto part = database.query(kReadRestOfBody, {position, event_id});
    if (part.empty() || part.front().text(0).empty()) return body;
    body += part.front().text(0);
  }
}

}  // namespace gamepicker
