#include "controlplane/translate/names.h"

#include <string>

#include <gtest/gtest.h>

#include "controlplane/translate/certificates.h"
#include "controlplane/translate/endpoints.h"
#include "controlplane/translate/plan.h"

namespace sluice::translate {
namespace {

TEST(Hosts, DnsNamesAndOneWildcardLabel) {
  for (const char* good : {"a", "a.example.com", "*.example.com", "xn--bcher-kva.example", "1a.com", "a-b.c"})
    EXPECT_TRUE(check_host(good)) << good;
  for (const char* bad : {"", ".", "a.", ".a", "*", "*.", "*a.com", "a.*.com", "**.com", "A.com", "a_b.com", "-a.com",
                          "a-.com", "1.2.3.4", "[::1]", "a b", "a/b"}) {
    EXPECT_FALSE(check_host(bad)) << bad;
  }
  EXPECT_FALSE(check_host(std::string(64, 'a') + ".com"));
  EXPECT_TRUE(check_host(std::string(63, 'a') + ".com"));
}

TEST(Paths, NormalForm) {
  EXPECT_EQ(normalize_path("/a/%7e%41%2f%c3%bc"), "/a/~A%2F%C3%BC");
  EXPECT_EQ(normalize_path("/a b"), "/a%20b");
  EXPECT_EQ(normalize_prefix("/"), "");
  EXPECT_EQ(normalize_prefix("/a/"), "/a");
  EXPECT_EQ(normalize_path("/a/"), "/a/");
  for (const char* bad : {"", "a", "/%", "/%4", "/%4g", "/%00", "/%5c", "/a\\b", "/a?b", "/a#b", "/.", "/..", "/a/./b",
                          "/a/%2E%2e", "/a/.."}) {
    EXPECT_FALSE(normalize_path(bad).has_value()) << bad;
  }
  EXPECT_TRUE(normalize_path("/...").has_value());
  EXPECT_FALSE(normalize_path("/" + std::string(2000, '\xc3')).has_value());  // 6,001 bytes once escaped
}

TEST(Paths, NormalisationIsIdempotent) {
  for (const char* path : {"/a/%7e", "/%c3%bc/", "/a%2fb", "/a b|c"}) {
    const auto once = normalize_path(path);
    ASSERT_TRUE(once);
    EXPECT_EQ(normalize_path(*once), *once);
  }
}

TEST(Addresses, ParsedAndJudged) {
  EXPECT_EQ(parse_address("10.0.0.1")->low(), 0x0000ffff'0a000001u);
  EXPECT_EQ(parse_address("::ffff:10.0.0.1")->low(), parse_address("10.0.0.1")->low());
  EXPECT_EQ(parse_address("2001:db8::1")->high(), 0x20010db8'00000000u);
  for (const char* bad : {"", "10.0.0", "10.0.0.1 ", "fe80::1%eth0", "a.b", "010.0.0.1"})
    EXPECT_FALSE(parse_address(bad)) << bad;
  for (const char* refused : {"127.9.9.9", "0.0.0.0", "0.1.2.3", "169.254.0.1", "239.0.0.1", "255.255.255.255",
                              "::", "::1", "fe80::1", "febf::1", "ff00::1"}) {
    EXPECT_NE(refused_address(*parse_address(refused), false), nullptr) << refused;
  }
  for (const char* fine : {"10.0.0.1", "192.168.0.1", "fec0::1", "fd00::1", "2001:db8::1"})
    EXPECT_EQ(refused_address(*parse_address(fine), false), nullptr) << fine;
  EXPECT_EQ(refused_address(*parse_address("127.0.0.1"), true), nullptr);
  EXPECT_EQ(refused_address(*parse_address("::1"), true), nullptr);
  EXPECT_NE(refused_address(*parse_address("169.254.169.254"), true), nullptr);
}

TEST(Certificates, NamesCoverOneLabel) {
  EXPECT_TRUE(covers({"a.example.com"}, "a.example.com"));
  EXPECT_TRUE(covers({"*.example.com"}, "a.example.com"));
  EXPECT_TRUE(covers({"*.example.com"}, "*.example.com"));
  EXPECT_FALSE(covers({"*.example.com"}, "a.b.example.com"));
  EXPECT_FALSE(covers({"*.example.com"}, "example.com"));
  EXPECT_FALSE(covers({"a.example.com"}, "*.example.com"));
  EXPECT_FALSE(covers({}, "a"));
}

TEST(MatchKey, NoValueImitatesABoundary) {
  const auto with = [](const char* name, const char* value) {
    ir::RouteT route;
    route.path = "/a";
    auto match = std::make_unique<ir::HeaderMatchT>();
    match->name = name;
    match->value = value;
    route.headers.push_back(std::move(match));
    return match_key(Precedence::prefix, route);
  };
  EXPECT_NE(with("a", "b01:c"), with("a01:b", "c"));
  EXPECT_EQ(with("a", "b"), with("a", "b"));
}

const char* refused(const char* address, const config::Options& options, const Slices& api_server = {}) {
  return refused_external_address(*parse_address(address), api_server, options);
}

TEST(Endpoints, AddressesThatANameMayNotLeadTo) {
  config::Options options;
  options.own_addresses = {{0, 0x0000ffff'0a600001u, 128}};  // 10.96.0.1
  auto slice = std::make_shared<store::EndpointSlice>();
  slice->endpoints.resize(1);
  slice->endpoints[0].addresses = {"192.0.2.66"};
  for (const char* address : {"127.0.0.1", "::1", "0.0.0.0", "::", "169.254.169.254", "fe80::1", "224.0.0.1", "ff02::1",
                              "255.255.255.255", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254",
                              "10.96.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "192.0.2.66"})
    EXPECT_NE(refused(address, options, {slice}), nullptr) << address;
  for (const char* address : {"10.96.0.2", "192.0.2.1", "2001:db8::1", "64:ff9b::c000:201", "100.100.100.201"})
    EXPECT_EQ(refused(address, options, {slice}), nullptr) << address;
  // What the operator allows; what nobody can mean stays refused.
  options.external_name_ranges = {{0, 0, 0}};
  for (const char* address : {"127.0.0.1", "::1", "169.254.169.254", "10.96.0.1", "192.0.2.66", "fd00:ec2::254"})
    EXPECT_EQ(refused(address, options, {slice}), nullptr) << address;
  for (const char* address : {"0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"})
    EXPECT_NE(refused(address, options, {slice}), nullptr) << address;
  options.external_name_ranges = {{0, 0x0000ffff'7f000000u, 104}};  // 127.0.0.0/8
  EXPECT_EQ(refused("127.8.9.10", options), nullptr);
  EXPECT_NE(refused("169.254.169.254", options), nullptr);
  options.external_name_ranges.clear();
  options.allow_loopback_endpoints = true;  // a folder of manifests
  EXPECT_EQ(refused("127.0.0.1", options), nullptr);
  EXPECT_NE(refused("169.254.169.254", options), nullptr);
}

}  // namespace
}  // namespace sluice::translate
