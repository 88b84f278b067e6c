// The upstream side of one worker: clusters, their endpoints, idle connections, choice of endpoint, attempts. What the
// stream sees of it. Lives on the worker's thread. Clusters are made on first use, found again by (name, hash) after a
// table change, and updated in place when only endpoints change: nothing is closed by an unrelated change.
#pragma once
#include <cstdint>
#include <expected>
#include <memory>
#include <string_view>

#include "common/ir/table_view.h"
#include "dataplane/http/stream_io.h"
#include "dataplane/net/address.h"
#include "dataplane/net/reactor.h"
#include "dataplane/shared/counters.h"

namespace sluice::upstream {

class Cluster;  // cluster.h
class Endpoint;
class Connector;  // connector.h

// Kept by the stream for its whole life: what was tried, for retries and the log.
struct Attempts {
  static constexpr size_t kMax = 8;
  uint8_t count = 0;
  const Endpoint* tried[kMax]{};  // compare only
  net::Address last_address;      // of the last attempt
  uint64_t connect_us = 0;        // of the last attempt; 0 = reused connection
  bool reused = false;
};

struct AttemptOptions {
  uint32_t connect_ms = 0, response_ms = 0, idle_ms = 0;  // response: head must come within, after the request is sent
};

// HTTP/2, of one worker. The defaults are what is used outside of tests.
struct Http2Limits {
  // At once on one connection, if the peer allows as many: one lost packet stops all of them, and their windows are
  // memory.
  uint32_t streams = 256;
  // To one endpoint. Reached only by peers that allow few streams; a peer that allows none costs no more than this.
  uint32_t connections = 256;
  uint32_t idle = 2;  // to one endpoint, without streams
  // A connection so old takes no new streams: behind an address that stands for many (a load balancer, kube-proxy) the
  // next one finds those that came since. How many streams it carried is no reason: nothing wears out.
  uint64_t age_ms = 3600'000;
  // While an exchange waits and nothing came for quiet_ms a PING asks whether the peer is there; without a byte within
  // ping_ms it is not. Below the minutes after which middle boxes forget connections.
  uint64_t quiet_ms = 30'000, ping_ms = 10'000;
};

class Upstreams {
 public:
  Upstreams(net::Reactor& reactor, shared::CounterPage& counters, ChunkPool& chunks);
  // Tests: other ways to make a transport.
  Upstreams(net::Reactor& reactor, shared::CounterPage& counters, std::unique_ptr<Connector> connector);
  // Streams have ended: no exchange is active.
  ~Upstreams();

  // New state. Both views stay valid until the next call. Endpoints that are gone lose their idle connections; streams
  // in flight go on. Costs the same for 10 clusters and 10,000: those not in use are looked at a few at a time
  // afterwards.
  void apply(const ir::TableView& table, const ir::EndpointSet& endpoints);
  // For connections that are opened from now on and choices made from now on.
  void limit_http2(const Http2Limits& limits);
  // How many workers share settings.limits.upstream_idle. Default: settings.workers, or 1 if that is 0.
  void set_workers(uint32_t workers);
  // Counts apply calls: a cluster() result from another epoch has to be asked for again.
  [[nodiscard]] uint64_t epoch() const;

  // Found or made; kept alive while any stream or vhost refers to it. Null if the table has no such cluster.
  [[nodiscard]] std::shared_ptr<Cluster> cluster(std::string_view name);

  // Starts an attempt on an endpoint that was not tried yet (if all were: any). The sink is owned by Upstreams; events
  // go to `events` until the exchange ends, and one on_response_flush after the event that ended it (or in which it was
  // cancelled): `events`, `arena` and `attempts` live until then, and so do head and trailers given to
  // the sink (HTTP/2 may frame them later). Endpoints that refuse at once are noted in `attempts`
  // and another is taken. Errors: no_endpoints / service_not_found, overloaded, backend_invalid; connect_failed if
  // every endpoint refused at once. Other connect failures come later as on_exchange_error. Never calls `events`.
  [[nodiscard]] std::expected<http::RequestSink*, http::Error> start(Cluster& cluster, http::ResponseEvents& events,
                                                                     Arena& arena, Attempts& attempts,
                                                                     const AttemptOptions& options);
  [[nodiscard]] size_t idle_connections() const;
  [[nodiscard]] size_t active_exchanges() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::upstream
