// What a worker prepares for a route at its first use: filters, counter slots, backends, policies in the stream's
// words. Kept in the virtual host (RouteState), so it lives and dies with it. Clusters are asked for again after each
// new state (Upstreams::epoch).
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "dataplane/filters/chain.h"
#include "dataplane/http/environment.h"
#include "dataplane/route/virtual_host.h"
#include "dataplane/shared/counters.h"
#include "dataplane/upstream/cluster.h"
#include "dataplane/upstream/upstream.h"
#include "dataplane/worker/overload.h"
#include "dataplane/worker/random.h"
#include "dataplane/worker/settings.h"

namespace sluice::worker {

class RouteRuntime final : public route::RouteState {
 public:
  struct Backend {
    const ir::Backend* config = nullptr;
    uint32_t weight = 0;
    uint64_t epoch = 0;                          // of `cluster`
    std::shared_ptr<upstream::Cluster> cluster;  // null: the table has none of that name
  };

  RouteRuntime(const ir::Route& route, const filters::Environment& environment);
  // The route's own, made at first use.
  [[nodiscard]] static RouteRuntime& of(route::VirtualHost& host, uint32_t index,
                                        const filters::Environment& environment);

  [[nodiscard]] const ir::Route& route() const { return route_; }
  [[nodiscard]] const filters::RouteFilters& filters() const { return filters_; }
  [[nodiscard]] const shared::RouteSlots& counters() const { return counters_; }
  [[nodiscard]] const http::RetryPolicy& retry() const { return retry_; }
  [[nodiscard]] Priority priority() const { return priority_; }
  // By weight; null if no backend has any. Its cluster is of the present state.
  [[nodiscard]] Backend* choose(Random& random, upstream::Upstreams& upstreams);

 private:
  const ir::Route& route_;
  filters::RouteFilters filters_;
  shared::RouteSlots counters_;
  http::RetryPolicy retry_;
  std::vector<Backend> backends_;
  uint32_t weights_ = 0;
  Priority priority_;
};

}  // namespace sluice::worker
