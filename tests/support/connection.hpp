#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>

#include <mysql/mysql.h>

namespace gamepicker::test {

/// The variable must be set. Throws std::runtime_error.
inline std::string environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) throw std::runtime_error(std::string(name) + " is not set");
  return value;
}

struct DatabaseAddress {
  std::string socket, name, user, password;

  /// DB_SOCKET, DB_NAME, DB_USER and DB_PASSWORD.
  static DatabaseAddress of_environment() {
    return {environment("DB_SOCKET"), environment("DB_NAME"), environment("DB_USER"), environment("DB_PASSWORD")};
  }
};

/// A connection that comes back, with autocommit off. Texts are ours: nothing to be escaped.
class Connection {
 public:
  Connection(const DatabaseAddress& address, const std::atomic<bool>& stopping)
      : address_(address), stopping_(stopping) {}
  ~Connection() { drop(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Until it is there, or false when all is to end.
  bool ready() {
    while (database_ == nullptr && !stopping_) {
      if (!connect()) std::this_thread::sleep_for(kReconnectEvery);
    }
    return database_ != nullptr;
  }
  /// Ends what it was in, and drops it when the server was started anew meanwhile: ready() then makes another.
  void check() {
    if (!run("ROLLBACK")) drop();
  }
  void drop() {
    if (database_ != nullptr) mysql_close(database_);
    database_ = nullptr;
  }
  bool run(const std::string& sql) {
    if (database_ == nullptr || mysql_real_query(database_, sql.data(), sql.size()) != 0) return false;
    int next = 0;
    do {
      if (MYSQL_RES* rows = mysql_store_result(database_)) mysql_free_result(rows);
      next = mysql_next_result(database_);
    } while (next == 0);
    return next < 0;
  }
  /// Calls `row` for each row with its columns; false when the answer is not complete.
  template <typename Row>
  bool rows(const std::string& sql, Row row) {
    if (database_ == nullptr || mysql_real_query(database_, sql.data(), sql.size()) != 0) return false;
    MYSQL_RES* result = mysql_use_result(database_);
    if (result == nullptr) return false;
    while (MYSQL_ROW columns = mysql_fetch_row(result)) row(columns);
    const bool complete = mysql_errno(database_) == 0;
    mysql_free_result(result);
    return complete;
  }
  /// The number in the first column of the last row.
  bool number(const std::string& sql, std::uint64_t& value) {
    return rows(sql, [&](MYSQL_ROW columns) { value = std::stoull(columns[0]); });
  }

  /// Where the database is not expected to be away. Throws std::runtime_error with its complaint.
  void must(const std::string& sql) {
    if (!ready() || !run(sql)) throw std::runtime_error(error() + ": " + sql.substr(0, 200));
  }
  /// must() of a question for one number; 0 when there is no row.
  std::uint64_t must_number(const std::string& sql) {
    std::uint64_t value = 0;
    if (!ready() || !number(sql, value)) throw std::runtime_error(error() + ": " + sql.substr(0, 200));
    return value;
  }
  std::string error() const { return database_ == nullptr ? "no connection" : mysql_error(database_); }
  MYSQL* handle() { return database_; }

 private:
  static constexpr unsigned kReadTimeout = 90;  ///< s; longer than a lock wait
  static constexpr std::chrono::milliseconds kReconnectEvery{50};

  bool connect() {
    database_ = mysql_init(nullptr);
    mysql_options(database_, MYSQL_OPT_READ_TIMEOUT, &kReadTimeout);
    if (mysql_real_connect(database_, nullptr, address_.user.c_str(), address_.password.c_str(), address_.name.c_str(),
                           0, address_.socket.c_str(), CLIENT_MULTI_RESULTS) != nullptr &&
        run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED") && run("SET autocommit = 0")) {
      return true;
    }
    drop();
    return false;
  }

  const DatabaseAddress& address_;
  const std::atomic<bool>& stopping_;
  MYSQL* database_ = nullptr;
};

}  // namespace gamepicker::test
