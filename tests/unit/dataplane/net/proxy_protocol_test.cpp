#include "dataplane/net/proxy_protocol.h"

#include <string>

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "common/base/unique_fd.h"
#include "dataplane/net/proxy_reader.h"

namespace sluice::net {
namespace {

std::string v2(uint8_t command, uint8_t family, const std::string& body) {
  std::string header("\r\n\r\n\0\r\nQUIT\n", 12);
  header += static_cast<char>(command);
  header += static_cast<char>(family);
  header += static_cast<char>(body.size() >> 8);
  header += static_cast<char>(body.size() & 0xff);
  return header + body;
}
std::string tlv(uint8_t type, const std::string& value) {
  std::string out(1, static_cast<char>(type));
  out += static_cast<char>(value.size() >> 8);
  out += static_cast<char>(value.size() & 0xff);
  return out + value;
}
const std::string kV4Body("\xC0\x00\x02\x01\x0A\x00\x00\x02\x1F\x90\x01\xBB", 12);  // 192.0.2.1:8080 -> 10.0.0.2:443
std::string v6_body() {
  std::string body = std::string("\x20\x01\x0d\xb8", 4) + std::string(11, '\0') + "\x01";
  body += std::string(15, '\0') + "\x01";
  return body + std::string("\x1F\x90\x01\xBB", 4);
}

// The fault of complete bytes; every proper prefix must ask for more or name the same fault.
ProxyFault fault_of(const std::string& bytes) {
  const ProxyHeader whole = parse_proxy_header(bytes);
  EXPECT_EQ(whole.state, ProxyState::bad) << bytes;
  for (size_t n = 0; n < bytes.size(); ++n) {
    const ProxyHeader part = parse_proxy_header(std::string_view(bytes).substr(0, n));
    EXPECT_NE(part.state, ProxyState::done) << bytes << " at " << n;
    if (part.state == ProxyState::bad) {
      EXPECT_EQ(part.fault, whole.fault) << bytes << " at " << n;
    }
  }
  return whole.fault;
}
ProxyHeader good(const std::string& bytes) {
  for (size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_EQ(parse_proxy_header(std::string_view(bytes).substr(0, n)).state, ProxyState::more) << bytes << " at " << n;
  }
  const ProxyHeader header = parse_proxy_header(bytes + "GET / HTTP/1.1\r\n");
  EXPECT_EQ(header.state, ProxyState::done) << bytes << ": " << describe(header.fault);
  EXPECT_EQ(header.size, bytes.size());
  return header;
}

TEST(ProxyV1, Addresses) {  // section 2.1
  ProxyHeader header = good("PROXY TCP4 192.0.2.1 10.0.0.2 56324 443\r\n");
  EXPECT_TRUE(header.has_addresses);
  EXPECT_EQ(header.source.text(), "192.0.2.1:56324");
  EXPECT_EQ(header.destination.text(), "10.0.0.2:443");
  header = good("PROXY TCP6 2001:db8::1 ::1 0 65535\r\n");
  EXPECT_EQ(header.source.text(), "[2001:db8::1]:0");
  EXPECT_EQ(header.destination.text(), "[::1]:65535");
  header = good(
      "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n");
  EXPECT_TRUE(header.has_addresses);
}

TEST(ProxyV1, UnknownMeansTheSocketsOwn) {
  EXPECT_FALSE(good("PROXY UNKNOWN\r\n").has_addresses);
  EXPECT_FALSE(good("PROXY UNKNOWN ffff:ffff::1 whatever 1 2\r\n").has_addresses);
}

TEST(ProxyV1, Faults) {
  for (const char* line :
       {"PROXY \r\n", "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", "PROXY TCP4\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n", "PROXY UNKNOWNX\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rX"}) {
    EXPECT_EQ(fault_of(line), ProxyFault::syntax) << line;
  }
  for (const char* line :
       {"PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n", "PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n", "PROXY TCP4 ::1 1.2.3.4 1 2\r\n",
        "PROXY TCP6 1.2.3.4 ::1 1 2\r\n", "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n", "PROXY TCP6 ::g ::1 1 2\r\n",
        "PROXY TCP4 ::ffff:1.2.3.4 1.2.3.4 1 2\r\n"}) {
    EXPECT_EQ(fault_of(line), ProxyFault::address) << line;
  }
  for (const char* line : {"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 02\r\n",
                           "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
                           "PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n"}) {
    EXPECT_EQ(fault_of(line), ProxyFault::port) << line;
  }
  EXPECT_EQ(fault_of("PROXY UNKNOWN " + std::string(200, 'x') + "\r\n"), ProxyFault::too_long);
  EXPECT_EQ(fault_of("PROXY TCP4 1.2.3.4 1.2.3.4 1 2" + std::string(100, '0')), ProxyFault::too_long);
  EXPECT_EQ(fault_of("GET / HTTP/1.1\r\n"), ProxyFault::signature);
  EXPECT_EQ(fault_of("PROXX"), ProxyFault::signature);
  EXPECT_EQ(fault_of("\r\n\r\n\r\n"), ProxyFault::signature);
}

TEST(ProxyV2, Addresses) {  // section 2.2
  ProxyHeader header = good(v2(0x21, 0x11, kV4Body));
  EXPECT_TRUE(header.has_addresses);
  EXPECT_EQ(header.source.text(), "192.0.2.1:8080");
  EXPECT_EQ(header.destination.text(), "10.0.0.2:443");
  header = good(v2(0x21, 0x21, v6_body()));
  EXPECT_EQ(header.source.text(), "[2001:db8::1]:8080");
  EXPECT_EQ(header.destination.text(), "[::1]:443");
  header = good(v2(0x21, 0x11, kV4Body + tlv(0x04, "padding") + tlv(0xE0, std::string(3000, 'x')) + tlv(0x01, "")));
  EXPECT_EQ(header.source.text(), "192.0.2.1:8080");
}

TEST(ProxyV2, LocalAndOthersMeanTheSocketsOwn) {
  EXPECT_FALSE(good(v2(0x20, 0x00, "")).has_addresses);
  EXPECT_FALSE(good(v2(0x20, 0x11, kV4Body)).has_addresses) << "LOCAL: the addresses are to be ignored";
  EXPECT_FALSE(good(v2(0x20, 0xFF, "anything")).has_addresses);
  EXPECT_FALSE(good(v2(0x21, 0x00, "anything")).has_addresses);
  EXPECT_FALSE(good(v2(0x21, 0x31, std::string(216, 'u'))).has_addresses);
}

TEST(ProxyV2, Checksum) {
  // RFC 4960 appendix B; "123456789" has the CRC32C e3069283, seen here through a whole header.
  std::string body = kV4Body + tlv(0x03, std::string(4, '\0'));
  std::string header = v2(0x21, 0x11, body);
  uint32_t crc = 0xffffffff;
  for (const char c : header) {
    crc ^= static_cast<uint8_t>(c);
    for (int i = 0; i < 8; ++i) crc = (crc & 1) != 0 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
  }
  crc = ~crc;
  for (size_t i = 0; i < 4; ++i) header[header.size() - 4 + i] = static_cast<char>(crc >> (24 - 8 * i));
  EXPECT_TRUE(good(header).has_addresses);
  header.back() = static_cast<char>(header.back() ^ 1);
  EXPECT_EQ(fault_of(header), ProxyFault::checksum);
  EXPECT_EQ(fault_of(v2(0x21, 0x11, kV4Body + tlv(0x03, "abc"))), ProxyFault::tlv);
}

TEST(ProxyV2, Faults) {
  EXPECT_EQ(fault_of(v2(0x31, 0x11, kV4Body)), ProxyFault::version);
  EXPECT_EQ(fault_of(v2(0x22, 0x11, kV4Body)), ProxyFault::version);
  EXPECT_EQ(fault_of(v2(0x21, 0x12, kV4Body)), ProxyFault::family) << "datagrams";
  EXPECT_EQ(fault_of(v2(0x21, 0x41, kV4Body)), ProxyFault::family);
  EXPECT_EQ(fault_of(v2(0x21, 0x11, kV4Body.substr(0, 11))), ProxyFault::length);
  EXPECT_EQ(fault_of(v2(0x21, 0x21, kV4Body)), ProxyFault::length);
  EXPECT_EQ(fault_of(v2(0x21, 0x11, kV4Body + "xx")), ProxyFault::tlv);
  EXPECT_EQ(fault_of(v2(0x21, 0x11, kV4Body + std::string("\x01\x00\x05hi", 5))), ProxyFault::tlv);
  EXPECT_EQ(fault_of(v2(0x21, 0x11, std::string(5000, '\0'))), ProxyFault::too_long);
  EXPECT_EQ(fault_of(v2(0x20, 0x00, std::string(60000, 'x'))), ProxyFault::too_long);
}

// Any change of any byte: no crash, never more consumed than given, never more wanted than the bound.
TEST(Proxy, MutatedHeaders) {
  const std::string seeds[] = {"PROXY TCP4 192.0.2.1 10.0.0.2 56324 443\r\n",
                               "PROXY TCP6 2001:db8::1 ::1 1 65535\r\n",
                               "PROXY UNKNOWN\r\n",
                               v2(0x21, 0x11, kV4Body + tlv(3, "abcd") + tlv(4, "zz")),
                               v2(0x21, 0x21, v6_body() + tlv(0x20, std::string(40, 's'))),
                               v2(0x20, 0, "")};
  uint32_t random = 1;
  auto next = [&] { return (random = random * 1664525 + 1013904223) >> 8; };
  size_t done = 0, refused = 0;
  for (const std::string& seed : seeds) {
    for (int round = 0; round < 20'000; ++round) {
      std::string bytes = seed;
      for (uint32_t edits = next() % 3 + 1; edits > 0; --edits) {
        const size_t at = next() % bytes.size();
        switch (next() % 4) {
          case 0:
            bytes[at] = static_cast<char>(next());
            break;
          case 1:
            bytes.insert(at, 1, static_cast<char>(next()));
            break;
          case 2:
            if (bytes.size() > 1) bytes.erase(at, 1);
            break;
          default:
            bytes += std::string(next() % 300, static_cast<char>(next()));
            break;
        }
      }
      const ProxyHeader header = parse_proxy_header(bytes);
      if (header.state == ProxyState::done) {
        ++done;
        ASSERT_GT(header.size, 0u);
        ASSERT_LE(header.size, bytes.size());
        ASSERT_LE(header.size, kMaxProxyV2);
        // The same header alone gives the same.
        const ProxyHeader alone = parse_proxy_header(std::string_view(bytes).substr(0, header.size));
        ASSERT_EQ(alone.state, ProxyState::done);
        ASSERT_EQ(alone.source, header.source);
      } else if (header.state == ProxyState::bad) {
        ++refused;
        ASSERT_NE(header.fault, ProxyFault::none);
      } else {
        ASSERT_LT(bytes.size(), kMaxProxyV2);
      }
    }
  }
  EXPECT_GT(done, 1000u);
  EXPECT_GT(refused, 10'000u);
}

TEST(ProxyReader, TakesTheHeaderAndNothingElse) {
  for (const std::string& header :
       {std::string("PROXY TCP4 192.0.2.1 10.0.0.2 56324 443\r\n"), v2(0x21, 0x11, kV4Body)}) {
    for (size_t split = 1; split <= header.size(); ++split) {
      int fds[2];
      ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
      const UniqueFd ours(fds[0]), theirs(fds[1]);
      ProxyReader reader;
      EXPECT_EQ(reader.read(ours.get()), ProxyReader::State::again);
      const std::string all = header + "rest";
      ASSERT_EQ(::write(theirs.get(), all.data(), split), static_cast<ssize_t>(split));
      ProxyReader::State state = reader.read(ours.get());
      if (split < header.size()) {
        EXPECT_EQ(state, ProxyReader::State::again);
        char byte;
        EXPECT_EQ(::recv(ours.get(), &byte, 1, MSG_PEEK), -1) << "nothing is left to wake us";
        ASSERT_GT(::write(theirs.get(), all.data() + split, all.size() - split), 0);
        state = reader.read(ours.get());
      } else {
        ASSERT_GT(::write(theirs.get(), "rest", 4), 0);
      }
      ASSERT_EQ(state, ProxyReader::State::done);
      EXPECT_EQ(reader.header().source.text().substr(0, 9), "192.0.2.1");
      char buffer[16];
      EXPECT_EQ(::recv(ours.get(), buffer, sizeof buffer, 0), 4);
    }
  }
}

TEST(ProxyReader, EndsAndFaults) {
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
  const UniqueFd ours(fds[0]);
  UniqueFd theirs(fds[1]);
  ProxyReader reader;
  ASSERT_EQ(::write(theirs.get(), "PROX", 4), 4);
  EXPECT_EQ(reader.read(ours.get()), ProxyReader::State::again);
  ASSERT_EQ(::write(theirs.get(), "!", 1), 1);
  EXPECT_EQ(reader.read(ours.get()), ProxyReader::State::bad);
  EXPECT_EQ(reader.header().fault, ProxyFault::signature);
  ProxyReader other;
  char drop[8];
  EXPECT_EQ(::recv(ours.get(), drop, sizeof drop, 0), 1);
  theirs.reset();
  EXPECT_EQ(other.read(ours.get()), ProxyReader::State::closed);
}

}  // namespace
}  // namespace sluice::net
