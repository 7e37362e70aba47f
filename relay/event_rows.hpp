#pragma once

#include <chrono>
#include <string>

#include "relay/database.hpp"
#include "relay/feed.hpp"

/// Rows of the event log as frames: what the readers of live events and of history share.
namespace gamepicker {

/// "SELECT ... FROM events e ", for read_frame(); columns 0 to 2 are id, channel and seq.
std::string select_events();

/// The frame of a row; may fetch the rest of a long body. Nothing, and a line in the log, for a row that is none of
/// ours: one such row must not hold up everything behind it.
FramePtr read_frame(Database& database, const SqlRow& row);

/// The same for a row that was asked for at this time, as soon as it could be seen: with Frame::written_at.
FramePtr read_new_frame(Database& database, const SqlRow& row, std::chrono::steady_clock::time_point asked_at);

}  // namespace gamepicker
