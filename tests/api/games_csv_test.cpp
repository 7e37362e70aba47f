#include "handlers/csv.hpp"
#include "shared/json_writer.hpp"
#include "tests/api/fixture.hpp"

using namespace gamepicker;
using namespace gamepicker::test;

namespace {

constexpr char kTitles[] =
    "Pack Name,Title,Min Players,Max Players,Length (minutes),Audience,Family Friendly,Game Type,Secondary Type,Ticker";

struct CsvFixture : ApiFixture {
  Response import(const std::string& csv, const std::string& mode = "append") {
    JsonWriter body;
    body.begin_object().field("csvData", csv).field("mode", mode).end_object();
    return admin("POST", "/api/games/import/csv", body.text());
  }
  /// What is wrong with the file, or "" when nothing is.
  std::string import_error(const std::string& csv) {
    const Response response = import(csv);
    return response.status == 200 ? "" : response.body;
  }
  static std::string rows_error(const std::string& rows) { return R"({"error":"Invalid CSV","rows":[)" + rows + "]}"; }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(games_csv, CsvFixture)

BOOST_AUTO_TEST_CASE(the_export_is_rfc_4180_with_the_documented_header) {
  database.execute(
      "UPDATE games SET title = 'a \"b\", c\\nd', ticker = 'QPL1', has_audience = 1 WHERE id = 1; "
      "DELETE FROM games WHERE id > 2");
  const Response response = admin("GET", "/api/games/export/csv");
  BOOST_TEST(response.status == 200);
  BOOST_TEST(response.content_type == "text/csv; charset=utf-8");
  BOOST_TEST(header(response, "Content-Disposition") == "attachment; filename=\"jackbox-games.csv\"");
  BOOST_TEST(response.body == std::string(kTitles) +
                                  "\r\nPack 1,Drawful,3,8,20,No,Yes,Drawing,,\r\n"
                                  "Pack 1,\"a \"\"b\"\", c\nd\",3,8,15,Yes,No,Writing,,QPL1\r\n");
}

BOOST_AUTO_TEST_CASE(what_was_exported_comes_back_unchanged) {
  database.execute(
      "UPDATE games SET title = CONCAT(' =1+1 \"\\'', CHAR(13), CHAR(10), '\xF0\x9F\x8E\xB2'), game_type = '-x', "
      "secondary_type = '\\'=y' WHERE id = 1");
  const std::string columns =
      "SELECT GROUP_CONCAT(CONCAT_WS('|', id, pack_name, title, min_players, max_players, length_minutes, has_audience, "
      "family_friendly, game_type, secondary_type, ticker, enabled) ORDER BY id SEPARATOR '#') FROM games";
  const std::string before = one(columns);
  const Response exported = admin("GET", "/api/games/export/csv");
  BOOST_TEST(exported.body.find(",'-x,''=y,") != std::string::npos);
  BOOST_TEST(import(exported.body).body ==
             R"({"message":"Successfully imported 4 games","count":4,"mode":"append","updated":4})");
  BOOST_TEST(one(columns) == before);
}

BOOST_AUTO_TEST_CASE(cells_that_spreadsheets_would_run_are_disarmed) {
  for (const char* cell : {"=1+1", "+1", "-1", "@SUM(A1)", "'=1", "''+x"}) {
    BOOST_TEST(csv::disarm(cell) == std::string("'") + cell);
    BOOST_TEST(csv::rearm(csv::disarm(cell)) == cell);
  }
  for (const char* cell : {"", "'", "a=1", "'quoted'", " =1"}) {
    BOOST_TEST(csv::disarm(cell) == cell);
    BOOST_TEST(csv::rearm(cell) == cell);
  }
}

BOOST_AUTO_TEST_CASE(headers_in_any_order_case_and_either_spelling) {
  BOOST_TEST(import("\xEF\xBB\xBFTITLE,max_players,Min Players,pack name,Colour,has_audience\r\n"
                    "New one,8,3,Pack 9,red,YES\r\n\r\nQuiplash,9,2,Pack 1,,0\r\n")
                 .body == R"({"message":"Successfully imported 2 games","count":2,"mode":"append","updated":1})");
  const Response added = call("GET", "/api/games?pack=Pack%209");
  BOOST_TEST(at(added, "[0].title") == "New one");
  BOOST_TEST(at(added, "[0].has_audience") == "1");
  BOOST_TEST(at(added, "[0].length_minutes") == "null");
  // Columns the file does not have keep their values.
  const Response updated = call("GET", "/api/games/1");
  BOOST_TEST(at(updated, "max_players") == "9");
  BOOST_TEST(at(updated, "length_minutes") == "15");
  BOOST_TEST(at(updated, "game_type") == "Writing");
}

BOOST_AUTO_TEST_CASE(a_text_csv_body_takes_its_mode_from_the_query) {
  Request request;
  request.method = "POST";
  request.path = "/api/games/import/csv";
  request.query = "mode=append";
  request.content_type = "text/csv; charset=utf-8";
  request.authorization = "Bearer " + admin_token;
  request.body = "pack_name,title,min_players,max_players\nP,T,1,2\n";
  BOOST_TEST(at(send(dispatcher, request), "count") == "1");
  request.body += "\xff,x,1,2\n";
  BOOST_TEST(at(send(dispatcher, request), "error") == "Request body must be valid UTF-8");
  request.query = "mode=add";
  request.body = "x";
  BOOST_TEST(at(send(dispatcher, request), "error") == "mode must be append or replace");
}

BOOST_AUTO_TEST_CASE(every_bad_row_is_listed_and_none_is_imported) {
  const std::string head = "pack_name,title,min_players,max_players,length_minutes,has_audience,ticker\n";
  BOOST_TEST(import_error(head +
                          "P,good,1,8,,,T1\nP,,1,8,,,\nP,b,0,8,,,\nP,c,5,3,,,\nP,d,1,8,x,,\nP,e,1,8,,maybe,\n"
                          "P,good,1,8,,,\nP,f,1\nP,g,1,8,,,T1\nP,h,1,8,,," +
                          std::string(17, 't') + "\n") ==
             rows_error(R"({"row":3,"error":"title must not be empty"},)"
                        R"({"row":4,"error":"min_players must be a whole number from 1 to 100000"},)"
                        R"({"row":5,"error":"max_players must be at least min_players"},)"
                        R"({"row":6,"error":"length_minutes must be a whole number from 1 to 1440"},)"
                        R"({"row":7,"error":"has_audience must be Yes or No"},)"
                        R"({"row":8,"error":"repeats the game of row 2"},)"
                        R"({"row":9,"error":"has 3 cells, the header has 7"},)"
                        R"({"row":10,"error":"repeats the ticker of row 2"},)"
                        R"({"row":11,"error":"ticker must be at most 16 characters"})"));
  BOOST_TEST(one("SELECT COUNT(*) FROM games") == "4");
  BOOST_TEST(one("SELECT COUNT(*) FROM packs") == "2");
}

BOOST_AUTO_TEST_CASE(bad_files_are_refused) {
  BOOST_TEST(import_error("title,Min Players\nx,1\n") ==
             rows_error(R"({"row":1,"error":"lacks the column Pack Name"},{"row":1,"error":"lacks the column Max )"
                        R"(Players"})"));
  BOOST_TEST(import_error("pack_name,Pack Name,title,min_players,max_players\n") ==
             rows_error(R"({"row":1,"error":"repeats the column Pack Name"})"));
  BOOST_TEST(import_error("pack_name,title,min_players,max_players\nP,\"open,1,2\n") ==
             rows_error(R"({"row":2,"error":"unexpected quote"})"));
  BOOST_TEST(import_error("\n\n") == rows_error(R"({"row":1,"error":"has no header"})"));
  database.execute("UPDATE games SET ticker = 'TAKEN' WHERE id = 2");
  BOOST_TEST(import_error("pack_name,title,min_players,max_players,ticker\nP,x,1,2,TAKEN\n") ==
             rows_error(R"({"row":2,"error":"ticker is already in use"})"));
  check_errors(*this, {
                          {"POST", "/api/games/import/csv", "", 400, "csvData is required"},
                          {"POST", "/api/games/import/csv", R"({"csvData":7})", 400, "csvData must be a string"},
                          {"POST", "/api/games/import/csv", R"({"csvData":"x","mode":"merge"})", 400,
                           "mode must be append or replace"},
                      });
}

BOOST_AUTO_TEST_CASE(tickers_may_change_places) {
  database.execute("UPDATE games SET ticker = CONCAT('T', id)");
  BOOST_TEST(import("pack_name,title,min_players,max_players,ticker\nPack 1,Quiplash,3,8,T2\nPack 1,Drawful,3,8,T1\n")
                 .status == 200);
  BOOST_TEST(one("SELECT GROUP_CONCAT(ticker ORDER BY id) FROM games") == "T2,T1,T3,T4");
}

BOOST_AUTO_TEST_CASE(replace_keeps_what_has_been_played_and_waits_for_the_session_to_end) {
  play(open_session(), 1);
  const std::string csv = "pack_name,title,min_players,max_players\nPack 1,Drawful,3,9\nNew,Fresh,1,8\n";
  BOOST_TEST(import(csv, "replace").body == R"({"error":"Cannot replace games while a session is active"})");
  admin("POST", "/api/sessions/1/close");
  BOOST_TEST(import(csv, "replace").body ==
             R"({"message":"Successfully imported 2 games","count":2,"mode":"replace","updated":1})");
  BOOST_TEST(one("SELECT GROUP_CONCAT(CONCAT(title, enabled) ORDER BY title) FROM games") ==
             "Drawful1,Fresh1,Quiplash0");
  BOOST_TEST(one("SELECT GROUP_CONCAT(name ORDER BY name) FROM packs") == "New,Pack 1");
  BOOST_TEST(at(call("GET", "/api/sessions/1/games"), "[0].title") == "Quiplash");
}

BOOST_AUTO_TEST_CASE(ten_thousand_rows_in_one_import) {
  std::string csv = "pack_name,title,min_players,max_players,ticker\n";
  for (int i = 0; i < 10'000; ++i) {
    csv += "Pack " + std::to_string(i % 50) + ",\"Game, " + std::to_string(i) + "\",1,8,T" + std::to_string(i) + "\n";
  }
  BOOST_TEST(at(import(csv), "count") == "10000");
  BOOST_TEST(at(import(csv), "updated") == "10000");
  BOOST_TEST(one("SELECT COUNT(*) FROM games") == "10004");
  BOOST_TEST(admin("GET", "/api/games/export/csv").body.size() > 300'000U);
}

BOOST_AUTO_TEST_CASE(cells_that_differ_by_a_space_are_different) {
  const Response response = import(
      "pack_name,title,min_players,max_players,ticker\nZed,Gam,1,2,ZZ\nZed,\"Gam \",1,2,\"ZZ \"\nPack 1,\"Quiplash \",1,2,\n");
  BOOST_TEST(response.status == 200);
  BOOST_TEST(one("SELECT COUNT(*) FROM games") == "7");
}

BOOST_AUTO_TEST_CASE(the_media_type_is_read_whatever_its_case) {
  for (const auto& [type, status] :
       {std::pair("Text/CSV", 200), std::pair("text/csv ; charset=utf-8", 200), std::pair("text/csvx", 400)}) {
    Request request;
    request.method = "POST";
    request.path = "/api/games/import/csv";
    request.query = "mode=append";
    request.authorization = "Bearer " + admin_token;
    request.content_type = type;
    request.body = "pack_name,title,min_players,max_players\nZed,Gam,1,2\n";
    BOOST_TEST(send(dispatcher, request).status == status, type);
  }
}

BOOST_AUTO_TEST_CASE(rows_are_numbered_as_a_spreadsheet_does) {
  for (const char* end : {"\n", "\r\n"}) {
    const std::string line = end;
    const Response response = import("pack_name,title,min_players,max_players" + line + "A,b,1,2" + line + line +
                                     "A,\"two" + line + "lines\",1,2" + line + "A,c,1,x" + line + line);
    BOOST_TEST(response.status == 400);
    BOOST_TEST(at(response, "rows[0].row") == "5");
    BOOST_TEST(response.body.find("\"row\":4") == std::string::npos);
  }
}

BOOST_AUTO_TEST_SUITE_END()
