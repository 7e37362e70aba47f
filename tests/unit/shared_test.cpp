#include <cstdio>
#include <cstdlib>
#include <fstream>

#include <boost/test/unit_test.hpp>

#include "shared/clock.hpp"
#include "shared/config.hpp"
#include "shared/events.hpp"
#include "shared/json_reader.hpp"
#include "shared/json_writer.hpp"
#include "shared/outbox.hpp"
#include "shared/secret_box.hpp"
#include "shared/signature.hpp"
#include "shared/tokens.hpp"

using namespace gamepicker;

namespace {

/// What a command prints.
std::string output_of(const std::string& command) {
  std::string text;
  FILE* pipe = ::popen(command.c_str(), "r");
  BOOST_REQUIRE(pipe != nullptr);
  char buffer[4096];
  for (std::size_t n = 0; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) text.append(buffer, n);
  ::pclose(pipe);
  return text;
}

/// A file that is removed at the end of its scope.
struct TemporaryFile {
  explicit TemporaryFile(const std::string& content) {
    char name[] = "/tmp/gptestXXXXXX";
    const int descriptor = ::mkstemp(name);
    BOOST_REQUIRE(descriptor >= 0);
    path = name;
    std::ofstream(path) << content;
  }
  ~TemporaryFile() { std::remove(path.c_str()); }
  std::string path;
};

std::string error_of(const std::string& content) {
  const TemporaryFile file(content);
  try {
    Config::load(file.path, false);
  } catch (const ConfigError& error) {
    return std::string(error.what()).substr(file.path.size());
  }
  return "(no error)";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(clock_values)

BOOST_AUTO_TEST_CASE(every_iso_form_is_read_as_the_same_instant) {
  for (const auto& [text, expected] : std::vector<std::pair<const char*, const char*>>{
           {"2026-03-15T20:30:00Z", "2026-03-15T20:30:00.000Z"},
           {"2026-03-15T20:30Z", "2026-03-15T20:30:00.000Z"},
           {"2026-03-15t20:30:00z", "2026-03-15T20:30:00.000Z"},
           {"2026-03-15 20:30:00", "2026-03-15T20:30:00.000Z"},
           {"2026-03-15T20:30:00.1Z", "2026-03-15T20:30:00.100Z"},
           {"2026-03-15T20:30:00,12Z", "2026-03-15T20:30:00.120Z"},
           {"2026-03-15T20:30:00.123456789Z", "2026-03-15T20:30:00.123Z"},
           {"2026-03-15T20:30:00.9999Z", "2026-03-15T20:30:00.999Z"},
           {"2026-03-15T22:30:00+02:00", "2026-03-15T20:30:00.000Z"},
           {"2026-03-15T15:00:00-0530", "2026-03-15T20:30:00.000Z"},
           {"2026-03-16T00:30:00+04", "2026-03-15T20:30:00.000Z"},
           {"2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000Z"},
           {"1000-01-01T00:00:00Z", "1000-01-01T00:00:00.000Z"},
       }) {
    BOOST_TEST_CONTEXT(text) {
      const auto time = parse_iso(text);
      BOOST_REQUIRE(time.has_value());
      BOOST_TEST(format_iso(*time) == expected);
    }
  }
}

BOOST_AUTO_TEST_CASE(what_is_no_date_is_refused) {
  for (const char* text :
       {"", "2026", "2026-03-15", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-03-15T24:00:00Z",
        "2026-03-15T20:60:00Z", "2026-03-15T20:30:60Z", "2026-03-15T20:30:00.Z", "2026-03-15T20:30:00.1234567890Z",
        "2026-03-15T20:30:00+25:00", "2026-03-15T20:30:00+2:00", "2026-03-15T20:30:00Zx", " 2026-03-15T20:30:00Z",
        "0000-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "now"}) {
    BOOST_TEST(!parse_iso(text).has_value(), text);
  }
}

BOOST_AUTO_TEST_CASE(database_times_become_iso) {
  BOOST_TEST(sql_to_iso("2026-03-15 20:30:00.120") == "2026-03-15T20:30:00.120Z");
  BOOST_TEST(sql_to_iso("2026-03-15 20:30:00.120000") == "2026-03-15T20:30:00.120Z");
  BOOST_TEST(sql_to_iso("2026-03-15 20:30:00") == "2026-03-15T20:30:00.000Z");
}

BOOST_AUTO_TEST_CASE(durations_have_units_and_bounds) {
  BOOST_TEST(parse_duration("500ms")->count() == 500);
  BOOST_TEST(parse_duration("30d")->count() == 2'592'000'000);
  for (const char* text : {"", "s", "-1s", "1w", "1.5s", "99999999999d", "5 s"})
    BOOST_TEST(!parse_duration(text), text);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(json)

BOOST_AUTO_TEST_CASE(readers_refuse_what_only_looks_like_the_type) {
  const auto object = JsonObject::parse(
      R"({"i":7,"s":"7","f":7.9,"b":true,"n":null,"u":18446744073709551615,"o":{"x":1},"a":["p",1]})");
  BOOST_TEST(object.integer("i", 0, 10).value() == 7);
  for (const char* name : {"s", "f", "b", "o", "a"}) {
    BOOST_CHECK_THROW((void)object.integer(name, INT64_MIN, INT64_MAX), FieldError);
  }
  BOOST_CHECK_THROW((void)object.integer("u", 0, 100), FieldError);
  BOOST_CHECK_THROW((void)object.integer("i", 8, 10), FieldError);
  BOOST_TEST(!object.integer("n", 0, 1));
  BOOST_TEST(!object.integer("absent", 0, 1));
  BOOST_TEST(object.is_null("n"));
  BOOST_TEST(!object.is_null("absent"));
  BOOST_TEST(object.boolean("b").value());
  for (const char* name : {"i", "u", "s", "f"}) BOOST_CHECK_THROW((void)object.boolean(name), FieldError);
  BOOST_CHECK_THROW((void)object.text("i", 10), FieldError);
  BOOST_CHECK_THROW((void)object.text_list("a", 10), FieldError);
  BOOST_TEST(object.object("o")->integer("x", 0, 1).value() == 1);
  BOOST_TEST(object.names() == (std::vector<std::string>{"a", "b", "f", "i", "n", "o", "s", "u"}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(text_length_counts_characters_and_nul_is_refused) {
  const auto object = JsonObject::parse("{\"t\":\"\xF0\x9F\x98\x80\xF0\x9F\x98\x80\",\"z\":\"a\\u0000b\"}");
  BOOST_TEST(object.text("t", 2).has_value());
  BOOST_CHECK_THROW((void)object.text("t", 1), FieldError);
  BOOST_CHECK_THROW((void)object.text("z", 10), FieldError);
}

BOOST_AUTO_TEST_CASE(a_number_no_integer_type_holds_is_refused) {
  BOOST_CHECK_THROW(JsonObject::parse(R"({"big":99999999999999999999})"), JsonError);
}

BOOST_AUTO_TEST_CASE(invalid_utf8_is_no_json) {
  for (const char* bytes : {"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x80"}) {
    BOOST_CHECK_THROW(JsonObject::parse(std::string("{\"a\":\"") + bytes + "\"}"), JsonError);
  }
}

BOOST_AUTO_TEST_CASE(the_writer_puts_commas_and_escapes) {
  JsonWriter writer;
  writer.begin_object().field("a", 1).field("b", "q\"\\\n\x01").key("c").begin_array().value(true).null();
  writer.begin_object().end_object().end_array().field("d", std::optional<std::string>()).end_object();
  BOOST_TEST(writer.text() == R"({"a":1,"b":"q\"\\\n\u0001","c":[true,null,{}],"d":null})");
}

// What a receiver gets when it parses a webhook's body and serialises it again.
BOOST_AUTO_TEST_CASE(strings_and_numbers_are_written_as_by_JavaScript) {
  std::string text;
  append_json_string(text, "\b\f\x0b\x1f\x7f/\xE2\x80\xA8");
  BOOST_TEST(text == "\"\\b\\f\\u000b\\u001f\x7f/\xE2\x80\xA8\"");
  const std::pair<const char*, const char*> numbers[] = {
      {"1.0", "1"},
      {"-0.0", "0"},
      {"100.25", "100.25"},
      {"0.1", "0.1"},
      {"-1.5e3", "-1500"},
      {"1e20", "100000000000000000000"},
      {"1e21", "1e+21"},
      {"1.25e21", "1.25e+21"},
      {"1e-6", "0.000001"},
      {"1e-7", "1e-7"},
      {"-1.5e-9", "-1.5e-9"},
      {"123456789012345680000.0", "123456789012345680000"},
      {"5e-324", "5e-324"},
      {"1.7976931348623157e308", "1.7976931348623157e+308"},
      {"18446744073709551615", "18446744073709551615"},
      {"-0", "0"},
  };
  for (const auto& [read, written] : numbers) {
    const auto object = JsonObject::parse(std::string("{\"n\":") + read + "}");
    BOOST_TEST(object.json("n").value() == written);
  }
  const auto object = JsonObject::parse(R"({"o":{"b":[],"10":{},"2":null,"02":true,"a":"x\/y"}})");
  BOOST_TEST(object.json("o").value() == R"({"2":null,"10":{},"02":true,"a":"x/y","b":[]})");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(cryptography)

BOOST_AUTO_TEST_CASE(the_webhook_signature_is_what_openssl_computes) {
  for (const std::string& body : {std::string("{}"), std::string(5000, 'x'), std::string("\xF0\x9F\x98\x80")}) {
    const TemporaryFile file(body);
    const std::string theirs = output_of("openssl dgst -sha256 -hmac 'my secret' -r " + file.path).substr(0, 64);
    BOOST_TEST(webhook_signature("my secret", body) == "sha256=" + theirs);
  }
}

BOOST_AUTO_TEST_CASE(the_standard_signature_matches_its_published_example) {
  // The example of the Standard Webhooks specification.
  BOOST_TEST(standard_webhook_signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek",
                                        "1614265330", R"({"test": 2432232314})") ==
             "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

BOOST_AUTO_TEST_CASE(base64_round_trips_and_refuses_nonsense) {
  for (const std::string text : {"", "a", "ab", "abc", "abcd"}) BOOST_TEST(from_base64(to_base64(text)) == text);
  for (const char* text : {"a", "a*bc", "Y=Jj", "YWJ=YWJj", "====", "YWJj ", " YWJjYWJ", "YWJj----", "YWJj\n\n\n\n"}) {
    BOOST_TEST_CONTEXT(text) {
      BOOST_CHECK_THROW(from_base64(text), std::invalid_argument);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_sealed_secret_opens_with_its_key_only_and_never_twice_the_same) {
  const SecretBox box(std::string(64, 'a'));
  const std::string sealed = box.seal("hush");
  BOOST_TEST(box.open(sealed) == "hush");
  BOOST_TEST(box.open(box.seal("")) == "");
  BOOST_TEST(box.seal("hush") != sealed);
  BOOST_CHECK_THROW(SecretBox(std::string(64, 'b')).open(sealed), std::runtime_error);
  std::string altered = sealed;
  altered[10] = altered[10] == 'A' ? 'B' : 'A';
  BOOST_CHECK_THROW(box.open(altered), std::runtime_error);
  BOOST_CHECK_THROW(SecretBox("abc"), std::invalid_argument);
}

BOOST_AUTO_TEST_CASE(a_token_verifies_until_it_expires_even_when_remembered) {
  TokenAuthority authority("a-secret-of-thirty-two-characters!");
  const std::string token = authority.issue(Role::bot, "chat", std::chrono::seconds(1));
  BOOST_TEST((authority.verify(token)->role == Role::bot));
  BOOST_TEST(authority.verify(token)->subject == "chat");
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (authority.verify(token) && std::chrono::steady_clock::now() < limit) {
  }
  BOOST_TEST(!authority.verify(token));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(configuration)

BOOST_AUTO_TEST_CASE(the_file_is_read_and_the_environment_wins) {
  const TemporaryFile file(
      "# comment\n\n DB_NAME = games \nWEBHOOK_RETRY_SCHEDULE=1s,2m\nWEBHOOK_ALLOW_PRIVATE=true\n");
  ::setenv("DB_PORT", "3307", 1);
  ::setenv("DB_NAME", "from_environment", 1);
  const Config config = Config::load(file.path, true);
  const Config file_only = Config::load(file.path, false);
  ::unsetenv("DB_PORT");
  ::unsetenv("DB_NAME");
  BOOST_TEST(config.db_name == "from_environment");
  BOOST_TEST(config.db_port == 3307U);
  BOOST_TEST(file_only.db_name == "games");
  BOOST_TEST(file_only.db_port == 3306U);
  BOOST_TEST(config.webhook_allow_private);
  BOOST_TEST(config.webhook_retry_schedule[1].count() == 120'000);
}

BOOST_AUTO_TEST_CASE(unknown_and_bad_keys_are_refused_by_name_and_line) {
  BOOST_TEST(error_of("DB_NAME=x\nDB_NAMES=y\n") == ":2: unknown key DB_NAMES");
  BOOST_TEST(error_of("nonsense\n") == ":1: expected KEY=value");
  BOOST_TEST(error_of("DB_PORT=70000\n") == ":1: DB_PORT must be a whole number from 1 to 65535");
  BOOST_TEST(error_of("WEBHOOK_ALLOW_PRIVATE=yes\n") == ":1: WEBHOOK_ALLOW_PRIVATE must be true or false");
  BOOST_TEST(error_of("WEBHOOK_ALLOW_NETWORKS=10.0.0.0/8,10.1.2.3/8\n").ends_with("and \"10.1.2.3/8\" is none"));
  BOOST_TEST(error_of("JWT_SECRET=short-and-secret\n").find("short-and-secret") == std::string::npos);
  BOOST_CHECK_THROW(Config::load("/nonexistent", false), ConfigError);
}

BOOST_AUTO_TEST_CASE(missing_secrets_are_named) {
  Config config;
  BOOST_CHECK_EXCEPTION(config.require_secrets(), ConfigError,
                        [](const ConfigError& e) { return std::string(e.what()) == "JWT_SECRET is not set"; });
  config.jwt_secret = "x";
  config.secret_key = std::string(64, '0');
  BOOST_CHECK_EXCEPTION(config.require_secrets(), ConfigError, [](const ConfigError& e) {
    return std::string(e.what()) == "neither ADMIN_KEY nor ADMIN_CONFIG is set";
  });
}

BOOST_AUTO_TEST_CASE(what_webhooks_are_promised_is_the_default) {
  const Config config;
  BOOST_TEST((config.webhook_timeout == std::chrono::seconds(5)));
  BOOST_TEST((config.webhook_disable_after == std::chrono::days(5)));
  BOOST_TEST((config.retention_webhook_logs == std::chrono::days(30)));
  BOOST_TEST(!config.webhook_allow_private);
  BOOST_TEST(config.webhook_allow_networks == "");
}

BOOST_AUTO_TEST_CASE(the_example_file_documents_every_key_with_its_default) {
  std::ifstream example(SOURCE_DIR "/deploy/gamepicker.conf.example");
  BOOST_REQUIRE(example.good());
  std::string previous;
  std::map<std::string, std::string> documented;
  for (std::string line; std::getline(example, line); previous = line) {
    const std::string text = line.starts_with("#") ? line.substr(1) : line;
    const auto equals = text.find('=');
    const std::string name = text.substr(0, equals);
    if (equals == std::string::npos || name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ_") != std::string::npos)
      continue;
    BOOST_TEST(previous.starts_with("# "), name << " has no line of meaning above it");
    documented[name] = text.substr(equals + 1);
  }
  for (const ConfigKey& key : config_keys()) {
    BOOST_TEST_CONTEXT(key.name) {
      BOOST_TEST(documented.contains(key.name));
      BOOST_TEST(documented[key.name] == config_text(Config{}, key));
      documented.erase(key.name);
    }
  }
  for (const auto& [name, value] : documented) BOOST_ERROR("the example has an unknown key " << name);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(events)

BOOST_AUTO_TEST_CASE(body_and_message_carry_the_same_data) {
  const std::string body = event_body("game.added", "2026-03-15T20:30:00.000Z", R"({"a":",\"data\":"})");
  BOOST_TEST(body == R"({"event":"game.added","timestamp":"2026-03-15T20:30:00.000Z","data":{"a":",\"data\":"}})");
  BOOST_TEST(event_message(body, 7, "session.3", 2) ==
             R"({"type":"game.added","timestamp":"2026-03-15T20:30:00.000Z","data":{"a":",\"data\":"},)"
             R"("id":7,"channel":"session.3","offset":2})");
  BOOST_TEST(event_data(body) == R"({"a":",\"data\":"})");
}

BOOST_AUTO_TEST_CASE(patterns_are_types_families_and_the_star) {
  for (const char* known : {"game.added", "game.*", "session.*", "*", "presence_join"}) {
    BOOST_TEST(is_known_event_pattern(known), known);
  }
  for (const char* unknown : {"", "game", "game.", "*.*", "Game.added", "game.added ", ".*", "presence_*"}) {
    BOOST_TEST(!is_known_event_pattern(unknown), unknown);
  }
}

BOOST_AUTO_TEST_CASE(outbox_statements_bind_every_value) {
  // No text is ever put into SQL by hand: the number of placeholders is what enqueue() binds.
  const auto placeholders = [](std::string_view sql) { return std::count(sql.begin(), sql.end(), '?'); };
  BOOST_TEST(placeholders(outbox::kEnqueueEvent) == 6);
  BOOST_TEST(placeholders(outbox::kEnqueueWebhookEvent) == 4);
}

BOOST_AUTO_TEST_SUITE_END()
