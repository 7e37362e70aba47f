#include "handlers/csv.hpp"

#include <memory>
#include <new>

#include <csv.h>

namespace gamepicker::csv {
namespace {

struct Collector {
  std::vector<Row> rows;
  Row row;
  int last_end = 0;

  static void on_field(void* text, size_t length, void* self) {
    static_cast<Collector*>(self)->row.emplace_back(static_cast<const char*>(text), length);
  }
  /// `end`: the character that ended the row, -1 at the end of the text.
  static void on_row(int end, void* self) {
    auto& collector = *static_cast<Collector*>(self);
    const bool second_half = end == '\n' && collector.last_end == '\r' && collector.row.empty();  // of a CR LF
    collector.last_end = second_half ? 0 : end;
    if (second_half) return;
    collector.rows.push_back(std::move(collector.row));
    collector.row.clear();
  }
};

/// Whether spreadsheets take it for a formula, however many ' stand in front already.
bool is_formula_after_quotes(std::string_view cell) {
  const auto first = cell.find_first_not_of('\'');
  return first != std::string_view::npos && std::string_view("=+-@").find(cell[first]) != std::string_view::npos;
}

}  // namespace

std::vector<Row> parse(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  csv_parser parser;
  if (csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI | CSV_REPALL_NL) != 0) throw std::bad_alloc();
  const std::unique_ptr<csv_parser, void (*)(csv_parser*)> guard(&parser, csv_free);
  Collector collector;
  const bool whole =
      csv_parse(&parser, text.data(), text.size(), Collector::on_field, Collector::on_row, &collector) == text.size() &&
      csv_fini(&parser, Collector::on_field, Collector::on_row, &collector) == 0;
  if (!whole && csv_error(&parser) == CSV_ENOMEM) throw std::bad_alloc();
  if (!whole) throw SyntaxError(collector.rows.size() + 1);
  return std::move(collector.rows);
}

void append_row(std::string& out, const Row& fields) {
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const std::string& field = fields[i];
    if (i > 0) out += ',';
    const bool plain = field.find_first_of(",\"\r\n") == std::string::npos && !field.starts_with(' ') &&
                       !field.starts_with('\t') && !field.ends_with(' ') && !field.ends_with('\t');
    if (plain) {
      out += field;
      continue;
    }
    const std::size_t at = out.size();
    out.resize(at + 2 * field.size() + 2);  // every character a quote, and the two around
    out.resize(at + csv_write2(out.data() + at, out.size() - at, field.data(), field.size(), '"'));
  }
  out += "\r\n";
}

std::string disarm(std::string cell) {
  if (is_formula_after_quotes(cell)) cell.insert(0, 1, '\'');
  return cell;
}

std::string rearm(std::string cell) {
  if (cell.starts_with('\'') && is_formula_after_quotes(cell)) cell.erase(0, 1);
  return cell;
}

}  // namespace gamepicker::csv
