// An IP address and port as values: 16 bytes, IPv4 as ::ffff:a.b.c.d. No host names, no resolution.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <sys/socket.h>

namespace sluice::net {

struct Address {
  std::array<uint8_t, 16> bytes{};
  uint16_t port = 0;
  [[nodiscard]] bool is_v4() const;
  bool operator==(const Address&) const = default;

  [[nodiscard]] static Address from_sockaddr(const sockaddr_storage& from);
  // Returns the length used.
  socklen_t to_sockaddr(sockaddr_storage& to) const;
  // "10.0.0.1", "2001:db8::1" (RFC 5952); no port. Needs at most 46 bytes; returns how many were written.
  size_t format(char* out) const;
  [[nodiscard]] std::string text() const;  // with port: "10.0.0.1:80", "[2001:db8::1]:80"
  // A literal address without port.
  [[nodiscard]] static std::optional<Address> parse(std::string_view literal);
};

struct Cidr {
  Address network;
  uint8_t bits = 0;  // of 128; IPv4: 96 + n
  [[nodiscard]] bool contains(const Address& address) const;
};

}  // namespace sluice::net
