#include "shared/tokens.hpp"

#include <array>
#include <sstream>

#include <Poco/Crypto/Crypto.h>
#include <Poco/JSON/Array.h>
#include <Poco/JWT/JWTException.h>
#include <Poco/JWT/Signer.h>
#include <Poco/JWT/Token.h>

#include "shared/clock.hpp"
#include "shared/signature.hpp"

namespace gamepicker {
namespace {

constexpr std::array<std::string_view, 3> kRoleNames = {"viewer", "bot", "admin"};
constexpr std::size_t kRemembered = 4096;
constexpr std::size_t kMaxTokenBytes = 4096;

std::int64_t epoch_seconds() {
  return std::chrono::floor<std::chrono::seconds>(now()).time_since_epoch().count();
}

/// Checks the MAC in constant time before the library, whose own comparison is an ordinary one, sees the token.
bool has_valid_mac(const std::string& token, std::string_view secret) {
  const auto dot = token.rfind('.');
  if (dot == std::string::npos) return false;
  std::string expected = to_base64(hmac_sha256(secret, std::string_view(token).substr(0, dot)));
  for (char& c : expected) c = c == '+' ? '-' : c == '/' ? '_' : c;  // RFC 7515, section 2: base64url, no padding
  expected.resize(expected.find_last_not_of('=') + 1);
  return constant_time_equal(expected, std::string_view(token).substr(dot + 1));
}

}  // namespace

std::string_view role_name(Role role) {
  return kRoleNames[static_cast<std::size_t>(role)];
}

TokenAuthority::TokenAuthority(std::string secret) : secret_(std::move(secret)) {
  // Else the library sets up OpenSSL for each token, with a seed read from /dev/urandom: a third of what a check costs.
  Poco::Crypto::initializeCrypto();
}

std::string TokenAuthority::issue(Role role, const std::string& subject, std::chrono::seconds lifetime,
                                  const std::vector<std::string>& channels) const {
  Poco::JWT::Token token;
  token.setType("JWT");
  token.setSubject(subject);
  token.payload().set("role", std::string(role_name(role)));
  token.payload().set("timestamp", static_cast<Poco::Int64>(now().time_since_epoch().count()));
  token.payload().set("iat", static_cast<Poco::Int64>(epoch_seconds()));
  token.payload().set("exp", static_cast<Poco::Int64>(epoch_seconds() + lifetime.count()));
  if (!channels.empty()) token.payload().set("channels", Poco::Dynamic::Array(channels.begin(), channels.end()));
  return Poco::JWT::Signer(secret_).sign(token, Poco::JWT::Signer::ALGO_HS256);
}

std::optional<Claims> TokenAuthority::verify(const std::string& token) {
  if (token.empty() || token.size() > kMaxTokenBytes) return std::nullopt;
  const auto known = verified_.find(token);
  if (known != verified_.end()) {
    if (known->second.expires_at > epoch_seconds()) return known->second;
    verified_.erase(known);
    return std::nullopt;
  }
  auto claims = verify_uncached(token);
  if (claims) {
    if (verified_.size() >= kRemembered) verified_.clear();
    verified_.emplace(token, *claims);
  }
  return claims;
}

std::optional<Claims> TokenAuthority::verify_uncached(const std::string& text) const {
  if (!has_valid_mac(text, secret_)) return std::nullopt;
  try {
    Poco::JWT::Signer signer(secret_);
    signer.setAlgorithms({Poco::JWT::Signer::ALGO_HS256});
    const Poco::JWT::Token token = signer.verify(text);
    const auto& payload = token.payload();
    Claims claims;
    if (!payload.has("exp") || !payload.get("exp").isInteger()) return std::nullopt;
    claims.expires_at = payload.getValue<Poco::Int64>("exp");
    if (claims.expires_at <= epoch_seconds()) return std::nullopt;
    // RFC 7519, section 4.1.5. None of ours has one; another issuer's may.
    if (payload.has("nbf") && payload.getValue<Poco::Int64>("nbf") > epoch_seconds()) return std::nullopt;
    const auto role = payload.optValue<std::string>("role", "");
    std::size_t index = 0;
    while (index < kRoleNames.size() && role != kRoleNames[index]) ++index;
    if (index == kRoleNames.size()) return std::nullopt;
    claims.role = static_cast<Role>(index);
    claims.subject = payload.optValue<std::string>("sub", "");
    if (const auto list = payload.getArray("channels")) {
      for (const auto& channel : *list) {
        if (channel.isString()) claims.channels.push_back(channel.extract<std::string>());
      }
    }
    std::ostringstream json;
    payload.stringify(json);
    claims.json = json.str();
    return claims;
  } catch (const Poco::Exception&) {
    return std::nullopt;
  }
}

}  // namespace gamepicker
