#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace gamepicker {

/// The text is not JSON, or not a JSON object. what() is the sentence the client reads.
struct JsonError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// One field has the wrong type, length or range. what() names it.
struct FieldError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A parsed JSON object with strict readers. Poco's own conversions read "7", 7.9 and true as integers; these refuse
/// them. An absent field and, unless said otherwise, an explicit null both read as "not given". Unknown fields are
/// ignored. Cheap to copy (shares the parsed tree).
class JsonObject {
 public:
  /// Throws JsonError("Invalid JSON") or JsonError("Request body must be a JSON object"). Nesting beyond 64 levels is
  /// invalid. The size limit is the caller's: check it before the text is in memory.
  static JsonObject parse(std::string_view text);

  bool has(const std::string& name) const;  ///< present, be it null
  bool is_null(const std::string& name) const;
  /// Of all fields, in the order of their bytes; of a name that comes twice once.
  std::vector<std::string> names() const;

  std::optional<std::int64_t> integer(const std::string& name, std::int64_t min, std::int64_t max) const;
  /// true, false, 0 or 1.
  std::optional<bool> boolean(const std::string& name) const;
  /// At most `max_characters` code points; U+0000 is refused.
  std::optional<std::string> text(const std::string& name, std::size_t max_characters) const;
  std::optional<JsonObject> object(const std::string& name) const;
  /// Nothing when absent or null; throws FieldError when not an array or an element is not a string.
  std::optional<std::vector<std::string>> text_list(const std::string& name, std::size_t max_characters) const;
  /// Nothing when absent, null, not an array, longer than `max_count`, or an element is not an integer in the range.
  std::optional<std::vector<std::int64_t>> integer_list(const std::string& name, std::int64_t min, std::int64_t max,
                                                        std::size_t max_count) const;
  /// Nothing when absent, null, not an array, longer than `max_count`; throws FieldError when an element is not an
  /// object.
  std::optional<std::vector<JsonObject>> object_list(const std::string& name, std::size_t max_count) const;
  bool is_array(const std::string& name) const;
  /// The field as compact JSON text, whatever its type; nothing when absent.
  std::optional<std::string> json(const std::string& name) const;

 private:
  struct Tree;
  explicit JsonObject(std::shared_ptr<const Tree> tree) : tree_(std::move(tree)) {}
  std::shared_ptr<const Tree> tree_;
};

/// The number of code points of valid UTF-8.
std::size_t utf8_length(std::string_view text);

/// Whether `text` is valid UTF-8 (RFC 3629: no surrogates, no overlong forms).
bool is_valid_utf8(std::string_view text);

}  // namespace gamepicker
