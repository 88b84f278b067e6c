#include "dataplane/worker/identity.h"

#include <gtest/gtest.h>

namespace sluice::worker {
namespace {

struct IdentityTest : ::testing::Test {
  ChunkPool chunks;
  Arena arena{chunks};
  http::RequestHead head{arena};
  Settings settings;
  ConnectionFacts connection;
  std::string_view id = "0123456789abcdef0123456789abcdef";
  IdentityTest() {
    head.host = "a.example";
    connection.peer = *net::Address::parse("192.0.2.7");
  }
  void trust(const char* network, unsigned bits) {
    settings.trusted_proxies.push_back({*net::Address::parse(network), static_cast<uint8_t>(bits)});
  }
  // All values of a name, joined; "-" if there is none.
  std::string value(std::string_view name) {
    std::string all;
    for (const http::Field& field : head.fields.all()) {
      if (field.name.size() == name.size() && strncasecmp(field.name.data(), name.data(), name.size()) == 0)
        all += (all.empty() ? "" : "|") + std::string(field.value);
    }
    return all.empty() ? "-" : all;
  }
};

TEST_F(IdentityTest, StrangersAreNotBelieved) {
  for (const char* name : {"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Real-IP",
                           "X-Request-Id", "Forwarded", "x_forwarded_for", "X_Real-IP", "X-REQUEST_ID"}) {
    head.fields.add(name, "forged");
  }
  head.fields.add("x_custom", "kept");
  const Identity identity = identify(head, connection, settings, id);
  EXPECT_EQ(identity.client.text(), "192.0.2.7:0");
  EXPECT_EQ(value("x-forwarded-for"), "192.0.2.7");
  EXPECT_EQ(value("x-forwarded-proto"), "http");
  EXPECT_EQ(value("x-forwarded-host"), "a.example");
  EXPECT_EQ(value("x-forwarded-port"), "80");
  EXPECT_EQ(value("x-real-ip"), "192.0.2.7");
  EXPECT_EQ(value("x-request-id"), id);
  EXPECT_EQ(value("forwarded"), "-");
  EXPECT_EQ(value("x_forwarded_for"), "-");
  EXPECT_EQ(value("X_Real-IP"), "-");
  EXPECT_EQ(value("X-REQUEST_ID"), "-");
  EXPECT_EQ(value("x_custom"), "kept");
}

TEST_F(IdentityTest, TrustedProxiesAreBelieved) {
  trust("192.0.2.0", 96 + 24);
  head.fields.add("X-Forwarded-For", "203.0.113.9, 192.0.2.1");
  head.fields.add("X-Forwarded-Proto", "https");
  head.fields.add("X-Forwarded-Host", "b.example");
  head.fields.add("X-Forwarded-Port", "8443");
  head.fields.add("X-Request-Id", "given");
  head.fields.add("X_Forwarded_For", "forged");
  const Identity identity = identify(head, connection, settings, id);
  EXPECT_EQ(identity.client.text(), "203.0.113.9:0");
  EXPECT_TRUE(identity.secure);
  EXPECT_EQ(value("x-forwarded-for"), "203.0.113.9, 192.0.2.1, 192.0.2.7");
  EXPECT_EQ(value("x-forwarded-proto"), "https");
  EXPECT_EQ(value("x-forwarded-host"), "b.example");
  EXPECT_EQ(value("x-forwarded-port"), "8443");
  EXPECT_EQ(value("x-real-ip"), "203.0.113.9");
  EXPECT_EQ(value("x-request-id"), "given");
  EXPECT_EQ(value("x_forwarded_for"), "-");
  EXPECT_EQ(id, "given");
}

TEST_F(IdentityTest, ClientIsTheRightmostThatIsNotTrusted) {
  trust("192.0.2.0", 96 + 24);
  trust("10.0.0.0", 96 + 8);
  struct {
    const char* list;
    const char* client;
  } cases[] = {{"1.1.1.1, 203.0.113.9, 10.1.2.3", "203.0.113.9:0"},
               {"203.0.113.9:1234", "203.0.113.9:0"},
               {"[2001:db8::1]:80, 10.0.0.1", "[2001:db8::1]:0"},
               {"2001:db8::2", "[2001:db8::2]:0"},
               {"10.0.0.1, 10.0.0.2", "10.0.0.1:0"},
               {"203.0.113.9, garbage, 10.0.0.2", "10.0.0.2:0"},
               {"garbage", "192.0.2.7:0"},
               {"", "192.0.2.7:0"}};
  for (const auto& one : cases) {
    head.fields.clear();
    head.fields.add("X-Forwarded-For", one.list);
    EXPECT_EQ(identify(head, connection, settings, id).client.text(), one.client) << one.list;
  }
}

TEST_F(IdentityTest, WhatATrustedProxySaysBadlyIsMadeAnew) {
  trust("192.0.2.0", 96 + 24);
  head.fields.add("X-Forwarded-Proto", "gopher");
  head.fields.add("X-Real-IP", "not an address");
  head.fields.add("X-Request-Id", "has \"quotes\"");
  (void)identify(head, connection, settings, id);
  EXPECT_EQ(value("x-forwarded-proto"), "http");
  EXPECT_EQ(value("x-real-ip"), "192.0.2.7");
  EXPECT_EQ(value("x-request-id"), "0123456789abcdef0123456789abcdef");
}

TEST_F(IdentityTest, PortsAndSchemes) {
  connection.secure = true;
  (void)identify(head, connection, settings, id);
  EXPECT_EQ(value("x-forwarded-proto"), "https");
  EXPECT_EQ(value("x-forwarded-port"), "443");
  head.fields.clear();
  head.port = 8443;
  (void)identify(head, connection, settings, id);
  EXPECT_EQ(value("x-forwarded-host"), "a.example:8443");
  EXPECT_EQ(value("x-forwarded-port"), "8443");
}

TEST_F(IdentityTest, ForwardedByOption) {
  settings.forwarded_header = true;
  head.fields.add("Forwarded", "for=forged");
  (void)identify(head, connection, settings, id);
  EXPECT_EQ(value("forwarded"), "for=192.0.2.7;host=\"a.example\";proto=http");
  trust("192.0.2.0", 96 + 24);
  trust("2001:db8::", 32);
  connection.peer = *net::Address::parse("2001:db8::5");
  head.fields.clear();
  head.fields.add("Forwarded", "for=1.2.3.4");
  (void)identify(head, connection, settings, id);
  EXPECT_EQ(value("forwarded"), "for=1.2.3.4, for=\"[2001:db8::5]\";host=\"a.example\";proto=http");
}

}  // namespace
}  // namespace sluice::worker
