#include "dataplane/net/address.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace sluice::net {
namespace {
constexpr std::array<uint8_t, 12> kV4Prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

char* put_decimal(char* out, unsigned value) {
  char digits[10];
  size_t n = 0;
  do digits[n++] = static_cast<char>('0' + value % 10);
  while ((value /= 10) != 0);
  while (n > 0) *out++ = digits[--n];
  return out;
}

char* put_hex(char* out, unsigned group) {
  bool started = false;
  for (int shift = 12; shift >= 0; shift -= 4) {
    const unsigned digit = group >> shift & 15u;
    if (!started && digit == 0 && shift != 0) continue;
    started = true;
    *out++ = "0123456789abcdef"[digit];
  }
  return out;
}

// RFC 5952: lower case, no leading zeros, the longest run of at least two zero groups (the first of equals) as "::".
char* put_v6(char* out, const std::array<uint8_t, 16>& bytes) {
  unsigned groups[8];
  for (size_t i = 0; i < 8; ++i) groups[i] = static_cast<unsigned>(bytes[2 * i] << 8 | bytes[2 * i + 1]);
  size_t best = 8, best_size = 1;
  for (size_t i = 0; i < 8;) {
    size_t end = i;
    while (end < 8 && groups[end] == 0) ++end;
    if (end - i > best_size) {
      best = i;
      best_size = end - i;
    }
    i = std::max(end, i + 1);
  }
  for (size_t i = 0; i < 8;) {
    if (i == best) {
      *out++ = ':';
      *out++ = ':';
      i += best_size;
      continue;
    }
    if (i != 0 && i != best + best_size) *out++ = ':';
    out = put_hex(out, groups[i++]);
  }
  return out;
}
}  // namespace

bool Address::is_v4() const { return std::equal(kV4Prefix.begin(), kV4Prefix.end(), bytes.begin()); }

Address Address::from_sockaddr(const sockaddr_storage& from) {
  Address address;
  if (from.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(from);
    std::copy(kV4Prefix.begin(), kV4Prefix.end(), address.bytes.begin());
    std::memcpy(&address.bytes[12], &v4.sin_addr, 4);
    address.port = ntohs(v4.sin_port);
  } else if (from.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(from);
    std::memcpy(address.bytes.data(), &v6.sin6_addr, 16);
    address.port = ntohs(v6.sin6_port);
  }
  return address;
}

socklen_t Address::to_sockaddr(sockaddr_storage& to) const {
  std::memset(&to, 0, sizeof to);
  if (is_v4()) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(to);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, &bytes[12], 4);
    return sizeof v4;
  }
  auto& v6 = reinterpret_cast<sockaddr_in6&>(to);
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  std::memcpy(&v6.sin6_addr, bytes.data(), 16);
  return sizeof v6;
}

size_t Address::format(char* out) const {
  char* at = out;
  if (is_v4()) {
    for (size_t i = 12; i < 16; ++i) {
      if (i != 12) *at++ = '.';
      at = put_decimal(at, bytes[i]);
    }
  } else {
    at = put_v6(at, bytes);
  }
  return static_cast<size_t>(at - out);
}

std::string Address::text() const {
  char buffer[64];
  char* at = buffer;
  const bool v4 = is_v4();
  if (!v4) *at++ = '[';
  at += format(at);
  if (!v4) *at++ = ']';
  *at++ = ':';
  at = put_decimal(at, port);
  return {buffer, at};
}

std::optional<Address> Address::parse(std::string_view literal) {
  char text[INET6_ADDRSTRLEN];
  if (literal.empty() || literal.size() >= sizeof text || literal.find('\0') != literal.npos) return std::nullopt;
  std::memcpy(text, literal.data(), literal.size());
  text[literal.size()] = '\0';
  Address address;
  in_addr v4{};
  // inet_pton takes exactly four decimal parts: no octal, no short forms, no zone.
  if (inet_pton(AF_INET, text, &v4) == 1) {
    std::copy(kV4Prefix.begin(), kV4Prefix.end(), address.bytes.begin());
    std::memcpy(&address.bytes[12], &v4, 4);
    return address;
  }
  if (inet_pton(AF_INET6, text, address.bytes.data()) == 1) return address;
  return std::nullopt;
}

bool Cidr::contains(const Address& address) const {
  const size_t whole = std::min<size_t>(bits, 128) / 8;
  if (std::memcmp(network.bytes.data(), address.bytes.data(), whole) != 0) return false;
  const unsigned rest = whole == 16 ? 0 : bits % 8u;
  if (rest == 0) return true;
  const auto mask = static_cast<uint8_t>(0xffu << (8 - rest));
  return ((network.bytes[whole] ^ address.bytes[whole]) & mask) == 0;
}

}  // namespace sluice::net
