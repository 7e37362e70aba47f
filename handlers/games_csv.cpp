// The catalogue as a spreadsheet.

#include <algorithm>
#include <array>
#include <cctype>
#include <functional>
#include <map>

#include "handlers/api.hpp"
#include "handlers/csv.hpp"
#include "handlers/game_fields.hpp"
#include "shared/json_writer.hpp"

namespace gamepicker {
namespace {

/// Reads one cell into a game; throws FieldError.
using ReadCell = void (*)(Game& game, const std::string& name, const std::string& cell);

/// A column: its name in the file, the API's name for it, and how its cells are read.
struct Column {
  const char* title;
  const char* field;
  bool required;
  ReadCell read;
};

std::string text_cell(const std::string& name, const std::string& cell, std::size_t max_characters) {
  if (utf8_length(cell) > max_characters) {
    throw FieldError(name + " must be at most " + std::to_string(max_characters) + " characters");
  }
  return cell;
}

std::optional<std::string> optional_text(const std::string& name, const std::string& cell, std::size_t max_characters) {
  if (cell.empty()) return std::nullopt;
  return text_cell(name, cell, max_characters);
}

std::int64_t integer_cell(const std::string& name, const std::string& cell, std::int64_t max) {
  const auto number = parse_positive(cell, max);
  if (!number) throw FieldError(name + " must be a whole number from 1 to " + std::to_string(max));
  return *number;
}

bool flag_cell(const std::string& name, std::string cell) {
  std::ranges::transform(cell, cell.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (cell == "yes" || cell == "true" || cell == "1") return true;
  if (cell == "no" || cell == "false" || cell == "0" || cell.empty()) return false;
  throw FieldError(name + " must be Yes or No");
}

constexpr std::array kColumns = {
    Column{"Pack Name", "pack_name", true,
           [](Game& game, const std::string& name, const std::string& cell) {
             game.pack_name = text_cell(name, cell, kMaxPackName);
           }},
    Column{"Title", "title", true,
           [](Game& game, const std::string& name, const std::string& cell) {
             game.title = text_cell(name, cell, kMaxTitle);
           }},
    Column{"Min Players", "min_players", true,
           [](Game& game, const std::string& name, const std::string& cell) {
             game.min_players = integer_cell(name, cell, kMaxPlayers);
           }},
    Column{"Max Players", "max_players", true,
           [](Game& game, const std::string& name, const std::string& cell) {
             game.max_players = integer_cell(name, cell, kMaxPlayers);
           }},
    Column{"Length (minutes)", "length_minutes", false,
           [](Game& game, const std::string& name, const std::string& cell) {
             game.length_minutes.reset();
             if (!cell.empty()) game.length_minutes = integer_cell(name, cell, kMaxMinutes);
           }},
    Column{"Audience", "has_audience", false,
           [](Game& game, const std::string& name, const std::string& cell) {
             game.has_audience = flag_cell(name, cell);
           }},
    Column{"Family Friendly", "family_friendly", false,
           [](Game& game, const std::string& name, const std::string& cell) {
             game.family_friendly = flag_cell(name, cell);
           }},
    Column{"Game Type", "game_type", false,
           [](Game& game, const std::string& name, const std::string& cell) {
             game.game_type = optional_text(name, cell, kMaxType);
           }},
    Column{"Secondary Type", "secondary_type", false,
           [](Game& game, const std::string& name, const std::string& cell) {
             game.secondary_type = optional_text(name, cell, kMaxType);
           }},
    Column{"Ticker", "ticker", false,
           [](Game& game, const std::string& name, const std::string& cell) {
             game.ticker = optional_text(name, cell, kMaxTicker);
           }},
};

// ---- export

constexpr char kExport[] =
    "SELECT pack_name, title, min_players, max_players, length_minutes, has_audience, family_friendly, game_type, "
    "secondary_type, ticker FROM games ORDER BY pack_name, title";

Response export_csv(Api& api, const Request&) {
  return api.database.read([](db::Transaction& tx) {
    Response response;
    response.content_type = "text/csv; charset=utf-8";
    response.headers.emplace_back("Content-Disposition", "attachment; filename=\"jackbox-games.csv\"");
    csv::Row titles;
    for (const Column& column : kColumns) titles.emplace_back(column.title);
    csv::append_row(response.body, titles);
    const auto flag = [](db::Rows& row) { return std::string(row.integer() == 1 ? "Yes" : "No"); };
    for (db::Rows row = tx.query(kExport); row.next();) {
      csv::Row cells = {row.text(), row.text(), row.text(), row.text(), row.maybe_text().value_or("")};
      cells.push_back(flag(row));
      cells.push_back(flag(row));
      for (int i = 0; i < 3; ++i) cells.push_back(row.maybe_text().value_or(""));
      for (std::string& cell : cells) cell = csv::disarm(std::move(cell));
      csv::append_row(response.body, cells);
    }
    return response;
  });
}

// ---- import

struct Upload {
  std::string csv;
  bool replace = false;
};

/// "text/csv", in any case and with any parameters (RFC 9110, section 8.3.1).
bool is_csv(std::string_view content_type) {
  constexpr std::string_view kType = "text/csv";
  std::string_view type = content_type.substr(0, content_type.find(';'));
  while (type.ends_with(' ')) type.remove_suffix(1);
  return std::ranges::equal(type, kType, [](unsigned char a, char b) { return std::tolower(a) == b; });
}

Upload read_upload(const Request& request) {
  Upload upload;
  std::optional<std::string> mode;
  if (is_csv(request.content_type)) {
    upload.csv = request.body;
    mode = request.query_value("mode");
    if (!is_valid_utf8(upload.csv)) throw HttpError(400, "Request body must be valid UTF-8");
  } else {
    const JsonObject body = request.json();
    upload.csv = body.text("csvData", SIZE_MAX).value_or("");
    mode = body.text("mode", 20);
  }
  if (upload.csv.empty()) throw HttpError(400, "csvData is required");
  if (mode && *mode != "append" && *mode != "replace") throw HttpError(400, "mode must be append or replace");
  upload.replace = mode == "replace";
  return upload;
}

/// Every row that is wrong, so that a host can mend the file in one go.
class RowErrors {
 public:
  void add(std::size_t row, const std::string& what) {
    json_.begin_object().field("row", row).field("error", what).end_object();
    any_ = true;
  }
  void throw_if_any() const {
    if (any_) throw HttpError(400, "Invalid CSV", "\"rows\":[" + json_.text() + "]");
  }

 private:
  JsonWriter json_;
  bool any_ = false;
};

/// Which column of kColumns each column of the file is; null for one we do not know.
std::vector<const Column*> read_header(const csv::Row& header, RowErrors& errors) {
  const auto equal_ignoring_case = [](std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b,
                              [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
  };
  std::vector<const Column*> columns;
  for (const std::string& name : header) {
    const auto* const column = std::ranges::find_if(kColumns, [&](const Column& one) {
      return equal_ignoring_case(name, one.title) || equal_ignoring_case(name, one.field);
    });
    if (column != kColumns.end() && std::ranges::find(columns, column) != columns.end()) {
      errors.add(1, std::string("repeats the column ") + column->title);
    }
    columns.push_back(column == kColumns.end() ? nullptr : column);
  }
  for (const Column& column : kColumns) {
    if (column.required && std::ranges::find(columns, &column) == columns.end()) {
      errors.add(1, std::string("lacks the column ") + column.title);
    }
  }
  return columns;
}

using GameKey = std::pair<std::string, std::string>;  ///< pack and title

/// A game of the database, by its key.
struct StoredGame {
  std::int64_t id = 0;
  bool imported = false;  ///< the file has it too
  Game game;
};
using Catalogue = std::map<GameKey, StoredGame>;

constexpr char kLockCatalogue[] = "SELECT id, " WRITABLE_COLUMNS "FROM games ORDER BY id FOR UPDATE";

Catalogue lock_catalogue(db::Transaction& tx) {
  Catalogue catalogue;
  for (db::Rows row = tx.query(kLockCatalogue); row.next();) {
    StoredGame stored;
    stored.id = row.integer();
    stored.game = read_writable(row);
    catalogue.emplace(GameKey{stored.game.pack_name, stored.game.title}, std::move(stored));
  }
  return catalogue;
}

struct Import {
  std::vector<Game> added;
  std::vector<std::pair<std::int64_t, Game>> updated;
};

/// Puts the rows over the catalogue's games. Columns the file does not have keep their values.
Import read_rows(const std::vector<csv::Row>& rows, Catalogue& catalogue, bool replace) {
  RowErrors errors;
  const auto header = std::ranges::find_if_not(rows, &csv::Row::empty);
  if (header == rows.end()) errors.add(1, "has no header");
  errors.throw_if_any();
  const std::vector<const Column*> columns = read_header(*header, errors);
  errors.throw_if_any();

  Import import;
  std::map<GameKey, std::size_t> seen;
  std::map<std::string, std::size_t> tickers;
  for (auto i = static_cast<std::size_t>(header - rows.begin()) + 1; i < rows.size(); ++i) {
    if (rows[i].empty()) continue;  // an empty line
    try {
      if (rows[i].size() != columns.size()) {
        throw FieldError("has " + std::to_string(rows[i].size()) + " cells, the header has " +
                         std::to_string(columns.size()));
      }
      Game game;
      const auto fill = [&] {
        for (std::size_t c = 0; c < columns.size(); ++c) {
          const std::string cell = csv::rearm(rows[i][c]);
          if (cell.find('\0') != std::string::npos) throw FieldError("must not contain U+0000");
          if (columns[c] != nullptr) columns[c]->read(game, columns[c]->field, cell);
        }
        check_game(game);
      };
      fill();
      const GameKey key{game.pack_name, game.title};
      if (const auto [first, fresh] = seen.emplace(key, i + 1); !fresh) {
        throw FieldError("repeats the game of row " + std::to_string(first->second));
      }
      const auto stored = catalogue.find(key);
      if (stored != catalogue.end()) {
        stored->second.imported = true;
        game = stored->second.game;
        fill();
      }
      if (game.ticker) {
        const auto [first, fresh] = tickers.emplace(*game.ticker, i + 1);
        if (!fresh) throw FieldError("repeats the ticker of row " + std::to_string(first->second));
      }
      if (stored != catalogue.end()) {
        import.updated.emplace_back(stored->second.id, std::move(game));
      } else {
        import.added.push_back(std::move(game));
      }
    } catch (const FieldError& error) {
      errors.add(i + 1, error.what());
    }
  }
  // The tickers of games that stay as they are belong to them.
  for (const auto& [key, stored] : catalogue) {
    if (stored.imported || !stored.game.ticker || replace) continue;
    const auto taken = tickers.find(*stored.game.ticker);
    if (taken != tickers.end()) errors.add(taken->second, "ticker is already in use");
  }
  errors.throw_if_any();
  return import;
}

/// One array of arrays, for JSON_TABLE: a thousand rows a statement.
template <typename List, typename Write>
void in_batches(const List& list, Write&& write, const std::function<void(const std::string&)>& run) {
  constexpr std::size_t kBatch = 1000;
  for (std::size_t from = 0; from < list.size(); from += kBatch) {
    JsonWriter json;
    json.begin_array();
    for (std::size_t i = from; i < std::min(list.size(), from + kBatch); ++i) {
      json.begin_array();
      write(json, list[i]);
      json.end_array();
    }
    json.end_array();
    run(json.text());
  }
}

void write_cells(JsonWriter& json, const Game& game) {
  json.value(game.pack_name).value(game.title).value(game.min_players).value(game.max_players);
  json.value(game.length_minutes).value(game.has_audience ? 1 : 0).value(game.family_friendly ? 1 : 0);
  json.value(game.game_type).value(game.secondary_type).value(game.ticker);
}

// The first cell is the game's id, or 0 for a new one.
#define IMPORTED_ROWS                                                                               \
  "JSON_TABLE(?, '$[*]' COLUMNS (id INT PATH '$[0]', pack_name VARCHAR(100) PATH '$[1]', "          \
  "title VARCHAR(200) PATH '$[2]', min_players INT PATH '$[3]', max_players INT PATH '$[4]', "      \
  "length_minutes INT PATH '$[5]', has_audience INT PATH '$[6]', family_friendly INT PATH '$[7]', " \
  "game_type VARCHAR(50) PATH '$[8]', secondary_type VARCHAR(50) PATH '$[9]', ticker VARCHAR(16) PATH '$[10]')) r "

constexpr char kAddPacks[] = "INSERT IGNORE INTO packs (name) SELECT DISTINCT r.pack_name FROM " IMPORTED_ROWS;
constexpr char kAddGames[] =
    "INSERT INTO games (pack_name, title, min_players, max_players, length_minutes, has_audience, family_friendly, "
    "game_type, secondary_type, ticker) SELECT r.pack_name, r.title, r.min_players, r.max_players, r.length_minutes, "
    "r.has_audience, r.family_friendly, r.game_type, r.secondary_type, r.ticker FROM " IMPORTED_ROWS;
// Tickers may change places among the rows, and every row is checked against the unique key as it is written.
constexpr char kFreeTickers[] = "UPDATE games g JOIN " IMPORTED_ROWS "ON r.id = g.id SET g.ticker = NULL";
constexpr char kUpdateGames[] =
    "UPDATE games g JOIN " IMPORTED_ROWS
    "ON r.id = g.id SET g.min_players = r.min_players, g.max_players = r.max_players, "
    "g.length_minutes = r.length_minutes, g.has_audience = r.has_audience, g.family_friendly = r.family_friendly, "
    "g.game_type = r.game_type, g.secondary_type = r.secondary_type, g.ticker = r.ticker";

void write_games(db::Transaction& tx, const Import& import) {
  const auto updated = [](JsonWriter& json, const auto& row) {
    json.value(row.first);
    write_cells(json, row.second);
  };
  const auto added = [](JsonWriter& json, const Game& game) {
    json.value(0);
    write_cells(json, game);
  };
  in_batches(import.updated, updated, [&](const std::string& rows) { tx.execute(kFreeTickers, rows); });
  in_batches(import.updated, updated, [&](const std::string& rows) { tx.execute(kUpdateGames, rows); });
  in_batches(import.added, added, [&](const std::string& rows) {
    tx.execute(kAddPacks, rows);
    tx.execute(kAddGames, rows);
  });
}

constexpr char kHasActiveSession[] = "SELECT 1 FROM sessions WHERE active_marker = 1";
constexpr char kRetireGame[] = "UPDATE games SET enabled = 0, ticker = NULL WHERE id = ?";
constexpr char kDeleteGame[] = "DELETE FROM games WHERE id = ?";
constexpr char kDeleteEmptyPacks[] =
    "DELETE FROM packs WHERE NOT EXISTS (SELECT 1 FROM games g WHERE g.pack_name = packs.name)";

/// Games the file does not have go away, but those that have been played stay, disabled: history stays whole.
void remove_others(db::Transaction& tx, const Catalogue& catalogue) {
  for (const auto& [key, stored] : catalogue) {
    if (stored.imported) continue;
    tx.execute(is_played(tx, stored.id) ? kRetireGame : kDeleteGame, stored.id);
  }
}

Response import_csv(Api& api, const Request& request) {
  const Upload upload = read_upload(request);
  std::vector<csv::Row> rows;
  try {
    rows = csv::parse(upload.csv);
  } catch (const csv::SyntaxError& error) {
    RowErrors errors;
    errors.add(error.row, error.what());
    errors.throw_if_any();
  }
  return api.database.transaction([&](db::Transaction& tx) {
    if (upload.replace && tx.query(kHasActiveSession).next()) {
      throw HttpError(409, "Cannot replace games while a session is active");
    }
    Catalogue catalogue = lock_catalogue(tx);
    const Import import = read_rows(rows, catalogue, upload.replace);
    if (upload.replace) remove_others(tx, catalogue);
    write_games(tx, import);
    if (upload.replace) tx.execute(kDeleteEmptyPacks);
    const std::size_t count = import.added.size() + import.updated.size();
    JsonWriter json;
    json.begin_object().field("message", "Successfully imported " + std::to_string(count) + " games");
    json.field("count", count).field("mode", upload.replace ? "replace" : "append");
    json.field("updated", import.updated.size()).end_object();
    return json_response(200, json.take());
  });
}

constexpr Route kRoutes[] = {
    {"GET", "/api/games/export/csv", Access::admin, export_csv},
    {"POST", "/api/games/import/csv", Access::admin, import_csv, kLargeBody},
};

}  // namespace

std::span<const Route> games_csv_routes() {
  return kRoutes;
}

}  // namespace gamepicker
