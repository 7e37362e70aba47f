#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace gamepicker {

/// Appends `text` to `out` as a quoted JSON string, as JSON.stringify writes it: who parses a webhook's body and
/// serialises it again gets the bytes that are signed. `text` must be valid UTF-8.
void append_json_string(std::string& out, std::string_view text);

/// Appends a finite number as JavaScript writes it (ECMA-262, Number::toString).
void append_json_number(std::string& out, double number);

/// A streaming JSON writer: values go straight into one string, commas are put where they belong, nothing is kept
/// in between. Poco's PrintHandler takes three times as long for an answer of ours.
///
///   JsonWriter json;
///   json.begin_object().field("id", 7).field("title", title).end_object();
///   send(json.take());
class JsonWriter {
 public:
  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }

  /// Names are identifiers and numbers of ours: nothing in them needs escaping.
  JsonWriter& key(std::string_view name);

  JsonWriter& value(std::string_view text);
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(bool flag) { return raw(flag ? "true" : "false"); }
  template <std::integral Integer>
  requires(!std::same_as<Integer, bool>) JsonWriter& value(Integer number) {
    char digits[24];
    return raw({digits, std::to_chars(digits, std::end(digits), number).ptr});
  }
  JsonWriter& null() { return raw("null"); }
  template <typename T>
  JsonWriter& value(const std::optional<T>& maybe) {
    return maybe ? value(*maybe) : null();
  }

  /// Puts text that is JSON already.
  JsonWriter& raw(std::string_view json);

  template <typename T>
  JsonWriter& field(std::string_view name, const T& content) {
    return key(name).value(content);
  }
  /// For a name that is not ours.
  JsonWriter& text_key(std::string_view name);
  JsonWriter& text_field(std::string_view name, std::string_view text) { return text_key(name).value(text); }
  JsonWriter& raw_field(std::string_view name, std::string_view json) { return key(name).raw(json); }

  const std::string& text() const { return out_; }
  std::string take() { return std::move(out_); }

 private:
  JsonWriter& open(char bracket);
  JsonWriter& close(char bracket);
  void separate();

  std::string out_;
  bool comma_ = false;
};

}  // namespace gamepicker
