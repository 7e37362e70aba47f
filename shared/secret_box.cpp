#include "shared/secret_box.hpp"

#include <memory>
#include <stdexcept>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "shared/signature.hpp"

namespace gamepicker {
namespace {

constexpr std::string_view kVersion = "v1:";
// NIST SP 800-38D: 96-bit nonce, 128-bit tag.
constexpr std::size_t kNonceBytes = 12;
constexpr std::size_t kTagBytes = 16;

using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

unsigned char* bytes_of(std::string& text, std::size_t from = 0) {
  return reinterpret_cast<unsigned char*>(text.data()) + from;
}
const unsigned char* bytes_of(const std::string& text, std::size_t from = 0) {
  return reinterpret_cast<const unsigned char*>(text.data()) + from;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  throw std::invalid_argument("the encryption key must be 64 hexadecimal digits");
}

}  // namespace

SecretBox::SecretBox(std::string_view key_hex) {
  if (key_hex.size() != 64) throw std::invalid_argument("the encryption key must be 64 hexadecimal digits");
  for (std::size_t i = 0; i < key_hex.size(); i += 2) {
    key_ += static_cast<char>(hex_digit(key_hex[i]) * 16 + hex_digit(key_hex[i + 1]));
  }
}

std::string SecretBox::seal(std::string_view plain) const {
  std::string nonce(kNonceBytes, '\0');
  std::string cipher(plain);
  std::string tag(kTagBytes, '\0');
  const CipherContext context(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
  int length = 0;
  const bool sealed =
      context && RAND_bytes(bytes_of(nonce), static_cast<int>(nonce.size())) == 1 &&
      EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, bytes_of(key_), bytes_of(nonce)) == 1 &&
      EVP_EncryptUpdate(context.get(), bytes_of(cipher), &length, bytes_of(cipher), static_cast<int>(plain.size())) ==
          1 &&
      EVP_EncryptFinal_ex(context.get(), bytes_of(cipher, static_cast<std::size_t>(length)), &length) == 1 &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes, tag.data()) == 1;
  if (!sealed) throw std::runtime_error("encryption failed");
  return std::string(kVersion) + to_base64(nonce + cipher + tag);
}

std::string SecretBox::open(std::string_view sealed) const {
  const auto fail = [] { return std::runtime_error("a stored secret cannot be decrypted with this SECRET_KEY"); };
  if (!sealed.starts_with(kVersion)) throw fail();
  std::string bytes = from_base64(sealed.substr(kVersion.size()));
  if (bytes.size() < kNonceBytes + kTagBytes) throw fail();
  std::string tag = bytes.substr(bytes.size() - kTagBytes);
  std::string plain(bytes.size() - kNonceBytes - kTagBytes, '\0');
  const CipherContext context(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
  int length = 0;
  const bool opened =
      context && EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, bytes_of(key_), bytes_of(bytes)) == 1 &&
      EVP_DecryptUpdate(context.get(), bytes_of(plain), &length, bytes_of(bytes, kNonceBytes),
                        static_cast<int>(plain.size())) == 1 &&
      EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_SET_TAG, kTagBytes, tag.data()) == 1 &&
      EVP_DecryptFinal_ex(context.get(), bytes_of(plain, static_cast<std::size_t>(length)), &length) == 1;
  if (!opened) throw fail();
  return plain;
}

}  // namespace gamepicker
