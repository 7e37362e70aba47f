#pragma once

namespace gamepicker {

/// The newest migration in sql/. Both programs refuse to work on a database at another version.
inline constexpr int kSchemaVersion = 6;

/// The version a database is at. A migration that broke off half-way is recorded as not finished.
inline constexpr char kReadSchemaVersion[] =
    "SELECT COALESCE(MAX(version), 0) FROM schema_migrations WHERE finished_at IS NOT NULL";

}  // namespace gamepicker
