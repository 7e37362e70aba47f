#pragma once

#include <memory>
#include <string>
#include <vector>

#include "shared/config.hpp"

namespace gamepicker::test {

/// A connection of its own, in autocommit until a "BEGIN". Throws std::runtime_error with the server's message.
class Connection {
 public:
  explicit Connection(const std::string& database);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// May hold several statements, separated by ';'.
  void execute(const std::string& sql);
  /// The rows as text; "NULL" for NULL.
  std::vector<std::vector<std::string>> query(const std::string& sql);

 private:
  struct Handle;
  std::unique_ptr<Handle> handle_;
};

/// Appends a line of JSON to the file named by API_EXCHANGES, for tests/openapi; nothing without one. Thread-safe.
void keep_line(const std::string& line);

/// A database of its own on the server at TEST_DB_SOCKET (user root, no password): every file of sql/ applied, dropped
/// at the end.
class TestDatabase {
 public:
  TestDatabase();
  /// Keeps the events for webhooks alone; tests/openapi holds their data against the catalogue.
  ~TestDatabase();
  TestDatabase(const TestDatabase&) = delete;
  TestDatabase& operator=(const TestDatabase&) = delete;

  /// Points to this database; secrets set, private webhook addresses allowed.
  Config config() const;
  const std::string& name() const { return name_; }

  void execute(const std::string& sql) { connection_->execute(sql); }
  std::vector<std::vector<std::string>> query(const std::string& sql) { return connection_->query(sql); }
  /// The first field of the first row, or "" when there is none.
  std::string value(const std::string& sql);

  /// Keeps the events of the channels LIKE this pattern.
  void keep_events(const std::string& channels);

  /// A second connection, to hold a transaction open beside the first.
  std::unique_ptr<Connection> connect() const { return std::make_unique<Connection>(name_); }

 private:
  std::string name_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace gamepicker::test
