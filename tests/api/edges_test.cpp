// Rules of the REST contract at their edges: what is just allowed, and what only one name or order tells apart.
#include <fstream>

#include <Poco/JWT/Signer.h>
#include <Poco/JWT/Token.h>
#include <Poco/TemporaryFile.h>
#include <Poco/Timestamp.h>

#include "shared/config.hpp"
#include "shared/signature.hpp"
#include "tests/api/fixture.hpp"

using namespace gamepicker;
using namespace gamepicker::test;

namespace {

struct EdgesFixture : ApiFixture {
  /// A token signed with the right key, but in its own way.
  std::string token(const std::string& algorithm, const std::string& role) const {
    Poco::JWT::Token token;
    token.setSubject("somebody");
    token.payload().set("role", role);
    token.payload().set("exp", Poco::Timestamp().epochTime() + 3600);
    Poco::JWT::Signer signer(api.config.jwt_secret);
    signer.setAlgorithms({algorithm});
    return signer.sign(token, algorithm);
  }
  /// One whose header names no algorithm, with the signature that HS256 would have.
  std::string unnamed_algorithm(const std::string& token) const {
    const std::string text = "eyJhbGciOiJub25lIn0" + token.substr(token.find('.'), token.rfind('.') - token.find('.'));
    std::string mac = to_base64(hmac_sha256(api.config.jwt_secret, text));
    for (char& c : mac) c = c == '+' ? '-' : c == '/' ? '_' : c;
    return text + '.' + mac.substr(0, mac.find('='));
  }
  std::size_t listed(const std::string& filter) {
    const Response response = call("GET", "/api/games?" + filter);
    BOOST_TEST(response.status == 200);
    std::size_t count = 0;
    while (at(response, "[" + std::to_string(count) + "].id") != "(missing)") ++count;
    return count;
  }
  std::string counted(const std::string& where) { return one("SELECT COUNT(*) FROM games WHERE " + where); }
};

}  // namespace

BOOST_FIXTURE_TEST_SUITE(edges, EdgesFixture)

BOOST_AUTO_TEST_CASE(answers_are_json_in_utf8) {
  for (const char* path : {"/api/games", "/api/games/1", "/api/nothing", "/health"}) {
    BOOST_TEST(call("GET", path).content_type == "application/json; charset=utf-8");
  }
}

BOOST_AUTO_TEST_CASE(head_is_answered_like_get) {
  const Response get = call("GET", "/api/games/1");
  const Response head = call("HEAD", "/api/games/1");
  BOOST_TEST(head.status == 200);
  BOOST_TEST(head.content_type == get.content_type);
  BOOST_TEST(header(head, "ETag") == header(get, "ETag"));
  BOOST_TEST(head.body.size() == get.body.size());  // for Content-Length; the transport sends none of it
  BOOST_TEST(call("HEAD", "/api/games/9999").status == 404);
}

BOOST_AUTO_TEST_CASE(a_preflight_allows_the_headers_that_clients_send) {
  const Response response = call("OPTIONS", "/api/sessions");
  BOOST_TEST(response.status == 204);
  for (const char* name : {"Authorization", "Content-Type", "Idempotency-Key"}) {
    BOOST_TEST(header(response, "Access-Control-Allow-Headers").find(name) != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(a_token_of_another_algorithm_or_an_unknown_role_is_refused_though_its_key_is_right) {
  const auto status = [&](const std::string& token) {
    return call("POST", "/api/sessions", "{}", "Bearer " + token).status;
  };
  BOOST_TEST(status(token("HS384", "admin")) == 403);
  BOOST_TEST(status(token("HS512", "admin")) == 403);
  BOOST_TEST(status(token("HS256", "owner")) == 403);
  BOOST_TEST(status(unnamed_algorithm(token("HS256", "admin"))) == 403);
  BOOST_TEST(status(token("HS256", "admin")) == 201);
}

BOOST_AUTO_TEST_CASE(a_token_lives_as_long_as_it_was_asked_to_at_most_a_year) {
  const auto lifetime = [&](const std::string& text) {
    const Response response =
        admin("POST", "/api/auth/tokens", R"({"role":"bot","name":"n","expiresIn":")" + text + "\"}");
    BOOST_TEST(response.status == 201);
    const Poco::JWT::Token token(at(response, "token"));
    return (token.getExpiration() - token.getIssuedAt()) / 1'000'000;
  };
  BOOST_TEST(lifetime("90s") == 90);
  BOOST_TEST(lifetime("5m") == 300);
  BOOST_TEST(lifetime("2h") == 7200);
  BOOST_TEST(lifetime("365d") == 365 * 86400);
}

BOOST_AUTO_TEST_CASE(admins_of_a_file_log_in_under_their_names) {
  Poco::TemporaryFile file;
  const auto started_with = [&](const std::string& text) {
    std::ofstream(file.path()) << text;
    Config config = api.config;
    config.admin_config = file.path();
    config.admin_key.clear();
    return Api(config);
  };
  Api named =
      started_with(R"({"admins":[{"name":"alice","key":"the key of alice"},{"name":"bob","key":"the key of bob"}]})");
  Dispatcher others(named, "");
  Request request;
  request.method = "POST";
  request.path = "/api/auth/login";
  request.body = R"({"key":"the key of alice"})";
  const Response response = send(others, request);
  BOOST_TEST(response.status == 200);
  BOOST_TEST(Poco::JWT::Token(at(response, "token")).getSubject() == "alice");
  for (const char* bad :
       {"", "[]", "{}", R"({"admins":[]})", R"({"admins":[7]})", R"({"admins":[{"name":"a","key":"short"}]})",
        R"({"admins":[{"name":"a","key":"long enough a key"},{"name":"a","key":"another long key"}]})"}) {
    BOOST_TEST_CONTEXT(bad) BOOST_CHECK_THROW(started_with(bad), ConfigError);
  }
  std::remove(file.path().c_str());
  Config config = api.config;
  config.admin_config = file.path();
  BOOST_CHECK_THROW(Api{config}, ConfigError);
}

BOOST_AUTO_TEST_CASE(filters_hold_at_their_edges) {
  const char* columns =
      "INSERT INTO games (pack_name, title, min_players, max_players, length_minutes, family_friendly) "
      "SELECT pack_name, ";
  int number = 0;
  for (const char* minutes : {"15", "16", "25", "26", "NULL"}) {
    ++number;
    database.execute(std::string(columns) + "'edge " + std::to_string(number) + "', 3, 8, " + minutes + ", " +
                     (number % 2 == 0 ? "1" : "0") + " FROM games WHERE id = 1");
  }
  BOOST_TEST(std::to_string(listed("length=short")) == counted("COALESCE(length_minutes, 0) <= 15"));
  BOOST_TEST(std::to_string(listed("length=medium")) == counted("length_minutes BETWEEN 16 AND 25"));
  BOOST_TEST(std::to_string(listed("length=long")) == counted("length_minutes > 25"));
  BOOST_TEST(std::to_string(listed("familyFriendly=false")) == counted("family_friendly = 0"));
  BOOST_TEST(std::to_string(listed("familyFriendly=true")) == counted("family_friendly = 1"));
  for (const char* players : {"2", "3", "8", "9"}) {
    BOOST_TEST(std::to_string(listed("playerCount=" + std::string(players))) ==
               counted("min_players <= " + std::string(players) + " AND max_players >= " + players));
  }
}

BOOST_AUTO_TEST_CASE(a_played_game_keeps_the_source_it_was_given) {
  const std::string session = open_session();
  for (const char* source : {"dice", "manual", "poll"}) {
    const Response response = admin("POST", "/api/sessions/" + session + "/games",
                                    std::string(R"({"game_id":1,"source":")") + source + "\"}");
    BOOST_TEST(response.status == 201);
    BOOST_TEST(at(response, "source") == source);
  }
}

BOOST_AUTO_TEST_CASE(a_played_game_can_be_skipped) {
  const std::string session = open_session();
  const std::string id = play(session, 1);
  const Response response =
      admin("PATCH", "/api/sessions/" + session + "/games/" + id + "/status", R"({"status":"skipped"})");
  BOOST_TEST(response.status == 200);
  BOOST_TEST(one("SELECT status FROM session_games WHERE id = " + id) == "skipped");
}

BOOST_AUTO_TEST_CASE(an_active_session_is_not_archived_with_others) {
  const std::string closed = open_session();
  admin("POST", "/api/sessions/" + closed + "/close");
  const std::string active = open_session();
  const Response response =
      admin("POST", "/api/sessions/bulk", R"({"action":"archive","ids":[)" + closed + "," + active + "]}");
  BOOST_TEST(response.status == 400);
  BOOST_TEST(at(response, "activeIds[0]") == active);
  BOOST_TEST(one("SELECT COUNT(*) FROM sessions WHERE archived = 1") == "0");
}

BOOST_AUTO_TEST_CASE(the_same_vote_counts_in_another_session) {
  const std::string vote = R"({"username":"bob","vote":"up","timestamp":")" +
                           one("SELECT DATE_FORMAT(UTC_TIMESTAMP() + "
                               "INTERVAL 1 MINUTE, '%Y-%m-%dT%H:%i:%s.000Z')") +
                           "\"}";
  const std::string first = open_session();
  play(first, 1);
  BOOST_TEST(admin("POST", "/api/votes/live", vote).status == 200);
  BOOST_TEST(admin("POST", "/api/votes/live", vote).status == 409);
  admin("POST", "/api/sessions/" + first + "/close");
  play(open_session(), 1);
  BOOST_TEST(admin("POST", "/api/votes/live", vote).status == 200);
}

BOOST_AUTO_TEST_CASE(a_vote_by_ticker_needs_no_game_in_the_session) {
  database.execute("UPDATE games SET ticker = 'EDGE1' WHERE id = 1");
  open_session();
  const Response response = admin("POST", "/api/votes/live",
                                  R"({"username":"bob","vote":"up","ticker":"EDGE1","timestamp":")" +
                                      one("SELECT DATE_FORMAT(UTC_TIMESTAMP(), '%Y-%m-%dT%H:%i:%s.000Z')") + "\"}");
  BOOST_TEST(response.status == 200);
  BOOST_TEST(one("SELECT upvotes FROM games WHERE id = 1") == "1");
}

BOOST_AUTO_TEST_CASE(statistics_name_ten_games_at_most) {
  for (int i = 0; i < 12; ++i) {
    database.execute(
        "INSERT INTO games (pack_name, title, min_players, max_players, play_count, upvotes) "
        "SELECT pack_name, 'top " +
        std::to_string(i) + "', 1, 8, 5, 5 FROM games WHERE id = 1");
  }
  const Response response = call("GET", "/api/stats");
  for (const char* list : {"mostPlayedGames", "topRatedGames"}) {
    BOOST_TEST(at(response, std::string(list) + "[9].play_count") == "5");
    BOOST_TEST(at(response, std::string(list) + "[10].id") == "(missing)");
  }
}

BOOST_AUTO_TEST_CASE(a_batch_holds_50_events) {
  const auto batch = [&](int count) {
    std::string body = R"({"events":[)";
    for (int i = 0; i < count; ++i) body += std::string(i > 0 ? "," : "") + R"({"channel":"c","event":"e","data":1})";
    return admin("POST", "/api/broadcast/batch", body + "]}").status;
  };
  BOOST_TEST(batch(51) == 400);
  BOOST_TEST(events().empty());
  BOOST_TEST(batch(50) == 202);
  BOOST_TEST(events().size() == 50u);
}

BOOST_AUTO_TEST_CASE(a_broadcast_may_be_as_large_as_the_contract_says) {
  const auto broadcast = [&](const std::string& channel, std::size_t bytes) {
    return admin("POST", "/api/broadcast",
                 R"({"channel":")" + channel + R"(","event":"e","data":")" + std::string(bytes - 2, 'x') + "\"}")
        .status;
  };
  BOOST_TEST(broadcast("a_b.c:d=e@f,g;h-i", 10) == 202);
  BOOST_TEST(broadcast(std::string(200, 'c'), 10) == 202);
  BOOST_TEST(broadcast(std::string(201, 'c'), 10) == 400);
  BOOST_TEST(broadcast("c", 65536) == 202);
  BOOST_TEST(broadcast("c", 65537) == 400);
}

BOOST_AUTO_TEST_SUITE_END()
