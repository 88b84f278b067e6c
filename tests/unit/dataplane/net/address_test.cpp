#include "dataplane/net/address.h"

#include <gtest/gtest.h>

namespace sluice::net {
namespace {

std::string format(std::string_view literal) {
  auto address = Address::parse(literal);
  if (!address) return "refused";
  char out[46];
  return {out, address->format(out)};
}

TEST(Address, WritesTheCanonicalText) {  // RFC 5952 section 4
  EXPECT_EQ(format("10.0.0.1"), "10.0.0.1");
  EXPECT_EQ(format("255.255.255.255"), "255.255.255.255");
  EXPECT_EQ(format("0.0.0.0"), "0.0.0.0");
  EXPECT_EQ(format("::ffff:192.0.2.1"), "192.0.2.1");
  EXPECT_EQ(format("2001:DB8::1"), "2001:db8::1");
  EXPECT_EQ(format("2001:0db8:0000:0000:0000:0000:0002:0001"), "2001:db8::2:1");
  EXPECT_EQ(format("2001:db8:0:1:1:1:1:1"), "2001:db8:0:1:1:1:1:1");
  EXPECT_EQ(format("2001:0:0:1:0:0:0:1"), "2001:0:0:1::1");
  EXPECT_EQ(format("2001:db8:0:0:1:0:0:1"), "2001:db8::1:0:0:1");
  EXPECT_EQ(format("::"), "::");
  EXPECT_EQ(format("::1"), "::1");
  EXPECT_EQ(format("1::"), "1::");
  EXPECT_EQ(format("0:0:1::"), "0:0:1::");
  EXPECT_EQ(format("1:2:3:4:5:6:7:8"), "1:2:3:4:5:6:7:8");
  EXPECT_EQ(format("fe80:0:0:0:0:0:0:0"), "fe80::");
  EXPECT_EQ(format("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
}

TEST(Address, RefusesWhatIsNoLiteral) {
  for (std::string_view bad : {"", "a.example", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "0x7f.0.0.1", "127.1",
                               "[::1]", "::1%lo", "1.2.3.4:80", ":::", "1::2::3", "12345::", " 1.2.3.4", "1.2.3.4 ",
                               "1:2:3:4:5:6:7:8:9", "1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111"}) {
    EXPECT_EQ(format(bad), "refused") << bad;
  }
  EXPECT_EQ(format(std::string_view("1.2.3.4\0", 8)), "refused");
}

TEST(Address, TextWithPort) {
  Address address = *Address::parse("10.0.0.1");
  address.port = 80;
  EXPECT_EQ(address.text(), "10.0.0.1:80");
  address = *Address::parse("2001:db8::1");
  address.port = 65535;
  EXPECT_EQ(address.text(), "[2001:db8::1]:65535");
}

TEST(Address, SocketAddressAndBack) {
  for (std::string_view literal : {"10.1.2.3", "2001:db8::5"}) {
    Address address = *Address::parse(literal);
    address.port = 8443;
    sockaddr_storage storage;
    const socklen_t size = address.to_sockaddr(storage);
    EXPECT_EQ(storage.ss_family, address.is_v4() ? AF_INET : AF_INET6);
    EXPECT_GT(size, 0u);
    EXPECT_EQ(Address::from_sockaddr(storage), address);
  }
}

TEST(Cidr, ContainsByBits) {
  auto cidr = [](std::string_view network, unsigned bits) {
    Cidr c;
    c.network = *Address::parse(network);
    c.bits = static_cast<uint8_t>(bits);
    return c;
  };
  auto in = [](const Cidr& c, std::string_view a) { return c.contains(*Address::parse(a)); };
  EXPECT_TRUE(in(cidr("10.0.0.0", 96 + 8), "10.255.1.2"));
  EXPECT_FALSE(in(cidr("10.0.0.0", 96 + 8), "11.0.0.0"));
  EXPECT_TRUE(in(cidr("192.168.4.0", 96 + 22), "192.168.7.255"));
  EXPECT_FALSE(in(cidr("192.168.4.0", 96 + 22), "192.168.8.0"));
  EXPECT_TRUE(in(cidr("192.0.2.1", 128), "192.0.2.1"));
  EXPECT_FALSE(in(cidr("192.0.2.1", 128), "192.0.2.0"));
  EXPECT_TRUE(in(cidr("2001:db8::", 32), "2001:db8:ffff::1"));
  EXPECT_FALSE(in(cidr("2001:db8::", 32), "2001:db9::1"));
  EXPECT_TRUE(in(cidr("::", 0), "10.0.0.1"));
  EXPECT_FALSE(in(cidr("0.0.0.0", 96), "2001:db8::1"));
  EXPECT_TRUE(in(cidr("::1", 200), "::1"));  // more bits than there are: all of them
}

}  // namespace
}  // namespace sluice::net
