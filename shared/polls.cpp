#include "shared/polls.hpp"

#include "shared/json_writer.hpp"

namespace gamepicker::polls {

std::string voting_ended_data(std::int64_t session_id, const Leading& winner) {
  JsonWriter data;
  data.begin_object().field("sessionId", session_id).field("winnerGameId", winner.game_id);
  data.field("winnerLabel", winner.label).field("winnerVotes", winner.votes).end_object();
  return data.take();
}

}  // namespace gamepicker::polls
