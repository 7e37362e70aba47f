#include "shared/clock.hpp"

#include <array>
#include <charconv>
#include <cstdio>

namespace gamepicker {
namespace {

using namespace std::chrono;

/// Reads the text of a date from left to right; every step fails softly by returning false.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : rest_(text) {}

  bool digits(std::size_t count, int& value) {
    if (rest_.size() < count) return false;
    const char* end = rest_.data() + count;
    for (const char* p = rest_.data(); p != end; ++p) {
      if (*p < '0' || *p > '9') return false;
    }
    std::from_chars(rest_.data(), end, value);
    rest_.remove_prefix(count);
    return true;
  }

  bool skip(std::string_view one_of) {
    if (rest_.empty() || one_of.find(rest_.front()) == std::string_view::npos) return false;
    rest_.remove_prefix(1);
    return true;
  }

  /// 1 to 9 fraction digits, cut to milliseconds.
  bool fraction(int& millis) {
    std::size_t count = 0;
    millis = 0;
    for (; count < rest_.size() && rest_[count] >= '0' && rest_[count] <= '9'; ++count) {
      if (count < 3) millis = millis * 10 + (rest_[count] - '0');
    }
    if (count == 0 || count > 9) return false;
    for (std::size_t i = count; i < 3; ++i) millis *= 10;
    rest_.remove_prefix(count);
    return true;
  }

  bool at_end() const { return rest_.empty(); }
  char peek() const { return rest_.empty() ? '\0' : rest_.front(); }

 private:
  std::string_view rest_;
};

/// "Z", "+hh", "+hhmm", "+hh:mm" or nothing.
bool parse_offset(Cursor& cursor, minutes& offset) {
  offset = minutes{0};
  if (cursor.at_end() || cursor.skip("Zz")) return cursor.at_end();
  const bool negative = cursor.peek() == '-';
  if (!cursor.skip("+-")) return false;
  int h = 0;
  int m = 0;
  if (!cursor.digits(2, h)) return false;
  if (!cursor.at_end()) {
    cursor.skip(":");
    if (!cursor.digits(2, m)) return false;
  }
  if (h > 23 || m > 59 || !cursor.at_end()) return false;
  offset = hours{h} + minutes{m};
  if (negative) offset = -offset;
  return true;
}

std::string format(Timestamp time, const char* pattern) {
  const auto day = floor<days>(time);
  const year_month_day date{day};
  const hh_mm_ss clock{time - day};
  std::array<char, 40> text{};
  const int length =
      std::snprintf(text.data(), text.size(), pattern, static_cast<int>(date.year()),
                    static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                    static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                    static_cast<int>(clock.seconds().count()), static_cast<int>(clock.subseconds().count()));
  return {text.data(), static_cast<std::size_t>(length)};
}

}  // namespace

Timestamp now() {
  return floor<milliseconds>(system_clock::now());
}

std::string format_iso(Timestamp time) {
  return format(time, "%04d-%02u-%02uT%02d:%02d:%02d.%03dZ");
}

std::string format_sql(Timestamp time) {
  return format(time, "%04d-%02u-%02u %02d:%02d:%02d.%03d");
}

std::optional<Timestamp> parse_iso(std::string_view text) {
  Cursor cursor(text);
  int y = 0;
  int mon = 0;
  int d = 0;
  int h = 0;
  int min = 0;
  int s = 0;
  int millis = 0;
  if (!cursor.digits(4, y) || !cursor.skip("-") || !cursor.digits(2, mon) || !cursor.skip("-") ||
      !cursor.digits(2, d) || !cursor.skip("Tt ") || !cursor.digits(2, h) || !cursor.skip(":") ||
      !cursor.digits(2, min)) {
    return std::nullopt;
  }
  if (cursor.skip(":")) {
    if (!cursor.digits(2, s)) return std::nullopt;
    if (cursor.skip(".,") && !cursor.fraction(millis)) return std::nullopt;
  }
  minutes offset{};
  if (!parse_offset(cursor, offset)) return std::nullopt;
  const year_month_day date{year{y}, month{static_cast<unsigned>(mon)}, day{static_cast<unsigned>(d)}};
  if (!date.ok() || h > 23 || min > 59 || s > 59) return std::nullopt;

  const Timestamp time = sys_days{date} + hours{h} + minutes{min} + seconds{s} + milliseconds{millis} - offset;
  const year actual = year_month_day{floor<days>(time)}.year();
  if (actual < year{1000} || actual > year{9999}) return std::nullopt;
  return time;
}

std::string sql_to_iso(std::string_view datetime) {
  std::string iso(datetime.substr(0, 23));  // a prepared DATETIME(3) arrives with six digits (Connector/C++)
  if (iso.size() > 10) iso[10] = 'T';
  if (iso.size() == 19) iso += '.';
  iso.resize(23, '0');
  iso += 'Z';
  return iso;
}

std::optional<milliseconds> parse_duration(std::string_view text) {
  long long count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc{} || count < 0) return std::nullopt;
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  const long long factor = unit.empty() || unit == "ms" ? 1
                           : unit == "s"                ? 1000
                           : unit == "m"                ? 60'000
                           : unit == "h"                ? 3'600'000
                           : unit == "d"                ? 86'400'000
                                                        : 0;
  constexpr long long kTenYears = 3650LL * 86'400'000;
  if (factor == 0 || count > kTenYears / factor) return std::nullopt;
  return milliseconds{count * factor};
}

}  // namespace gamepicker
