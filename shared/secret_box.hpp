#pragma once

#include <string>
#include <string_view>

namespace gamepicker {

/// Encrypts what must not lie open in the database (AES-256-GCM, a fresh random nonce each time).
class SecretBox {
 public:
  /// `key_hex`: 64 hex digits. Throws std::invalid_argument (without the value) for anything else.
  explicit SecretBox(std::string_view key_hex);

  /// "v1:" and base64 of nonce, ciphertext and tag.
  std::string seal(std::string_view plain) const;

  /// Throws std::runtime_error when the text was not sealed with this key or was altered.
  std::string open(std::string_view sealed) const;

 private:
  std::string key_;
};

}  // namespace gamepicker
