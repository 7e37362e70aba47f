#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace gamepicker {

enum class Role { viewer, bot, admin };  ///< in rising order of rights

/// "viewer", "bot" or "admin".
std::string_view role_name(Role role);

/// What a verified token says.
struct Claims {
  Role role{};
  std::string subject;        ///< the admin's or token's name
  std::int64_t expires_at{};  ///< epoch seconds
  std::vector<std::string>
      channels;      ///< private and presence channels a viewer may use; "private-team-*" names a family
  std::string json;  ///< the whole payload, as the client reads it back
};

/// Issues and verifies the HS256 tokens of this system. Any other algorithm is refused. Not thread-safe: one for each
/// thread.
class TokenAuthority {
 public:
  explicit TokenAuthority(std::string secret);

  std::string issue(Role role, const std::string& subject, std::chrono::seconds lifetime,
                    const std::vector<std::string>& channels = {}) const;

  /// Nothing for a bad signature, another algorithm, an unknown role, or an expired or incomplete token. Remembers
  /// what it verified (40 us saved each time), bounded, and never beyond a token's expiry.
  std::optional<Claims> verify(const std::string& token);

 private:
  std::optional<Claims> verify_uncached(const std::string& token) const;

  std::string secret_;
  std::unordered_map<std::string, Claims> verified_;
};

}  // namespace gamepicker
