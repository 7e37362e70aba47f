// Commits events and follows them, while tests/chaos/run kills what is in between; then compares what every follower
// heard with the event log.
//   chaos HOST:PORT TOKEN_FILE EVENTS EVENTS_PER_SECOND CLIENTS SECONDS SEED
// The database is that of DB_SOCKET, DB_NAME, DB_USER and DB_PASSWORD, the relays are told at NUDGE. Prints a line
// "progress EVENTS" now and then, in the end figures and a line "ok WHAT" or "not ok WHAT" for each promise.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>

#include "tests/chaos/followers.hpp"
#include "tests/chaos/report.hpp"
#include "tests/chaos/writers.hpp"

namespace {

using namespace chaos;

/// The limit itself is not to be reached by waiting for what does not come.
constexpr std::chrono::seconds kPatience{90};

template <typename Visit>
void for_each_follow(const Followers& followers, Visit visit) {
  for (std::size_t i = 0; i < followers.all().size(); ++i) {
    for (const Follow& follow : followers.all()[i].follows) visit(i, follow);
  }
}

/// Polls until everybody is at the end of its channels; false when that does not come.
bool catch_up(Followers& followers, const Truth& truth, Clock::time_point limit) {
  const auto complete = [&] {
    bool all = true;
    for_each_follow(followers, [&](std::size_t, const Follow& follow) {
      all = all && follow.known && follow.last >= truth.hashes[follow.channel].size();
    });
    return all;
  };
  limit = std::min(limit, Clock::now() + kPatience);
  while (!complete()) {
    if (Clock::now() > limit) return false;
    followers.poll(20);
  }
  return true;
}

void judge(const Followers& followers, const Truth& truth) {
  std::uint64_t missing = 0, different = 0;
  std::string first_missing, first_different;
  for_each_follow(followers, [&](std::size_t client, const Follow& follow) {
    const std::vector<std::uint32_t>& right = truth.hashes[follow.channel];
    const auto place = [&](std::uint64_t offset) {
      return "client " + std::to_string(client) + ' ' + channel_name(follow.channel) + ' ' + std::to_string(offset);
    };
    if (!follow.known || follow.last < right.size()) {
      missing += right.size() - follow.last;
      if (first_missing.empty()) first_missing = place(follow.last + 1);
    }
    for (std::size_t i = 0; i < follow.hashes.size(); ++i) {
      const std::uint64_t offset = follow.first + i + 1;
      if (offset <= right.size() && follow.hashes[i] == right[offset - 1]) continue;
      if (different++ == 0) first_different = place(offset);
    }
  });
  report("the event log holds what was committed, without gaps", truth.complaints.size(),
         truth.complaints.empty() ? "" : truth.complaints.front());
  report("every client has every event to the end", missing, first_missing);
  report("no event was left out", followers.skipped, "");
  report("no event was repeated", followers.repeated, "");
  report("every event is as it was committed", different, first_different);
  report("every client that resumed was told that nothing is missing", followers.not_recovered, "");
  report("nothing unexpected was said", followers.unexpected, followers.first_unexpected);
}

void run(char** argv) {
  WriterSettings settings;
  settings.database = gamepicker::test::DatabaseAddress::of_environment();
  settings.nudge = gamepicker::test::environment("NUDGE");
  settings.events = std::stoull(argv[3]);
  settings.per_second = std::stoull(argv[4]);
  const auto limit = Clock::now() + std::chrono::seconds(std::stoull(argv[6]));
  settings.seed = std::stoull(argv[7]);
  std::string token;
  std::ifstream(argv[2]) >> token;

  Followers followers(argv[1], token, std::stoull(argv[5]), settings.seed);
  Writers writers(settings);
  writers.start();
  auto tell_at = Clock::now();
  while (!writers.done()) {
    followers.poll(20);
    if (Clock::now() > limit) {
      std::cout << "not ok everything was committed in time: " << writers.figures() << std::endl;
      std::_Exit(EXIT_FAILURE);  // a writer may wait for its database still
    }
    if (Clock::now() < tell_at) continue;
    std::cout << "progress " << writers.committed() << std::endl;
    tell_at = Clock::now() + std::chrono::milliseconds(200);
  }
  std::cout << "progress end" << std::endl;
  followers.calm_down();
  // What comes before an event of its own is all that comes.
  if (catch_up(followers, writers.read_truth(), limit)) writers.mark_ends();
  const Truth truth = writers.read_truth();
  catch_up(followers, truth, limit);
  std::cout << "writers: " << writers.figures() << "\nclients: " << followers.figures() << std::endl;
  judge(followers, truth);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc != 8) {
      throw std::runtime_error("usage: chaos HOST:PORT TOKEN_FILE EVENTS EVENTS_PER_SECOND CLIENTS SECONDS SEED");
    }
    run(argv);
    return EXIT_SUCCESS;
  } catch (const std::exception& error) {
    std::cout << "not ok the test itself: " << error.what() << std::endl;
    return EXIT_FAILURE;
  }
}
