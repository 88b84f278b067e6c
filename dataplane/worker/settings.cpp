#include "dataplane/worker/settings.h"

#include <algorithm>

namespace sluice::worker {
namespace {

std::string_view view_of(const flatbuffers::String* text) {
  return text == nullptr ? std::string_view() : std::string_view(text->data(), text->size());
}

std::vector<net::Cidr> read_cidrs(const flatbuffers::Vector<flatbuffers::Offset<ir::Cidr>>* from) {
  std::vector<net::Cidr> list;
  if (from == nullptr) return list;
  for (const ir::Cidr* one : *from) {
    if (one->address() == nullptr) continue;
    net::Cidr cidr;
    for (unsigned i = 0; i < 8; ++i) {
      cidr.network.bytes[i] = static_cast<uint8_t>(one->address()->high() >> (56 - 8 * i));
      cidr.network.bytes[8 + i] = static_cast<uint8_t>(one->address()->low() >> (56 - 8 * i));
    }
    cidr.bits = one->bits();
    list.push_back(cidr);
  }
  return list;
}

}  // namespace

FixedAnswer fixed_answer(const ir::DirectResponse& from, http::Reason fallback) {
  const http::Reason named = from.reason() == nullptr ? http::Reason::none : http::reason_of(view_of(from.reason()));
  return {named != http::Reason::none ? named : fallback, from.status(), view_of(from.content_type()),
          view_of(from.body())};
}

void read_settings(const ir::RouteTable& table, Settings& to) {
  to = {};
  if (const ir::DirectResponse* answer = table.not_found(); answer != nullptr) {
    to.not_found = fixed_answer(*answer, http::Reason::no_route);
    to.not_found_type = to.not_found.content_type;
    to.not_found_body = to.not_found.body;
    to.not_found.content_type = to.not_found_type;
    to.not_found.body = to.not_found_body;
  }
  const ir::Settings* from = table.settings();
  if (from == nullptr) return;
  if (const ir::TimeoutSettings* timeouts = from->timeouts(); timeouts != nullptr) {
    to.request_header_ms = timeouts->request_header();
    to.request_body_idle_ms = timeouts->request_body_idle();
    to.keep_alive_ms = timeouts->keep_alive();
    to.upstream_response_ms = timeouts->upstream_response();
    to.request_ms = timeouts->request();
    to.tls_handshake_ms = timeouts->tls_handshake();
    to.tunnel_idle_ms = timeouts->tunnel_idle();
    to.queue_delay_ms = timeouts->queue_delay();
  }
  if (const ir::LimitSettings* limits = from->limits(); limits != nullptr) {
    to.limits = {limits->header_bytes(), limits->header_count(), limits->request_line()};
    to.body_bytes = limits->body_bytes();
    to.connections = limits->connections();
    to.min_body_rate = limits->min_body_rate();
  }
  if (const ir::Http2Settings* http2 = from->http2(); http2 != nullptr) {
    to.http2_enabled = http2->enabled();
    to.http2_cleartext = http2->cleartext();
    to.h2_concurrent_streams = http2->concurrent_streams();
    to.h2_stream_window = http2->stream_window();
    to.h2_connection_window = http2->connection_window();
    to.h2_extended_connect = http2->extended_connect();
  }
  to.drain_ms = from->drain_ms();
  to.trusted_proxies = read_cidrs(from->trusted_proxies());
  to.proxy_protocol = read_cidrs(from->proxy_protocol());
  to.forwarded_header = from->forwarded_header();
  to.even_connections = from->connection_balance() == ir::ConnectionBalance::Even;
}

bool contains(const std::vector<net::Cidr>& list, const net::Address& address) {
  return std::any_of(list.begin(), list.end(), [&](const net::Cidr& cidr) { return cidr.contains(address); });
}

}  // namespace sluice::worker
