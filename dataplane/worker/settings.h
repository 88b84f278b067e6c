// What a worker needs of the table's settings at run time, copied: nothing here points into the mapping. Replaced whole
// between two events.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "common/ir/route_table_generated.h"
#include "dataplane/http/error.h"
#include "dataplane/http/h1/codec.h"
#include "dataplane/net/address.h"

namespace sluice::worker {

// An answer that the table gives by name of its reason.
struct FixedAnswer {
  http::Reason reason = http::Reason::none;
  uint16_t status = 0;
  std::string_view content_type, body;
};
// Views into the table. `fallback`: when the reason's word is not one of ours.
[[nodiscard]] FixedAnswer fixed_answer(const ir::DirectResponse& from, http::Reason fallback);

struct Settings {
  uint32_t request_header_ms = 10000, request_body_idle_ms = 30000, keep_alive_ms = 75000, upstream_response_ms = 60000,
           request_ms = 0, tls_handshake_ms = 10000, tunnel_idle_ms = 3'600'000, drain_ms = 30000, queue_delay_ms = 100;
  http::h1::Limits limits;
  uint64_t body_bytes = 0;     // 0 = no limit
  uint32_t connections = 0;    // 0 = no limit of ours
  uint32_t min_body_rate = 0;  // bytes per second; 0 = no limit
  bool http2_enabled = true, http2_cleartext = true, h2_extended_connect = true;
  uint32_t h2_concurrent_streams = 100, h2_stream_window = 65536, h2_connection_window = 1048576;
  std::vector<net::Cidr> trusted_proxies, proxy_protocol;
  bool forwarded_header = false;
  bool even_connections = false;  // connections.balance
  // Nothing matched.
  FixedAnswer not_found{http::Reason::no_route, 0, {}, {}};
  std::string not_found_type, not_found_body;  // what its views point to
};

// Replaces `to`.
void read_settings(const ir::RouteTable& table, Settings& to);
[[nodiscard]] bool contains(const std::vector<net::Cidr>& list, const net::Address& address);

}  // namespace sluice::worker
