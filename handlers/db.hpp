#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "shared/config.hpp"

/// The database as handlers see it. Connector/C++ is used in db.cpp and nowhere else.
namespace gamepicker::db {

/// Any database error without a more exact type below. what() is for the log, never for a client.
struct Error : std::runtime_error {
  Error(int error_code, const std::string& message) : std::runtime_error(message), code(error_code) {}
  int code;
};

/// A unique key refused a row (1062).
struct DuplicateKey : Error {
  using Error::Error;
};

/// A deadlock or lock wait timeout (1213, 1205, 1020): the whole transaction may be run again.
struct Conflict : Error {
  using Error::Error;
};

/// The server cannot be reached, or the connection died.
struct Unavailable : Error {
  using Error::Error;
};

/// The connection died during COMMIT: nobody knows whether the change is in. Never run again.
struct CommitUnknown : Error {
  using Error::Error;
};

using Param = std::variant<std::nullptr_t, std::int64_t, std::string_view>;

/// Turns what a handler holds into a parameter; the value must outlive the call it is passed to.
inline Param param(std::nullptr_t) {
  return nullptr;
}
template <std::integral Integer>
Param param(Integer number) {
  return static_cast<std::int64_t>(number);
}
inline Param param(std::string_view text) {
  return text;
}
inline Param param(const char* text) {
  return std::string_view(text);
}
inline Param param(const std::string& text) {
  return std::string_view(text);
}
template <typename T>
Param param(const std::optional<T>& maybe) {
  return maybe ? param(*maybe) : Param(nullptr);
}

/// The rows of one query, read forward; within a row the columns are read from left to right. Valid until the same SQL
/// runs again or the transaction ends.
class Rows {
 public:
  struct Source;
  explicit Rows(std::unique_ptr<Source> source);
  Rows(Rows&&) noexcept;
  Rows& operator=(Rows&&) noexcept;
  ~Rows();

  bool next();  ///< moves to the next row; false at the end

  std::int64_t integer();
  std::optional<std::int64_t> maybe_integer();
  std::string text();
  std::optional<std::string> maybe_text();
  std::string time();  ///< a DATETIME(3) in the ISO form of the wire
  std::optional<std::string> maybe_time();

 private:
  std::unique_ptr<Source> source_;
};

class Database;

/// Runs statements within Database::read or Database::transaction. Not to be kept.
class Transaction {
 public:
  /// Statements are prepared once a connection and remembered by their text: pass named constants.
  template <typename... Values>
  Rows query(std::string_view sql, const Values&... values) {
    const Param params[] = {param(values)..., Param(nullptr)};
    return run_query(sql, params, sizeof...(values));
  }

  /// Returns the number of affected rows.
  template <typename... Values>
  std::int64_t execute(std::string_view sql, const Values&... values) {
    const Param params[] = {param(values)..., Param(nullptr)};
    return run_execute(sql, params, sizeof...(values));
  }

  /// CALL of a procedure that does all of the transaction's work and whose last parameter, which is added here, says
  /// whether it is to COMMIT as well: no lock is held over a round trip then. It is not, when this is a part of another
  /// transaction. A function whose procedure found a reason not to COMMIT must throw, which rolls back; otherwise
  /// nothing is left to do. It ends with one SELECT, whose rows must be gone before the next statement. Throws
  /// CommitUnknown when the connection is lost meanwhile.
  template <typename... Values>
  Rows call_and_commit(std::string_view sql, const Values&... values) {
    const bool commit = depth_ == 0;
    const Param params[] = {param(values)..., param(commit)};
    if (commit) make_sure_of_connection();
    try {
      Rows rows = run_call(sql, params, sizeof...(values) + 1);
      ended_ = commit;
      return rows;
    } catch (const Unavailable& error) {
      if (commit) throw CommitUnknown(error.code, error.what());
      throw;
    }
  }

  std::int64_t last_insert_id();

  /// Events were written: relays are nudged once the commit is through.
  void nudge_after_commit() { nudge_ = true; }

 private:
  friend class Database;
  explicit Transaction(Database& database) : database_(database) {}
  Rows run_query(std::string_view sql, const Param* params, std::size_t count);
  Rows run_call(std::string_view sql, const Param* params, std::size_t count);
  std::int64_t run_execute(std::string_view sql, const Param* params, std::size_t count);
  void make_sure_of_connection();

  Database& database_;
  int depth_ = 0;         ///< how many others run as a part of this one
  bool started_ = false;  ///< a statement has reached the server
  bool ended_ = false;    ///< call_and_commit() was the end of it
  bool nudge_ = false;
};

/// One connection, opened when first needed and again after it was lost (a new one; the driver's reconnect() is never
/// used: it comes back with autocommit on). Not thread-safe: one for each worker process.
class Database {
 public:
  /// `on_events_committed` is called after each commit that wrote events.
  Database(const Config& config, std::function<void()> on_events_committed);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  /// For reading only: no transaction, every statement sees what is committed. Runs `fn` once more on a new connection
  /// when the old one was found dead. Inside a transaction of the same database it is a part of that. Throws Error and
  /// its kinds, and what `fn` throws.
  template <typename Fn>
  auto read(Fn&& fn) {
    if (current_ != nullptr) return fn(*current_);
    for (int attempt = 1;; ++attempt) {
      Transaction tx(*this);
      try {
        begin(true);
        return fn(tx);
      } catch (const Unavailable&) {
        drop();
        if (attempt == 2) throw;
      }
    }
  }

  /// read() for an answer made of several queries: all of them see one moment. Three round trips more.
  template <typename Fn>
  auto snapshot(Fn&& fn) {
    if (current_ != nullptr) return fn(*current_);
    return read([&](Transaction& tx) {
      const Snapshot snapshot(*this);
      return fn(tx);
    });
  }

  /// Runs `fn` in one READ COMMITTED transaction: commits at the end, rolls back on any exception. The whole of `fn` is
  /// run again, up to five times, on a conflict (a deadlock has rolled back everything, so a single statement cannot be
  /// repeated) and when the connection was found dead before its first statement; never after a commit whose outcome is
  /// unknown. So `fn` must have no effect outside the database. Called inside another transaction it joins that, which
  /// commits or runs again as a whole.
  template <typename Fn>
  auto transaction(Fn&& fn) {
    if (current_ != nullptr) return join(fn);
    for (int attempt = 1;; ++attempt) {
      Transaction tx(*this);
      const Joinable joinable(current_, tx);
      try {
        begin(false);
        auto result = fn(tx);
        commit(tx);
        return result;
      } catch (const Conflict&) {
        roll_back();
        if (attempt == kAttempts) throw;
        wait_before_retry(attempt);
      } catch (const Unavailable&) {
        drop();
        if (tx.started_ || attempt == kAttempts) throw;
        if (attempt > 1) wait_before_retry(attempt);
      } catch (const CommitUnknown&) {
        drop();
        throw;
      } catch (...) {
        roll_back();
        throw;
      }
    }
  }

  /// The version the database's schema is at; throws Error.
  int schema_version();

  /// Gives the connection up; the next use opens a new one.
  void disconnect() noexcept { drop(); }

 private:
  friend class Transaction;
  static constexpr int kAttempts = 5;

  /// For as long as it lives, other transactions join this one.
  struct Joinable {
    Joinable(Transaction*& slot, Transaction& tx) : current(slot) { current = &tx; }
    ~Joinable() { current = nullptr; }
    Joinable(const Joinable&) = delete;
    Joinable& operator=(const Joinable&) = delete;
    Transaction*& current;
  };

  /// A consistent read view, for as long as it lives.
  struct Snapshot {
    explicit Snapshot(Database& database);
    ~Snapshot();
    Snapshot(const Snapshot&) = delete;
    Snapshot& operator=(const Snapshot&) = delete;
    Database& database;
  };

  template <typename Fn>
  auto join(Fn&& fn) {
    struct Depth {
      explicit Depth(int& counter) : depth(counter) { ++depth; }
      ~Depth() { --depth; }
      int& depth;
    } const depth(current_->depth_);
    return fn(*current_);
  }

  void begin(bool autocommit);
  void commit(const Transaction& tx);
  void roll_back() noexcept;
  void drop() noexcept;
  static void wait_before_retry(int attempt);

  struct Connection;
  Config config_;
  std::function<void()> on_events_committed_;
  std::unique_ptr<Connection> connection_;
  Transaction* current_ = nullptr;  ///< the transaction that is running
};

}  // namespace gamepicker::db
