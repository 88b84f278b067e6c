// The upstream side of one worker: clusters, their endpoints, idle connections, choice of endpoint, attempts. What the stream sees of it.
// Lives on the worker's thread. Clusters are made on first use, found again by (name, hash) after a table change, and updated in place when only
// endpoints change: nothing is closed by an unrelated change.
#pragma once
#include <cstdint>
#include <expected>
#include <memory>
#include <string_view>

#include "common/ir/route_table_generated.h"
#include "dataplane/http/stream_io.h"
#include "dataplane/net/address.h"
#include "dataplane/net/reactor.h"
#include "dataplane/shared/counters.h"

namespace sluice::upstream {

class Cluster;   // cluster.h
class Endpoint;

// Kept by the stream for its whole life: what was tried, for retries and the log.
struct Attempts {
  static constexpr size_t kMax = 8;
  uint8_t count = 0;
  const Endpoint* tried[kMax]{};       // compare only
  net::Address last_address;           // of the last attempt
  uint64_t connect_us = 0;             // of the last attempt; 0 = reused connection
  bool reused = false;
};

struct AttemptOptions {
  uint32_t connect_ms = 0, response_ms = 0, idle_ms = 0;   // response: head must come within, after the request is sent
};

class Upstreams {
 public:
  // `idle_cap`: idle connections this worker may keep over all clusters.
  Upstreams(net::Reactor& reactor, shared::CounterPage& counters, ChunkPool& chunks);
  ~Upstreams();

  // New state. Both views stay valid until the next call. Endpoints that are gone lose their idle connections; streams in flight go on.
  void apply(const ir::RouteTable& table, const ir::EndpointSet& endpoints);

  // Found or made; kept alive while any stream or vhost refers to it. Null if the table has no such cluster.
  [[nodiscard]] std::shared_ptr<Cluster> cluster(std::string_view name);

  // Starts an attempt on an endpoint that was not tried yet (if all were: any). The sink is owned by Upstreams; events go to `events` until the
  // exchange ends. Errors: no_endpoints / service_not_found, overloaded. Connect failures come later as on_exchange_error.
  [[nodiscard]] std::expected<http::RequestSink*, http::Error> start(Cluster& cluster, http::ResponseEvents& events, Arena& arena, Attempts& attempts,
                                                                    const AttemptOptions& options);
  [[nodiscard]] size_t idle_connections() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::upstream
