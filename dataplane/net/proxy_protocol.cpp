#include "dataplane/net/proxy_protocol.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

namespace sluice::net {
namespace {
constexpr std::string_view kV1 = "PROXY ";
constexpr std::string_view kV2("\r\n\r\n\0\r\nQUIT\n", 12);
constexpr size_t kV2Fixed = 16;
constexpr uint8_t kTlvCrc32c = 0x03;

ProxyHeader bad(ProxyFault fault) {
  return {.state = ProxyState::bad, .fault = fault, .source = {}, .destination = {}};
}
ProxyHeader more() { return {}; }

// ---------------------------------------------------------------- version 1, section 2.1
// The text up to the next space; nothing if there is none.
std::optional<std::string_view> take_word(std::string_view& rest) {
  const size_t space = rest.find(' ');
  if (space == rest.npos) return std::nullopt;
  const std::string_view word = rest.substr(0, space);
  rest.remove_prefix(space + 1);
  return word;
}

// "no leading zeroes", 0..65535.
std::optional<uint16_t> port_of(std::string_view text) {
  if (text.empty() || text.size() > 5 || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  uint32_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<uint32_t>(c - '0');
  }
  if (value > 65535) return std::nullopt;
  return static_cast<uint16_t>(value);
}

ProxyHeader parse_v1_line(std::string_view line, size_t size) {
  ProxyHeader header;
  header.state = ProxyState::done;
  header.size = size;
  // "the receiver must ignore anything presented before the CRLF".
  if (line == "UNKNOWN" || line.starts_with("UNKNOWN ")) return header;
  const auto family = take_word(line);
  if (!family || (*family != "TCP4" && *family != "TCP6")) return bad(ProxyFault::syntax);
  const auto source = take_word(line), destination = take_word(line), source_port = take_word(line);
  if (!source || !destination || !source_port) return bad(ProxyFault::syntax);
  // What is written with colons is IPv6, also when it maps an IPv4 address.
  const bool v6 = *family == "TCP6";
  for (const std::string_view text : {*source, *destination}) {
    if ((text.find(':') != text.npos) != v6) return bad(ProxyFault::address);
  }
  const auto from = Address::parse(*source), to = Address::parse(*destination);
  if (!from || !to) return bad(ProxyFault::address);
  const auto from_port = port_of(*source_port), to_port = port_of(line);
  if (!from_port || !to_port) return bad(ProxyFault::port);
  header.has_addresses = true;
  header.source = *from;
  header.source.port = *from_port;
  header.destination = *to;
  header.destination.port = *to_port;
  return header;
}

ProxyHeader parse_v1(std::string_view bytes) {
  const std::string_view window = bytes.substr(0, kMaxProxyV1);
  const size_t end = window.find('\r');
  if (end == window.npos) return window.size() == kMaxProxyV1 ? bad(ProxyFault::too_long) : more();
  if (window.substr(0, end).find('\n') != window.npos) return bad(ProxyFault::syntax);
  if (end + 1 == window.size()) return window.size() == kMaxProxyV1 ? bad(ProxyFault::too_long) : more();
  if (window[end + 1] != '\n') return bad(ProxyFault::syntax);
  return parse_v1_line(window.substr(kV1.size(), end - kV1.size()), end + 2);
}

// ---------------------------------------------------------------- version 2, section 2.2
uint8_t byte_at(std::string_view bytes, size_t i) { return static_cast<uint8_t>(bytes[i]); }
uint16_t number_at(std::string_view bytes, size_t i) {
  return static_cast<uint16_t>(byte_at(bytes, i) << 8 | byte_at(bytes, i + 1));
}

Address address_at(std::string_view bytes, size_t at, bool v6, size_t port_at) {
  Address address;
  if (v6) {
    std::memcpy(address.bytes.data(), bytes.data() + at, 16);
  } else {
    address.bytes[10] = address.bytes[11] = 0xff;
    std::memcpy(&address.bytes[12], bytes.data() + at, 4);
  }
  address.port = number_at(bytes, port_at);
  return address;
}

// CRC32C (RFC 4960 appendix B) with the four bytes at `hole` read as zero.
uint32_t crc32c(std::string_view bytes, size_t hole) {
  uint32_t crc = 0xffffffff;
  for (size_t i = 0; i < bytes.size(); ++i) {
    crc ^= i >= hole && i < hole + 4 ? 0u : byte_at(bytes, i);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1)));
  }
  return ~crc;
}

// Walks the TLVs from `at`; unknown types are skipped.
ProxyFault check_tlvs(std::string_view header, size_t at) {
  while (at != header.size()) {
    if (header.size() - at < 3) return ProxyFault::tlv;
    const size_t size = number_at(header, at + 1);
    const size_t value = at + 3;
    if (size > header.size() - value) return ProxyFault::tlv;
    if (byte_at(header, at) == kTlvCrc32c) {
      if (size != 4) return ProxyFault::tlv;
      const uint32_t sent = static_cast<uint32_t>(number_at(header, value)) << 16 | number_at(header, value + 2);
      if (crc32c(header, value) != sent) return ProxyFault::checksum;
    }
    at = value + size;
  }
  return ProxyFault::none;
}

ProxyHeader parse_v2(std::string_view bytes) {
  // Judged as early as the bytes are there.
  if (bytes.size() > 12 && byte_at(bytes, 12) != 0x20 && byte_at(bytes, 12) != 0x21) return bad(ProxyFault::version);
  const bool local = bytes.size() > 12 && byte_at(bytes, 12) == 0x20;
  size_t addresses = 0;
  bool has_addresses = false;
  if (bytes.size() > 13 && !local) {
    switch (byte_at(bytes, 13)) {
      case 0x00:
        break;  // UNSPEC
      case 0x11:
        addresses = 12, has_addresses = true;
        break;  // TCP over IPv4
      case 0x21:
        addresses = 36, has_addresses = true;
        break;  // TCP over IPv6
      case 0x31:
        addresses = 216;
        break;  // unix stream: no address of ours
      default:
        return bad(ProxyFault::family);
    }
  }
  if (bytes.size() < kV2Fixed) return more();
  const size_t size = kV2Fixed + number_at(bytes, 14);
  if (size > kMaxProxyV2) return bad(ProxyFault::too_long);
  if (size < kV2Fixed + addresses) return bad(ProxyFault::length);
  if (bytes.size() < size) return more();
  ProxyHeader header;
  header.state = ProxyState::done;
  header.size = size;
  // LOCAL and UNSPEC: "the receiver must ignore" what follows, whatever it is.
  if (local || addresses == 0) return header;
  if (const ProxyFault fault = check_tlvs(bytes.substr(0, size), kV2Fixed + addresses); fault != ProxyFault::none)
    return bad(fault);
  if (has_addresses) {
    const bool v6 = addresses == 36;
    const size_t width = v6 ? 16 : 4;
    header.has_addresses = true;
    header.source = address_at(bytes, kV2Fixed, v6, kV2Fixed + 2 * width);
    header.destination = address_at(bytes, kV2Fixed + width, v6, kV2Fixed + 2 * width + 2);
  }
  return header;
}
}  // namespace

std::string_view describe(ProxyFault fault) {
  static constexpr std::array<std::string_view, 11> kWords = {"none",
                                                              "no PROXY header",
                                                              "header too long",
                                                              "malformed line",
                                                              "bad address",
                                                              "bad port",
                                                              "bad version or command",
                                                              "unsupported family",
                                                              "header shorter than its addresses",
                                                              "malformed TLV",
                                                              "wrong checksum"};
  return kWords[static_cast<size_t>(fault)];
}

ProxyHeader parse_proxy_header(std::string_view bytes) {
  auto begins = [&](std::string_view signature) {
    const size_t n = std::min(bytes.size(), signature.size());
    return bytes.substr(0, n) == signature.substr(0, n);
  };
  if (bytes.empty()) return more();
  if (begins(kV1)) return bytes.size() < kV1.size() ? more() : parse_v1(bytes);
  if (begins(kV2)) return bytes.size() < kV2.size() ? more() : parse_v2(bytes);
  return bad(ProxyFault::signature);
}

}  // namespace sluice::net
