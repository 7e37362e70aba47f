#include "relay/event_stream.hpp"

#include <memory>

#include "relay/frame.hpp"
#include "shared/json_writer.hpp"

namespace gamepicker {

FramePtr stream_frame(const FramePtr& frame) {
  if (!frame->in_stream) {
    auto encoded = std::make_shared<Frame>();
    encoded->bytes = "id: " + frame->channel + ':' + std::to_string(frame->offset) + "\ndata: ";
    encoded->bytes.append(text_of_frame(frame->bytes)).append("\n\n");  // JSON has no line breaks
    frame->in_stream = std::move(encoded);
  }
  return frame->in_stream;
}

std::string stream_subscribed(std::string_view json, std::string_view channel, std::uint64_t offset) {
  std::string text = "event: subscribed\nid: ";
  text.append(channel).append(":").append(std::to_string(offset)).append("\ndata: ").append(json).append("\n\n");
  return text;
}

std::string stream_close(std::uint16_t code, std::string_view reason) {
  JsonWriter json;
  json.begin_object().field("code", code).field("reason", reason).end_object();
  return "event: close\ndata: " + json.text() + "\n\n";
}

}  // namespace gamepicker
