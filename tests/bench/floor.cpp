// The floor programs: what a FastCGI process can do at all, with nothing of ours in it.
//   bench_floor hello|select|transaction SOCKET WORKERS DB_SOCKET DB_NAME
// hello answers a constant, select reads one game by key with a prepared statement, transaction inserts a vote and
// counts it, in one transaction, with autocommit off.

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>

#include <fcgiapp.h>
#include <mysql/mysql.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

[[noreturn]] void fail(const std::string& what) {
  std::cerr << "bench_floor: " << what << '\n';
  std::exit(1);
}

class Database {
 public:
  Database(const char* socket, const char* name) : handle_(mysql_init(nullptr)) {
    if (mysql_real_connect(handle_, nullptr, nullptr, nullptr, name, 0, socket, 0) == nullptr)
      fail(mysql_error(handle_));
    mysql_query(handle_, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
  }

  MYSQL_STMT* prepare(const char* sql) {
    MYSQL_STMT* statement = mysql_stmt_init(handle_);
    if (mysql_stmt_prepare(statement, sql, std::strlen(sql)) != 0) fail(mysql_stmt_error(statement));
    return statement;
  }

  void autocommit_off() { mysql_autocommit(handle_, 0); }
  void commit() {
    if (mysql_commit(handle_) != 0) fail(mysql_error(handle_));
  }

 private:
  MYSQL* handle_;
};

void run(MYSQL_STMT* statement, int& id) {
  MYSQL_BIND bind{};
  bind.buffer_type = MYSQL_TYPE_LONG;
  bind.buffer = &id;
  mysql_stmt_bind_param(statement, &bind);
  if (mysql_stmt_execute(statement) != 0) fail(mysql_stmt_error(statement));
}

std::string select_game(MYSQL_STMT* statement) {
  int id = 1;
  run(statement, id);
  char title[256] = {};
  unsigned long length = 0;
  int upvotes = 0;
  MYSQL_BIND columns[2] = {};
  columns[0].buffer_type = MYSQL_TYPE_STRING;
  columns[0].buffer = title;
  columns[0].buffer_length = sizeof title;
  columns[0].length = &length;
  columns[1].buffer_type = MYSQL_TYPE_LONG;
  columns[1].buffer = &upvotes;
  mysql_stmt_bind_result(statement, columns);
  mysql_stmt_fetch(statement);
  mysql_stmt_free_result(statement);
  return R"({"id":1,"title":")" + std::string(title, length) + R"(","upvotes":)" + std::to_string(upvotes) + "}";
}

int serve(const std::string& mode, int listen_socket, const char* db_socket, const char* db_name) {
  FCGX_Request request;
  FCGX_InitRequest(&request, listen_socket, 0);
  Database database(db_socket, db_name);
  MYSQL_STMT* select = database.prepare("SELECT title, upvotes FROM games WHERE id = ?");
  MYSQL_STMT* insert = database.prepare(
      "INSERT INTO live_votes (session_id, game_id, username, vote_type, voted_at) "
      "VALUES (1, ?, 'floor', 'up', UTC_TIMESTAMP(3))");
  MYSQL_STMT* update = database.prepare("UPDATE games SET upvotes = upvotes + 1 WHERE id = ?");
  if (mode == "transaction") database.autocommit_off();
  while (FCGX_Accept_r(&request) == 0) {
    std::string body = R"({"status":"ok"})";
    if (mode == "select") body = select_game(select);
    if (mode == "transaction") {
      int id = 1;
      run(update, id);
      run(insert, id);
      database.commit();
    }
    const std::string answer = "Content-Type: application/json\r\n\r\n" + body;
    FCGX_PutStr(answer.data(), static_cast<int>(answer.size()), request.out);
    FCGX_Finish_r(&request);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) fail("usage: bench_floor hello|select|transaction SOCKET WORKERS DB_SOCKET DB_NAME");
  FCGX_Init();
  const int listen_socket = FCGX_OpenSocket(argv[2], 4096);
  if (listen_socket < 0) fail("cannot listen");
  ::chmod(argv[2], 0666);
  for (int i = 0; i < std::atoi(argv[3]); ++i) {
    if (::fork() == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      return serve(argv[1], listen_socket, argv[4], argv[5]);
    }
  }
  while (::wait(nullptr) > 0) {
  }
  return 0;
}
