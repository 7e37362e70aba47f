// Commits events at a steady pace, as the handlers do, and tells the relay:
//   bench_commit DB_SOCKET DB_NAME NUDGE CHANNEL EVENTS EVENTS_PER_SECOND SIZE
// "at" in an event's data is the time just before the call that enqueues it, which the COMMIT follows.

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>

#include <mysql/mysql.h>

#include "publisher.hpp"
#include "shared/nudge.hpp"

namespace {

void query(MYSQL* database, const std::string& sql) {
  if (mysql_real_query(database, sql.data(), sql.size()) != 0) {
    std::cerr << "bench_commit: " << mysql_error(database) << '\n';
    std::exit(1);
  }
  while (mysql_more_results(database)) mysql_next_result(database);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8) {
    std::cerr << "usage: bench_commit DB_SOCKET DB_NAME NUDGE CHANNEL EVENTS EVENTS_PER_SECOND SIZE\n";
    return 2;
  }
  const std::string channel = argv[4];
  const int events = std::atoi(argv[5]);
  const auto step = std::chrono::nanoseconds(1'000'000'000 / std::atoi(argv[6]));
  const auto size = static_cast<std::size_t>(std::atoi(argv[7]));
  MYSQL* database = mysql_init(nullptr);
  if (mysql_real_connect(database, nullptr, nullptr, nullptr, argv[2], 0, argv[1], CLIENT_MULTI_RESULTS) == nullptr) {
    std::cerr << "bench_commit: " << mysql_error(database) << '\n';
    return 1;
  }
  query(database, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
  query(database, "SET autocommit = 0");
  const gamepicker::Nudge nudge(argv[3]);
  auto due = std::chrono::steady_clock::now();
  for (int i = 0; i < events; ++i, due += step) {
    std::this_thread::sleep_until(due);
    // What is put into the text is ours: nothing to be escaped.
    query(database, "CALL enqueue_event('" + channel + "', 'bench', 'bench', '" +
                        bench::event_text("event", bench::monotonic_ns(), size) + "', NULL, 0)");
    query(database, "COMMIT");
    nudge.send();
  }
  mysql_close(database);
}
