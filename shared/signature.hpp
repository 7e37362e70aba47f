#pragma once

#include <string>
#include <string_view>

namespace gamepicker {

/// HMAC-SHA256 as 32 raw bytes (RFC 2104).
std::string hmac_sha256(std::string_view key, std::string_view data);

std::string to_hex(std::string_view bytes);     ///< lower case
std::string to_base64(std::string_view bytes);  ///< RFC 4648 section 4, padded, one line
/// Throws std::invalid_argument for anything that is not base64.
std::string from_base64(std::string_view text);

/// Compares in time that depends on the lengths only.
bool constant_time_equal(std::string_view a, std::string_view b);

/// The X-Webhook-Signature header: "sha256=" and the hex HMAC of the exact body. A secret "whsec_<base64>" is decoded
/// first, any other is used as its bytes.
std::string webhook_signature(std::string_view secret, std::string_view body);

/// One entry of the Standard Webhooks `webhook-signature` header: "v1," and the base64 HMAC of "id.timestamp.body",
/// `timestamp` in epoch seconds.
std::string standard_webhook_signature(std::string_view secret, std::string_view id, std::string_view timestamp,
                                       std::string_view body);

}  // namespace gamepicker
