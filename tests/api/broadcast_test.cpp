#include "shared/events.hpp"
#include "tests/api/fixture.hpp"

using namespace gamepicker;
using namespace gamepicker::test;

BOOST_FIXTURE_TEST_SUITE(broadcast, ApiFixture)

BOOST_AUTO_TEST_CASE(a_broadcast_is_an_event_of_its_channel) {
  const Response response =
      admin("POST", "/api/broadcast",
            R"({"channel":"orders","event":"OrderCreated","data":{"b":[1,"x\ud83c\udfb2"],"a":null},)"
            R"("exceptSocketId":"abc"})");
  BOOST_TEST(response.status == 202);
  BOOST_TEST(response.body == R"({"success":true,"id":1})");
  BOOST_TEST(events() == std::vector<std::string>{"orders 1 OrderCreated"}, boost::test_tools::per_element());
  BOOST_TEST(event_data_of("OrderCreated") == "{\"a\":null,\"b\":[1,\"x\xF0\x9F\x8E\xB2\"]}");
  BOOST_TEST(one("SELECT except_socket_id FROM events") == "abc");
}

BOOST_AUTO_TEST_CASE(data_may_be_any_json_value) {
  for (const char* data : {"null", "7", "-1.5", "\"text\"", "[]", "false"}) {
    BOOST_TEST_CONTEXT(data) {
      BOOST_TEST(
          admin("POST", "/api/broadcast", std::string(R"({"channel":"c","event":"e","data":)") + data + "}").status ==
          202);
      BOOST_TEST(event_data_of("e") == data);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_batch_is_one_transaction_with_the_ids_in_its_own_order) {
  const Response response =
      admin("POST", "/api/broadcast/batch",
            R"({"events":[{"channel":"z","event":"1","data":1},{"channel":"a","event":"2","data":2},)"
            R"({"channel":"z","event":"3","data":3}]})");
  BOOST_TEST(response.status == 202);
  // Locked in the channels' name order, answered in the order of the request.
  BOOST_TEST(response.body == R"({"success":true,"ids":[2,1,3]})");
  BOOST_TEST(events() == (std::vector<std::string>{"a 1 2", "z 1 1", "z 2 3"}), boost::test_tools::per_element());
  BOOST_TEST(admin("POST", "/api/broadcast/batch",
                   R"({"events":[{"channel":"z","event":"4","data":1},{"channel":"z","event":"5"}]})")
                 .body == R"({"error":"events[1]: data is required"})");
  BOOST_TEST(events().size() == 3U);
}

BOOST_AUTO_TEST_CASE(webhooks_get_the_event_broadcast_and_nothing_is_written_when_none_wants_it) {
  admin("POST", "/api/webhooks", R"({"name":"w","url":"https://x.example/","secret":"s","events":["game.*"]})");
  admin("POST", "/api/broadcast", R"({"channel":"orders","event":"game.added","data":1})");
  BOOST_TEST(one("SELECT CONCAT((SELECT COUNT(*) FROM events), (SELECT COUNT(*) FROM webhook_queue))") == "10");
  admin("POST", "/api/webhooks", R"({"name":"w","url":"https://x.example/","secret":"s","events":["broadcast"]})");
  admin("POST", "/api/broadcast", R"({"channel":"orders","event":"OrderCreated","data":{"n":1}})");
  BOOST_TEST(event_data_of("broadcast") == R"({"channel":"orders","event":"OrderCreated","data":{"n":1}})");
  BOOST_TEST(one("SELECT COUNT(*) FROM webhook_queue") == "1");
  // The timestamp of relay events is epoch milliseconds.
  BOOST_TEST(one("SELECT body REGEXP '^[{]\"event\":\"broadcast\",\"timestamp\":1[0-9]{12},\"data\":' FROM events "
                 "WHERE type = 'broadcast'") == "1");
}

BOOST_AUTO_TEST_CASE(broadcast_errors) {
  const auto with_channel = [](const std::string& channel) {
    return R"({"channel":")" + channel + R"(","event":"e","data":1})";
  };
  const std::string path = "/api/broadcast";
  std::vector<ErrorCase> cases = {
      {"POST", path, "", 400, "channel is required"},
      {"POST", path, "{}", 400, "channel is required"},
      {"POST", path, R"({"channel":"c","data":1})", 400, "event is required"},
      {"POST", path, R"({"channel":"c","event":"","data":1})", 400, "event is required"},
      {"POST", path, R"({"channel":"c","event":"e"})", 400, "data is required"},
      {"POST", path, R"({"channel":7,"event":"e","data":1})", 400, "channel must be a string"},
      {"POST", path, with_channel(std::string(201, 'c')), 400, "channel must be at most 200 characters"},
      {"POST", path, R"({"channel":"c","event":")" + std::string(101, 'e') + R"(","data":1})", 400,
       "event must be at most 100 characters"},
      {"POST", path, R"({"channel":"c","event":"e","data":")" + std::string(65'535, 'd') + "\"}", 400,
       "data must be at most 65536 bytes"},
      {"POST", path, R"({"channel":"c","event":"e","data":1,"exceptSocketId":")" + std::string(65, 's') + "\"}", 400,
       "exceptSocketId must be at most 64 characters"},
  };
  for (const char* bad : {"a b", "a/b", "ä", "#", "webhook/events"}) {
    cases.push_back({"POST", path, with_channel(bad), 400, "Invalid channel name"});
  }
  for (const char* built_in : {"sessions", "session.1", "presence-session.1"}) {
    cases.push_back({"POST", path, with_channel(built_in), 400, "channel is a built-in channel"});
  }
  for (const char* list : {"[]", "null", "7", "{}"}) {
    cases.push_back({"POST", path + "/batch", std::string(R"({"events":)") + list + "}", 400,
                     "events must be an array of 1 to 50 events"});
  }
  cases.push_back({"POST", path + "/batch", R"({"events":[1]})", 400, "events[0] must be an object"});
  check_errors(*this, cases);
  BOOST_TEST(events().empty());
}

BOOST_AUTO_TEST_SUITE_END()
