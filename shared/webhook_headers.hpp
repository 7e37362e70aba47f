#pragma once

#include <string_view>

namespace gamepicker {

/// Whether a webhook's own headers must leave `name` alone, in any case of letters: the contract's headers, and what
/// frames the request.
bool is_reserved_webhook_header(std::string_view name);

/// A token (RFC 9110, section 5.6.2).
bool is_header_name(std::string_view name);

/// One line of visible characters, spaces and tabs, with neither of the latter at an end (RFC 9110, section 5.5).
bool is_header_value(std::string_view value);

}  // namespace gamepicker
