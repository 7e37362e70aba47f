#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

/// CSV as in RFC 4180. libcsv is used in csv.cpp and nowhere else.
namespace gamepicker::csv {

/// The text breaks off inside quotes, or has a quote where none may stand. `row` counts from 1.
struct SyntaxError : std::runtime_error {
  explicit SyntaxError(std::size_t at_row) : std::runtime_error("unexpected quote"), row(at_row) {}
  std::size_t row;
};

using Row = std::vector<std::string>;

/// The rows of a text, an empty line being a row without fields; a byte order mark at its start is passed over.
std::vector<Row> parse(std::string_view text);

/// Appends a row, ended by CR LF; fields are quoted where they must be.
void append_row(std::string& out, const Row& fields);

/// A cell that a spreadsheet would run as a formula gets a ' in front; the second function takes it away again.
std::string disarm(std::string cell);
std::string rearm(std::string cell);

}  // namespace gamepicker::csv
