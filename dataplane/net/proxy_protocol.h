// The PROXY protocol header, versions 1 and 2 (haproxy's doc/proxy-protocol.txt): bytes in, addresses out, no I/O.
// Strict and bounded: whoever is trusted to send one sends a right one, or the connection ends. Only peers in
// Settings.proxy_protocol get here.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dataplane/net/address.h"

namespace sluice::net {

inline constexpr size_t kMaxProxyV1 = 107;   // with CRLF
inline constexpr size_t kMaxProxyV2 = 4096;  // ours: 16 bytes, addresses and all TLVs; the protocol would allow 64 KiB

enum class ProxyState : uint8_t { more, done, bad };
enum class ProxyFault : uint8_t {
  none,
  signature,  // neither version's beginning
  too_long,
  syntax,   // version 1's line
  address,  // not a literal of the family that was named
  port,
  version,   // version 2's version or command
  family,    // version 2: datagrams, or a family that does not exist
  length,    // version 2: shorter than its addresses
  tlv,       // version 2: a TLV that ends outside the header
  checksum,  // version 2: CRC32C
};
[[nodiscard]] std::string_view describe(ProxyFault fault);

struct ProxyHeader {
  ProxyState state = ProxyState::more;
  ProxyFault fault = ProxyFault::none;
  size_t size = 0;             // done: bytes of the header
  bool has_addresses = false;  // false: LOCAL, UNKNOWN, unix sockets: the socket's own addresses hold
  Address source, destination;
};

// `bytes` begins with the connection's first byte. ProxyState::more: all of it belongs to the header, and there is more
// of it to come.
[[nodiscard]] ProxyHeader parse_proxy_header(std::string_view bytes);

}  // namespace sluice::net
