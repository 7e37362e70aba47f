#include "relay/address_guard.hpp"

#include <boost/test/unit_test.hpp>

namespace gamepicker {

BOOST_AUTO_TEST_SUITE(address_guard)

BOOST_AUTO_TEST_CASE(every_special_range_is_refused_at_both_ends) {
  const char* const refused[] = {
      "0.0.0.0",
      "0.255.255.255",
      "10.0.0.0",
      "10.255.255.255",
      "100.64.0.0",
      "100.127.255.255",
      "100.100.100.200",
      "127.0.0.1",
      "127.255.255.255",
      "169.254.0.0",
      "169.254.169.254",
      "169.254.255.255",
      "172.16.0.0",
      "172.31.255.255",
      "192.0.0.1",
      "192.0.2.7",
      "192.88.99.1",
      "192.168.0.0",
      "192.168.255.255",
      "198.18.0.0",
      "198.19.255.255",
      "198.51.100.1",
      "203.0.113.1",
      "224.0.0.1",
      "239.255.255.255",
      "240.0.0.0",
      "255.255.255.255",
      "168.63.129.16",
      "::",
      "::1",
      "::ffff:8.8.8.8",
      "::ffff:127.0.0.1",
      "::ffff:0:8.8.8.8",
      "::127.0.0.1",
      "64:ff9b::8.8.8.8",
      "64:ff9b:1::1",
      "100::1",
      "2001::1",
      "2001:1ff::1",
      "2001:db8::1",
      "2002:7f00:1::1",
      "3fff::1",
      "5f00::1",
      "fc00::1",
      "fdff:ffff::1",
      "fd00:ec2::254",
      "fe80::1",
      "febf::1",
      "fec0::1",
      "ff02::1",
      "4000::1",
      "e000::1",
  };
  for (const char* address : refused) {
    BOOST_TEST(refused_address(std::string(address)).has_value(), address);
  }
}

BOOST_AUTO_TEST_CASE(public_addresses_beside_the_ranges_pass) {
  const char* const passed[] = {
      "1.1.1.1",         "9.255.255.255",   "11.0.0.0",    "100.63.255.255",       "100.128.0.0",
      "126.255.255.255", "128.0.0.0",       "169.253.0.1", "169.255.0.0",          "172.15.255.255",
      "172.32.0.0",      "192.0.1.1",       "192.167.1.1", "192.169.0.0",          "198.17.255.255",
      "198.20.0.0",      "223.255.255.255", "2001:200::1", "2001:4860:4860::8888", "2606:4700::1111",
      "2a00:1450::1",    "2003::1",         "3ffe::1",
  };
  for (const char* address : passed) {
    const auto why = refused_address(std::string(address));
    BOOST_TEST(!why.has_value(), address << ": " << why.value_or(""));
  }
}

BOOST_AUTO_TEST_CASE(the_reason_is_named) {
  BOOST_TEST(refused_address(std::string("127.0.0.1")).value() == "loopback");
  BOOST_TEST(refused_address(std::string("::ffff:10.0.0.1")).value() == "v4-mapped");
  BOOST_TEST(refused_address(std::string("2001::1")).value() == "Teredo");
  BOOST_TEST(refused_address(std::string("example.com")).value() == "not an address");
  sockaddr local{};
  local.sa_family = AF_UNIX;
  BOOST_TEST(refused_address(local).value() == "not an address");
}

BOOST_AUTO_TEST_CASE(system_ports_other_than_http_are_refused) {
  for (const int port : {0, 22, 25, 53, 79, 81, 442, 444, 1023}) {
    BOOST_TEST(refused_port(static_cast<std::uint16_t>(port)), port);
  }
  for (const int port : {80, 443, 1024, 8080, 65535}) {
    BOOST_TEST(!refused_port(static_cast<std::uint16_t>(port)), port);
  }
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker
