#include "shared/json_reader.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>
#include <vector>

#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>

#include "shared/json_writer.hpp"

namespace gamepicker {
namespace {

using Poco::Dynamic::Var;

constexpr int kMaxDepth = 64;
constexpr char kNotAnObject[] = "Request body must be a JSON object";

[[noreturn]] void fail(const std::string& name, const std::string& what) {
  throw FieldError(name + " " + what);
}

bool is_strict_integer(const Var& value) {
  return value.isInteger() && !value.isBoolean();
}

/// The value of a strict integer; a UInt64 beyond the signed range is clamped to its end.
std::int64_t integer_value(const Var& value) {
  constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();
  if (!value.isSigned() && value.convert<std::uint64_t>() > static_cast<std::uint64_t>(kLargest)) return kLargest;
  return value.convert<std::int64_t>();
}

std::string checked_text(const std::string& name, const Var& value, std::size_t max_characters) {
  if (!value.isString()) fail(name, "must be a string");
  const auto& text = value.extract<std::string>();
  if (utf8_length(text) > max_characters)
    fail(name, "must be at most " + std::to_string(max_characters) + " characters");
  if (text.find('\0') != std::string::npos) fail(name, "must not contain U+0000");
  return text;
}

/// Whether it is one JSON value that is neither object nor array: Poco's parser knows none at the top.
bool is_scalar(std::string_view text) {
  try {
    const Var parsed = Poco::JSON::Parser().parse("[" + std::string(text) + "]");
    return parsed.extract<Poco::JSON::Array::Ptr>()->size() == 1;
  } catch (const Poco::Exception&) {
    return false;
  }
}

/// JavaScript's array indices, which come first among the names of an object, smallest first; nothing for other names.
std::optional<std::uint32_t> array_index(const std::string& name) {
  std::uint32_t index = 0;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data(), end, index);
  const bool plain = error == std::errc() && stop == end && std::to_string(index) == name;
  return plain && index != std::numeric_limits<std::uint32_t>::max() ? std::optional(index) : std::nullopt;
}

/// As JSON.stringify writes what JSON.parse has read, but for whole numbers beyond 2^53, which stay exact.
void append_json(std::string& out, const Var& value) {
  if (value.isEmpty()) {
    out += "null";
  } else if (value.type() == typeid(Poco::JSON::Object::Ptr)) {
    const auto& object = *value.extract<Poco::JSON::Object::Ptr>();
    auto names = object.getNames();
    std::ranges::stable_sort(names, {}, [](const std::string& name) {
      return array_index(name).value_or(std::numeric_limits<std::uint32_t>::max());
    });
    char separator = '{';
    for (const std::string& name : names) {
      append_json_string(out += std::exchange(separator, ','), name);
      append_json(out += ':', object.get(name));
    }
    out += names.empty() ? "{}" : "}";
  } else if (value.type() == typeid(Poco::JSON::Array::Ptr)) {
    const auto& array = *value.extract<Poco::JSON::Array::Ptr>();
    char separator = '[';
    for (const Var& element : array) append_json(out += std::exchange(separator, ','), element);
    out += array.size() == 0 ? "[]" : "]";
  } else if (value.isString()) {
    append_json_string(out, value.extract<std::string>());
  } else if (value.isBoolean() || value.isInteger()) {
    out += value.convert<std::string>();
  } else {
    append_json_number(out, value.convert<double>());
  }
}

}  // namespace

struct JsonObject::Tree {
  Poco::JSON::Object::Ptr object;

  /// The field, or an empty Var when absent or null.
  Var get(const std::string& name) const {
    const Var value = object->get(name);
    return value;
  }
};

JsonObject JsonObject::parse(std::string_view text) {
  Var parsed;
  if (!is_valid_utf8(text)) throw JsonError("Invalid JSON");
  try {
    Poco::JSON::Parser parser;
    parser.setDepth(kMaxDepth);
    parsed = parser.parse(std::string(text));
  } catch (const Poco::Exception&) {
    throw JsonError(is_scalar(text) ? kNotAnObject : "Invalid JSON");
  }
  if (parsed.type() != typeid(Poco::JSON::Object::Ptr)) throw JsonError(kNotAnObject);
  return JsonObject(std::make_shared<const Tree>(Tree{parsed.extract<Poco::JSON::Object::Ptr>()}));
}

bool JsonObject::has(const std::string& name) const {
  return tree_->object->has(name);
}

std::vector<std::string> JsonObject::names() const {
  std::vector<std::string> names;
  tree_->object->getNames(names);
  return names;
}

bool JsonObject::is_null(const std::string& name) const {
  return has(name) && tree_->get(name).isEmpty();
}

std::optional<std::int64_t> JsonObject::integer(const std::string& name, std::int64_t min, std::int64_t max) const {
  const Var value = tree_->get(name);
  if (value.isEmpty()) return std::nullopt;
  if (!is_strict_integer(value)) fail(name, "must be an integer");
  const std::int64_t number = integer_value(value);
  if (number < min) fail(name, "must be at least " + std::to_string(min));
  if (number > max) fail(name, "must be at most " + std::to_string(max));
  return number;
}

std::optional<bool> JsonObject::boolean(const std::string& name) const {
  const Var value = tree_->get(name);
  if (value.isEmpty()) return std::nullopt;
  if (value.isBoolean()) return value.extract<bool>();
  if (is_strict_integer(value)) {
    const std::int64_t number = integer_value(value);
    if (number == 0 || number == 1) return number == 1;
  }
  fail(name, "must be true or false");
}

std::optional<std::string> JsonObject::text(const std::string& name, std::size_t max_characters) const {
  const Var value = tree_->get(name);
  if (value.isEmpty()) return std::nullopt;
  return checked_text(name, value, max_characters);
}

std::optional<JsonObject> JsonObject::object(const std::string& name) const {
  const Var value = tree_->get(name);
  if (value.isEmpty()) return std::nullopt;
  if (value.type() != typeid(Poco::JSON::Object::Ptr)) fail(name, "must be an object");
  return JsonObject(std::make_shared<const Tree>(Tree{value.extract<Poco::JSON::Object::Ptr>()}));
}

bool JsonObject::is_array(const std::string& name) const {
  return tree_->get(name).type() == typeid(Poco::JSON::Array::Ptr);
}

std::optional<std::vector<std::string>> JsonObject::text_list(const std::string& name,
                                                              std::size_t max_characters) const {
  const Var value = tree_->get(name);
  if (value.isEmpty()) return std::nullopt;
  if (!is_array(name)) fail(name, "must be an array");
  std::vector<std::string> texts;
  for (const Var& element : *value.extract<Poco::JSON::Array::Ptr>()) {
    texts.push_back(checked_text(name + "[" + std::to_string(texts.size()) + "]", element, max_characters));
  }
  return texts;
}

std::optional<std::vector<std::int64_t>> JsonObject::integer_list(const std::string& name, std::int64_t min,
                                                                  std::int64_t max, std::size_t max_count) const {
  if (!is_array(name)) return std::nullopt;
  const auto array = tree_->get(name).extract<Poco::JSON::Array::Ptr>();
  if (array->size() > max_count) return std::nullopt;
  std::vector<std::int64_t> numbers;
  for (const Var& element : *array) {
    if (element.isEmpty() || !is_strict_integer(element)) return std::nullopt;
    numbers.push_back(integer_value(element));
    if (numbers.back() < min || numbers.back() > max) return std::nullopt;
  }
  return numbers;
}

std::optional<std::vector<JsonObject>> JsonObject::object_list(const std::string& name, std::size_t max_count) const {
  if (!is_array(name)) return std::nullopt;
  const auto array = tree_->get(name).extract<Poco::JSON::Array::Ptr>();
  if (array->size() > max_count) return std::nullopt;
  std::vector<JsonObject> objects;
  for (const Var& element : *array) {
    if (element.type() != typeid(Poco::JSON::Object::Ptr)) {
      fail(name + "[" + std::to_string(objects.size()) + "]", "must be an object");
    }
    objects.push_back(JsonObject(std::make_shared<const Tree>(Tree{element.extract<Poco::JSON::Object::Ptr>()})));
  }
  return objects;
}

std::optional<std::string> JsonObject::json(const std::string& name) const {
  if (!has(name)) return std::nullopt;
  std::string out;
  append_json(out, tree_->get(name));
  return out;
}

std::size_t utf8_length(std::string_view text) {
  std::size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

bool is_valid_utf8(std::string_view text) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  const auto* end = p + text.size();
  while (p < end) {
    if (*p < 0x80) {
      ++p;
      continue;
    }
    // RFC 3629, section 4: the second byte of some leads has a narrower range.
    int more = 0;
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    if (*p >= 0xC2 && *p <= 0xDF) {
      more = 1;
    } else if (*p >= 0xE0 && *p <= 0xEF) {
      more = 2;
      if (*p == 0xE0) low = 0xA0;
      if (*p == 0xED) high = 0x9F;
    } else if (*p >= 0xF0 && *p <= 0xF4) {
      more = 3;
      if (*p == 0xF0) low = 0x90;
      if (*p == 0xF4) high = 0x8F;
    } else {
      return false;
    }
    if (end - p <= more || p[1] < low || p[1] > high) return false;
    for (int i = 2; i <= more; ++i) {
      if (p[i] < 0x80 || p[i] > 0xBF) return false;
    }
    p += more + 1;
  }
  return true;
}

}  // namespace gamepicker
