#include "relay/event_rows.hpp"

#include "relay/frame.hpp"
#include "shared/events.hpp"
#include "shared/log.hpp"

namespace gamepicker {
namespace {

// The age at the start of the statement. An event's time is cut to milliseconds, so it is up to one too high.
constexpr std::string_view kAge = "CAST(TIMESTAMPDIFF(MICROSECOND, e.created_at, UTC_TIMESTAMP(6)) AS SIGNED)";
constexpr std::string_view kBodyStart = R"({"event":)";  ///< of every body from event_body()

std::shared_ptr<Frame> make_frame(Database& database, const SqlRow& row) {
  const std::string body = read_body(database, row, 4, row.id(0));
  if (!body.starts_with(kBodyStart)) {
    log_error("event " + std::to_string(row.id(0)) + " has no event body, skipped");
    return nullptr;
  }
  auto frame = std::make_shared<Frame>();
  frame->channel = row.text(1);
  frame->offset = row.id(2);
  frame->except = row.text(3);
  frame->bytes = encode_text_frame(event_message(body, row.id(0), frame->channel, frame->offset));
  return frame;
}

}  // namespace

std::string select_events() {
  return std::string("SELECT e.id, e.channel, e.seq, COALESCE(e.except_socket_id, ''), ") + kBodyColumns + ", " +
         std::string(kAge) + " FROM events e ";
}

FramePtr read_frame(Database& database, const SqlRow& row) {
  return make_frame(database, row);
}

FramePtr read_new_frame(Database& database, const SqlRow& row, std::chrono::steady_clock::time_point asked_at) {
  auto frame = make_frame(database, row);
  if (frame) frame->written_at = asked_at - std::chrono::microseconds(row.integer(6));
  return frame;
}

}  // namespace gamepicker
