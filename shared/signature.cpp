#include "shared/signature.hpp"

#include <stdexcept>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace gamepicker {
namespace {

constexpr std::string_view kStandardPrefix = "whsec_";

/// The key bytes of a webhook's secret (Standard Webhooks: "whsec_" and base64).
std::string secret_bytes(std::string_view secret) {
  if (secret.starts_with(kStandardPrefix)) {
    try {
      return from_base64(secret.substr(kStandardPrefix.size()));
    } catch (const std::invalid_argument&) {
      // Not base64 after all: then it is an ordinary secret that happens to start so.
    }
  }
  return std::string(secret);
}

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

}  // namespace

std::string hmac_sha256(std::string_view key, std::string_view data) {
  std::string mac(32, '\0');
  unsigned int length = 0;
  if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), bytes_of(data), data.size(),
           reinterpret_cast<unsigned char*>(mac.data()), &length) == nullptr) {
    throw std::runtime_error("HMAC-SHA256 failed");
  }
  return mac;
}

std::string to_hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

std::string to_base64(std::string_view bytes) {
  std::string text((bytes.size() + 2) / 3 * 4, '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes_of(bytes), static_cast<int>(bytes.size()));
  return text;
}

std::string from_base64(std::string_view text) {
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  std::string bytes(text.size() / 4 * 3, '\0');
  const int length = text.size() % 4 != 0 ? -1
                                          : EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                                            bytes_of(text), static_cast<int>(text.size()));
  // EVP_DecodeBlock skips spaces and dashes around the text, and takes = for a zero wherever it stands.
  if (length < 0 || static_cast<std::size_t>(length) != bytes.size() || text.find('=') < text.size() - padding) {
    throw std::invalid_argument("not base64");
  }
  bytes.resize(bytes.size() - padding);
  return bytes;
}

bool constant_time_equal(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string webhook_signature(std::string_view secret, std::string_view body) {
  return "sha256=" + to_hex(hmac_sha256(secret_bytes(secret), body));
}

std::string standard_webhook_signature(std::string_view secret, std::string_view id, std::string_view timestamp,
                                       std::string_view body) {
  std::string content;
  content.reserve(id.size() + timestamp.size() + body.size() + 2);
  content.append(id).append(".").append(timestamp).append(".").append(body);
  return "v1," + to_base64(hmac_sha256(secret_bytes(secret), content));
}

}  // namespace gamepicker
