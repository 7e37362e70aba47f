#include "handlers/idempotency.hpp"

#include <algorithm>
#include <array>

#include "shared/signature.hpp"

namespace gamepicker {
namespace {

/// Whose key it is: two callers may choose the same.
std::string subject_of(const Claims& claims) {
  constexpr std::array kRoles = {"viewer:", "bot:", "admin:"};
  return kRoles[static_cast<std::size_t>(claims.role)] + claims.subject;
}

/// What makes a request the same: path, query and body. The parts are told apart by their lengths.
std::string fingerprint_of(const Request& request, const std::string& key) {
  const std::string target = request.path + "?" + request.query;
  return to_hex(hmac_sha256(key, std::to_string(target.size()) + ":" + target + request.body));
}

// An older row is taken over below. NOWAIT: a row that is locked belongs to a request that is still running.
constexpr char kFind[] =
    "SELECT fingerprint, status, sealed_body, created_at < UTC_TIMESTAMP(3) - INTERVAL 24 HOUR FROM idempotency_keys "
    "WHERE subject = ? AND idempotency_key = ? FOR UPDATE NOWAIT";
constexpr char kRemember[] =
    "INSERT INTO idempotency_keys (subject, idempotency_key, fingerprint, status, sealed_body) VALUES (?, ?, ?, ?, ?)";
constexpr char kForget[] = "DELETE FROM idempotency_keys WHERE subject = ? AND idempotency_key = ?";
constexpr char kAnswer[] =
    "UPDATE idempotency_keys SET status = ?, sealed_body = ? WHERE subject = ? AND idempotency_key = ?";

class Once {
 public:
  Once(Api& api, const Request& request)
      : api_(api),
        subject_(subject_of(*request.claims)),
        key_(*request.idempotency_key),
        fingerprint_(fingerprint_of(request, api.config.jwt_secret)) {}

  /// The first answer to this request, if there was one.
  std::optional<Response> find(db::Transaction& tx) const {
    try {
      db::Rows row = tx.query(kFind, subject_, key_);
      if (!row.next()) return std::nullopt;
      const std::string fingerprint = row.text();
      const auto status = static_cast<int>(row.integer());
      const std::string sealed = row.text();
      if (row.integer() == 1) {
        tx.execute(kForget, subject_, key_);
        return std::nullopt;
      }
      if (fingerprint != fingerprint_) throw HttpError(409, "Idempotency-Key reused with a different request");
      Response response = json_response(status, api_.secrets.open(sealed));
      response.headers.emplace_back("Idempotent-Replayed", "true");
      return response;
    } catch (const db::Conflict& error) {
      constexpr int kDeadlock = 1213;
      if (error.code == kDeadlock) throw;
      throw HttpError(409, "A request with this Idempotency-Key is in progress");
    }
  }

  /// Takes the key, before the change: whoever comes second finds the row locked, or waits here and looks again.
  void take(db::Transaction& tx) const {
    try {
      tx.execute(kRemember, subject_, key_, fingerprint_, 0, "");
    } catch (const db::DuplicateKey& error) {
      throw db::Conflict(error.code, error.what());
    }
  }

  void answer(db::Transaction& tx, const Response& response) const {
    tx.execute(kAnswer, response.status, api_.secrets.seal(response.body), subject_, key_);
  }

 private:
  Api& api_;
  std::string subject_;
  std::string key_;
  std::string fingerprint_;
};

/// Remembers an answer that changed nothing.
Response remember_refusal(Api& api, const Once& once, const Response& refusal) {
  return api.database.transaction([&](db::Transaction& tx) {
    if (auto first = once.find(tx)) return *first;
    once.take(tx);
    once.answer(tx, refusal);
    return refusal;
  });
}

}  // namespace

Response run_once(Api& api, const Request& request, const std::function<Response()>& handle) {
  const std::string& key = *request.idempotency_key;
  const bool visible = std::ranges::all_of(key, [](char c) { return c > ' ' && c < '\x7f'; });  // RFC 9110, VCHAR
  if (key.empty() || key.size() > 64 || !visible) {
    throw HttpError(400, "Idempotency-Key must be 1 to 64 visible ASCII characters");
  }
  const Once once(api, request);
  std::optional<Response> refusal;
  try {
    return api.database.transaction([&](db::Transaction& tx) {
      refusal.reset();
      if (auto first = once.find(tx)) return *first;
      once.take(tx);
      try {
        Response response = handle();
        once.answer(tx, response);
        return response;
      } catch (const HttpError& error) {
        refusal = error_response(error.status, error.what(), error.extra);
        throw;
      }
    });
  } catch (const HttpError&) {
    if (!refusal) throw;
  }
  return remember_refusal(api, once, *refusal);
}

}  // namespace gamepicker
