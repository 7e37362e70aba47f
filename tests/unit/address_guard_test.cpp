#include "shared/address_guard.hpp"

#include <arpa/inet.h>
#include <boost/test/unit_test.hpp>
#include <netinet/in.h>

namespace gamepicker {

BOOST_AUTO_TEST_SUITE(address_guard)

BOOST_AUTO_TEST_CASE(every_special_range_is_refused_at_both_ends) {
  struct {
    const char* first;
    const char* last;
    const char* why;
  } const ranges[] = {
      {"0.0.0.0", "0.255.255.255", "unspecified"},
      {"10.0.0.0", "10.255.255.255", "private"},
      {"100.64.0.0", "100.127.255.255", "carrier-grade NAT"},
      {"127.0.0.0", "127.255.255.255", "loopback"},
      {"168.63.129.16", "168.63.129.16", "metadata"},
      {"169.254.0.0", "169.254.255.255", "link-local or metadata"},
      {"172.16.0.0", "172.31.255.255", "private"},
      {"192.0.0.0", "192.0.0.255", "protocol assignments"},
      {"192.0.2.0", "192.0.2.255", "documentation"},
      {"192.88.99.0", "192.88.99.255", "6to4 relay"},
      {"192.168.0.0", "192.168.255.255", "private"},
      {"198.18.0.0", "198.19.255.255", "benchmarking"},
      {"198.51.100.0", "198.51.100.255", "documentation"},
      {"203.0.113.0", "203.0.113.255", "documentation"},
      {"224.0.0.0", "239.255.255.255", "multicast"},
      {"240.0.0.0", "255.255.255.255", "reserved"},
      {"100.100.100.200", "100.100.100.200", "metadata"},
      {"::", "::", "unspecified"},
      {"::1", "::1", "loopback"},
      {"::ffff:0:0", "::ffff:ffff:ffff", "v4-mapped"},
      {"::ffff:0:0:0", "::ffff:0:ffff:ffff", "v4-translated"},
      {"64:ff9b::", "64:ff9b::ffff:ffff", "NAT64"},
      {"64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "NAT64"},
      {"100::", "100::ffff:ffff:ffff:ffff", "discard"},
      {"2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "Teredo"},
      {"2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"},
      {"2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "6to4"},
      {"3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"},
      {"5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "segment routing"},
      {"fd00:ec2::254", "fd00:ec2::254", "metadata"},
      {"fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "private"},
      {"fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local"},
      {"fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "site-local"},
      {"ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast"},
      {"::2", "::ffff:ffff", "v4-compatible"},
      {"2001:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "protocol assignments"},
      {"4000::", "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "not global"},
      {"100:0:0:1::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "not global"},
      {"64:ff9b:2::", "ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "not global"},
      {"5f01::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "not global"},
      {"fe00::", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "not global"},
  };
  for (const auto& [first, last, why] : ranges) {
    BOOST_TEST(refused_address(std::string(first)).value_or("passed") == why, first);
    BOOST_TEST(refused_address(std::string(last)).value_or("passed") == why, last);
  }
  // What carries an IPv4 address is refused whatever that address is.
  for (const char* public_inside : {"::ffff:8.8.8.8", "::ffff:0:8.8.8.8", "::8.8.8.8", "64:ff9b::8.8.8.8",
                                    "2002:808:808::1", "2001:0:808:808::1"}) {
    BOOST_TEST(refused_address(std::string(public_inside)).has_value(), public_inside);
  }
}

BOOST_AUTO_TEST_CASE(public_addresses_beside_the_ranges_pass) {
  const char* const passed[] = {
      "1.1.1.1",         "9.255.255.255",   "11.0.0.0",      "100.63.255.255",       "100.128.0.0",
      "126.255.255.255", "128.0.0.0",       "169.253.0.1",   "169.255.0.0",          "172.15.255.255",
      "172.32.0.0",      "192.0.1.1",       "192.167.1.1",   "192.169.0.0",          "198.17.255.255",
      "198.20.0.0",      "223.255.255.255", "2001:200::1",   "2001:4860:4860::8888", "2606:4700::1111",
      "2a00:1450::1",    "2003::1",         "3ffe::1",       "167.255.0.1",          "168.63.129.15",
      "168.63.129.17",   "191.255.255.255", "192.0.3.0",     "192.88.98.255",        "192.88.100.0",
      "198.51.99.255",   "198.51.101.0",    "203.0.112.255", "203.0.114.0",          "2000::",
      "2001:db7::1",     "2001:db9::1",     "2001:ffff::1",  "3fff:1000::1",         "2fff::1",
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

BOOST_AUTO_TEST_CASE(a_literal_is_judged_in_every_spelling) {
  struct {
    const char* host;
    const char* answer;  ///< without "Address not allowed: "
  } const cases[] = {
      {"127.0.0.1", "127.0.0.1 is loopback"},
      {"127.0.0.1.", "127.0.0.1 is loopback"},
      {"127.1", "127.0.0.1 is loopback"},
      {"127.0.1", "127.0.0.1 is loopback"},
      {"2130706433", "127.0.0.1 is loopback"},
      {"017700000001", "127.0.0.1 is loopback"},
      {"0x7f000001", "127.0.0.1 is loopback"},
      {"0X7F.1", "127.0.0.1 is loopback"},
      {"0177.0.0.0x1", "127.0.0.1 is loopback"},
      {"0", "0.0.0.0 is unspecified"},
      {"0x0", "0.0.0.0 is unspecified"},
      {"10.257", "10.0.1.1 is private"},
      {"0xa9fea9fe", "169.254.169.254 is link-local or metadata"},
      {"0251.0376.0251.0376", "169.254.169.254 is link-local or metadata"},
      {"3232235777", "192.168.1.1 is private"},
      {"::1", "::1 is loopback"},
      {"0:0:0:0:0:0:0:1", "::1 is loopback"},
      {"::", ":: is unspecified"},
      {"::ffff:127.0.0.1", "::ffff:127.0.0.1 is v4-mapped"},
      {"::FFFF:7f00:1", "::ffff:127.0.0.1 is v4-mapped"},
      {"64:ff9b::7f00:1", "64:ff9b::7f00:1 is NAT64"},
      {"2002:7f00:1::", "2002:7f00:1:: is 6to4"},
      {"2001:0:1::1", "2001:0:1::1 is Teredo"},
      {"fe80::1%eth0", "fe80::1 is link-local"},
      {"fe80::1%25lo", "fe80::1 is link-local"},
      {"::1%lo", "::1 is loopback"},
      {"ff02::1%1", "ff02::1 is multicast"},
      {"localhost", "localhost is loopback"},
      {"LocalHost.", "LocalHost. is loopback"},
      {"a.localhost", "a.localhost is loopback"},
      // Numbers by the URL standard, yet no addresses: nobody may find another meaning in them.
      {"256.0.0.1", "256.0.0.1 is not an address"},
      {"1.2.3.4.5", "1.2.3.4.5 is not an address"},
      {"4294967296", "4294967296 is not an address"},
      {"0x100000000", "0x100000000 is not an address"},
      {"127.0.0.08", "127.0.0.08 is not an address"},
      {"a.0x7f", "a.0x7f is not an address"},
      {"::1.", "::1 is loopback"},
      {"1::2::3", "1::2::3 is not an address"},
      {":", ": is not an address"},
      {"..", ".. is not an address"},
  };
  const AddressPolicy policy{Config{}};
  for (const auto& [host, answer] : cases) {
    BOOST_TEST(policy.literal_refusal(host, 443).value_or("passed") == std::string("Address not allowed: ") + answer);
  }
  for (const char* host : {"8.8.8.8", "134744072", "0x8.0x8.2056", "8.8.8.8.", "2606:4700::1111", "example.com",
                           "example.com.", "localhost.example.com", "notlocalhost", "127.0.0.1.example.com", "0xz"}) {
    BOOST_TEST(policy.literal_refusal(host, 443).value_or("passed") == "passed", host);
  }
  BOOST_TEST(policy.literal_refusal("example.com", 25).value() == "Port not allowed: 25");
}

BOOST_AUTO_TEST_CASE(an_allowed_network_lifts_the_address_rules_within_it_only) {
  Config config;
  config.webhook_allow_networks = "10.1.0.0/16, 192.168.7.7,fd12:3400::/24,127.0.0.0/8";
  const AddressPolicy policy(config);
  for (const char* host :
       {"10.1.0.0", "10.1.255.255", "0xa010101", "192.168.7.7", "fd12:34ff::1", "127.0.0.1", "localhost", "8.8.8.8"}) {
    BOOST_TEST(policy.literal_refusal(host, 8080).value_or("passed") == "passed", host);
  }
  for (const char* host : {"10.0.255.255", "10.2.0.0", "192.168.7.6", "192.168.7.8", "fd12:3500::1", "fd12:33ff::1",
                           "::1", "::ffff:10.1.0.1", "::10.1.0.1", "64:ff9b::a01:1"}) {
    BOOST_TEST(policy.literal_refusal(host, 8080).has_value(), host);
    BOOST_TEST(policy.refusal(std::string(host)).has_value(), host);
  }
  BOOST_TEST(policy.literal_refusal("10.1.0.1", 22).value() == "Port not allowed: 22");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  ::inet_pton(AF_INET, "10.1.2.3", &address.sin_addr);
  BOOST_TEST(!policy.refusal(reinterpret_cast<const sockaddr&>(address)).has_value());
  ::inet_pton(AF_INET, "10.3.2.1", &address.sin_addr);
  BOOST_TEST(policy.refusal(reinterpret_cast<const sockaddr&>(address)).value() ==
             "Address not allowed: 10.3.2.1 is private");
}

BOOST_AUTO_TEST_CASE(allow_private_switches_every_rule_off) {
  Config config;
  config.webhook_allow_private = true;
  const AddressPolicy policy(config);
  for (const char* host : {"127.0.0.1", "::1", "fe80::1%lo", "localhost", "10.0.0.1"}) {
    BOOST_TEST(!policy.literal_refusal(host, 25).has_value(), host);
  }
  BOOST_TEST(!policy.port_refusal(25).has_value());
}

BOOST_AUTO_TEST_CASE(a_bad_list_of_networks_names_its_key_and_entry) {
  for (const char* bad : {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x", "10.0.0.1/8", "10/8", "fd00::/129",
                          "fd00::1/64", "example.com", "10.0.0.0/8,", ",", "10.0.0.0/8;10.0.0.1"}) {
    BOOST_CHECK_EXCEPTION(parse_networks("KEY", bad), ConfigError,
                          [](const ConfigError& error) { return std::string(error.what()).starts_with("KEY must "); });
  }
  BOOST_CHECK_EXCEPTION(parse_networks("KEY", "10.0.0.0/8,oops"), ConfigError, [](const ConfigError& error) {
    return std::string(error.what()).find("\"oops\"") != std::string::npos;
  });
  BOOST_TEST(parse_networks("KEY", "").empty());
  BOOST_TEST(parse_networks("KEY", "0.0.0.0/0,::/0").size() == 2u);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace gamepicker
