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

/// A database of its own on the server at TEST_DB_SOCKET (user root, no password): every file of sql/ applied, dropped
/// at the end.
class TestDatabase {
 public:
  TestDatabase();
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

  /// A second connection, to hold a transaction open beside the first.
  std::unique_ptr<Connection> connect() const { return std::make_unique<Connection>(name_); }

 private:
  std::string name_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace gamepicker::test
