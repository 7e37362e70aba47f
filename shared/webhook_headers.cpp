#include "shared/webhook_headers.hpp"

#include <algorithm>

namespace gamepicker {
namespace {

constexpr std::string_view kReserved[] = {
    "connection",         "content-length",    "content-type",    "host",
    "transfer-encoding",  "user-agent",        "webhook-id",      "webhook-signature",
    "webhook-timestamp",  "x-webhook-attempt", "x-webhook-event", "x-webhook-delivery",
    "x-webhook-signature"};

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool same_letters(std::string_view name, std::string_view lower) {
  return std::ranges::equal(name, lower, [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; });
}

bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

}  // namespace

bool is_reserved_webhook_header(std::string_view name) {
  return std::ranges::any_of(kReserved, [&](std::string_view reserved) { return same_letters(name, reserved); });
}

bool is_header_name(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return is_letter_or_digit(c) || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

bool is_header_value(std::string_view value) {
  if (!value.empty() && (is_blank(value.front()) || is_blank(value.back()))) return false;
  return std::ranges::none_of(value, [](unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; });
}

}  // namespace gamepicker
