// The readers of single values: what they accept means the same when it is written and read again. The first byte of an
// input says which reader gets the rest.

#include <string>
#include <string_view>

#include "handlers/csv.hpp"
#include "handlers/http.hpp"
#include "shared/clock.hpp"
#include "shared/json_reader.hpp"
#include "shared/json_writer.hpp"
#include "tests/fuzz/expect.hpp"

using namespace gamepicker;

namespace {

template <typename Fn>
void refusing(Fn&& fn) {
  try {
    fn();
  } catch (const JsonError&) {
  } catch (const FieldError&) {
  } catch (const csv::SyntaxError&) {
  }
}

void read_json(std::string_view text) {
  refusing([&] {
    const JsonObject object = JsonObject::parse(text);
    for (const char* name : {"a", "b", "title", "events", "game_id", ""}) {
      refusing([&] {
        const auto value = object.text(name, 100);
        if (!value) return;
        expect(is_valid_utf8(*value) && utf8_length(*value) <= 100, "a text is short UTF-8");
        JsonWriter json;
        json.begin_object().field("a", *value).end_object();
        expect(JsonObject::parse(json.text()).text("a", 100) == value, "a text survives writing and reading");
      });
      refusing([&] {
        const auto number = object.integer(name, -1000, 1000);
        expect(!number || (*number >= -1000 && *number <= 1000), "a number is in its range");
      });
      refusing([&] { object.boolean(name); });
      refusing([&] { object.object(name); });
      refusing([&] { object.text_list(name, 10); });
      refusing([&] { object.integer_list(name, 1, 10, 5); });
      refusing([&] { object.object_list(name, 5); });
      if (const auto json = object.json(name)) {
        expect(JsonObject::parse("{\"a\":" + *json + "}").has("a"), "a field as JSON text is JSON");
      }
    }
  });
}

void read_time(std::string_view text) {
  const auto time = parse_iso(text);
  if (!time) return;
  expect(parse_iso(format_iso(*time)) == time, "a time survives writing and reading");
  expect(parse_iso(sql_to_iso(format_sql(*time))) == time, "a time survives the database's form");
}

void read_percent_encoded(std::string_view text) {
  const auto decoded = percent_decode(text, true);
  if (!decoded) return;
  expect(is_valid_utf8(*decoded), "what was decoded is UTF-8");
  expect(decoded->find('\0') == std::string::npos, "what was decoded holds no U+0000");
}

void read_csv(std::string_view text) {
  refusing([&] {
    const std::vector<csv::Row> rows = csv::parse(text);
    std::string written = "\xEF\xBB\xBF";  // so that one in the first field is kept
    for (const csv::Row& row : rows) csv::append_row(written, row);
    const std::vector<csv::Row> again = csv::parse(written);
    // A row of one empty field is written as an empty line.
    std::vector<csv::Row> expected = rows;
    for (csv::Row& row : expected) {
      if (row == csv::Row{""}) row.clear();
    }
    expect(again == expected, "rows survive writing and reading");
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 'j':
      read_json(text);
      break;
    case 't':
      read_time(text);
      break;
    case 'p':
      read_percent_encoded(text);
      break;
    case 'c':
      read_csv(text);
      break;
    default:
      break;
  }
  return 0;
}
