#pragma once

#include <span>
#include <string_view>

namespace gamepicker {

/// What a webhook can be told of.
struct EventType {
  const char* name;         ///< "game.added"
  const char* description;  ///< one sentence
  const char* schema;       ///< of "data", as JSON text: JSON Schema 2020-12
  const char* example;      ///< of "data", as JSON text
};

/// The one table of the events of webhooks.md. What may be asked for, what GET /api/webhooks/events tells and what
/// openapi.yaml says of each are held against it.
std::span<const EventType> event_catalogue();

/// Whether the catalogue has a type of this name.
bool is_event_type(std::string_view name);

}  // namespace gamepicker
