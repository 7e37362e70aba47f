#include "tests/support/database.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <stdexcept>

#include <fcntl.h>
#include <mysql/mysql.h>
#include <unistd.h>

#include "shared/events.hpp"
#include "shared/json_writer.hpp"
#include "shared/schema.hpp"

namespace gamepicker::test {
namespace {

constexpr char kMigrationsTable[] =
    "CREATE TABLE IF NOT EXISTS schema_migrations (version INT NOT NULL PRIMARY KEY, name VARCHAR(200) NOT NULL, "
    "checksum CHAR(64) NOT NULL, started_at DATETIME(3) NOT NULL, finished_at DATETIME(3) NULL)";

std::string server_socket() {
  const char* socket = std::getenv("TEST_DB_SOCKET");
  if (socket == nullptr) throw std::runtime_error("TEST_DB_SOCKET is not set; start the tests with tests/run");
  // The client library reads this once, when it is first used; what the relay sets later would come too late here.
  ::setenv("MYSQL_UNIX_PORT", socket, 1);
  return socket;
}

std::vector<std::filesystem::path> migrations() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(SOURCE_DIR "/sql")) {
    if (entry.path().extension() == ".sql") files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

std::string random_name() {
  std::random_device random;
  // MySQL's names of users, which some tests make of it, end at 32 characters.
  return "gamepicker_test_" + std::to_string(((std::uint64_t{random()} << 32) | random()) >> 16);
}

/// A migration as the server reads it: DELIMITER is a command of the command line client.
std::string without_delimiters(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string sql;
  for (std::string line; std::getline(file, line); sql += line + '\n') {
    if (line.starts_with("DELIMITER ")) line.clear();
    if (line == "END //") line = "END;";
  }
  return sql;
}

}  // namespace

struct Connection::Handle {
  MYSQL mysql;
};

Connection::Connection(const std::string& database) : handle_(std::make_unique<Handle>()) {
  MYSQL* const mysql = &handle_->mysql;
  const std::string socket = server_socket();
  mysql_init(mysql);
  mysql_options(mysql, MYSQL_SET_CHARSET_NAME, "utf8mb4");
  if (mysql_real_connect(mysql, nullptr, "root", "", database.empty() ? nullptr : database.c_str(), 0, socket.c_str(),
                         CLIENT_MULTI_STATEMENTS) == nullptr) {
    const std::string why = mysql_error(mysql);
    mysql_close(mysql);
    throw std::runtime_error("test database: " + why);
  }
  execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; SET SESSION time_zone = '+00:00'");
}

Connection::~Connection() {
  mysql_close(&handle_->mysql);
}

void Connection::execute(const std::string& sql) {
  query(sql);
}

std::vector<std::vector<std::string>> Connection::query(const std::string& sql) {
  MYSQL* const mysql = &handle_->mysql;
  std::vector<std::vector<std::string>> rows;
  int more = mysql_real_query(mysql, sql.data(), sql.size());
  while (more == 0) {
    if (MYSQL_RES* result = mysql_store_result(mysql); result != nullptr) {
      const unsigned columns = mysql_num_fields(result);
      while (MYSQL_ROW row = mysql_fetch_row(result)) {
        const unsigned long* lengths = mysql_fetch_lengths(result);
        auto& fields = rows.emplace_back();
        for (unsigned i = 0; i < columns; ++i) {
          fields.push_back(row[i] == nullptr ? "NULL" : std::string(row[i], lengths[i]));
        }
      }
      mysql_free_result(result);
    }
    more = mysql_next_result(mysql);
  }
  if (more > 0) throw std::runtime_error(std::string(mysql_error(mysql)) + " in: " + sql.substr(0, 200));
  return rows;
}

TestDatabase::TestDatabase() : name_(random_name()) {
  Connection("").execute("CREATE DATABASE " + name_ + " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
  connection_ = std::make_unique<Connection>(name_);
  execute(kMigrationsTable);
  for (const auto& path : migrations()) {
    execute(without_delimiters(path));
  }
  execute("INSERT IGNORE INTO schema_migrations VALUES (" + std::to_string(kSchemaVersion) +
          ", 'test', REPEAT('0', 64), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))");
}

void keep_line(const std::string& line) {
  const char* file = std::getenv("API_EXCHANGES");
  if (file == nullptr) return;
  // In one call, for several programs write there at a time.
  const int descriptor = ::open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const std::string whole = line + '\n';
  const bool written = ::write(descriptor, whole.data(), whole.size()) == static_cast<ssize_t>(whole.size());
  ::close(descriptor);
  if (!written) throw std::runtime_error("cannot write to API_EXCHANGES");
}

void TestDatabase::keep_events(const std::string& channels) {
  if (std::getenv("API_EXCHANGES") == nullptr) return;
  try {
    for (const auto& row : query("SELECT type, body FROM events WHERE channel LIKE '" + channels + "'")) {
      JsonWriter json;
      json.begin_object().field("event", row[0]).raw_field("data", event_data(row[1])).end_object();
      keep_line(json.text());
    }
  } catch (const std::exception&) {
    // The test has taken the table away, or the server.
  }
}

TestDatabase::~TestDatabase() {
  keep_events(std::string(kWebhookChannel));
  try {
    execute("DROP DATABASE " + name_);
  } catch (const std::exception&) {
    // The server is the tests' own and goes away with them.
  }
}

Config TestDatabase::config() const {
  Config config;
  config.admin_key = "test-admin-key";
  config.jwt_secret = "test-jwt-secret-of-sufficient-length";
  config.secret_key = std::string(64, '5');
  config.db_socket = server_socket();
  config.db_name = name_;
  config.db_user = "root";
  config.relay_nudge.clear();
  config.webhook_allow_private = true;
  return config;
}

std::string TestDatabase::value(const std::string& sql) {
  const auto rows = query(sql);
  return rows.empty() || rows.front().empty() ? std::string() : rows.front().front();
}

}  // namespace gamepicker::test
