#include "dataplane/worker/route_runtime.h"

namespace sluice::worker {
namespace {

http::RetryPolicy read_retry(const ir::Retry* from) {
  http::RetryPolicy policy;
  if (from == nullptr) return policy;
  policy.configured = true;
  policy.attempts = from->attempts();
  policy.on_non_idempotent = from->on_non_idempotent();
  policy.backoff_ms = from->backoff_ms();
  // Read in place: flatbuffers are little-endian like everything we run on.
  static_assert(FLATBUFFERS_LITTLEENDIAN);
  if (from->statuses() != nullptr) policy.statuses = {from->statuses()->data(), from->statuses()->size()};
  return policy;
}

static_assert(static_cast<int>(Priority::sheddable) == static_cast<int>(ir::Priority::Sheddable) &&
              static_cast<int>(Priority::standard) == static_cast<int>(ir::Priority::Standard) &&
              static_cast<int>(Priority::critical) == static_cast<int>(ir::Priority::Critical));

}  // namespace

RouteRuntime::RouteRuntime(const ir::Route& route, const filters::Environment& environment)
    : route_(route),
      filters_(route, environment),
      counters_(shared::route_slots(*environment.counters,
                                    route.metric() == nullptr ? std::string_view() : route.metric()->string_view())),
      retry_(read_retry(route.retry())),
      priority_(static_cast<Priority>(route.priority())) {
  const ir::Forward* forward = route.action_as_Forward();
  if (forward == nullptr || forward->backends() == nullptr) return;
  for (const ir::Backend* backend : *forward->backends()) {
    // The control plane bounds weights; a sum over 32 bits would only make the last ones rarer.
    const uint32_t weight = std::min(backend->weight(), UINT32_MAX - weights_);
    weights_ += weight;
    backends_.push_back({backend, weight, 0, nullptr});
  }
}

RouteRuntime& RouteRuntime::of(route::VirtualHost& host, uint32_t index, const filters::Environment& environment) {
  std::unique_ptr<route::RouteState>& state = host.state(index);
  if (state == nullptr) state = std::make_unique<RouteRuntime>(*host.route(index), environment);
  return static_cast<RouteRuntime&>(*state);
}

RouteRuntime::Backend* RouteRuntime::choose(Random& random, upstream::Upstreams& upstreams) {
  if (weights_ == 0) return nullptr;
  uint32_t at = backends_.size() == 1 ? 0 : random.below(weights_);
  for (Backend& backend : backends_) {
    if (at >= backend.weight) {
      at -= backend.weight;
      continue;
    }
    if (backend.epoch != upstreams.epoch()) {
      backend.epoch = upstreams.epoch();
      backend.cluster =
          backend.config->cluster() == nullptr ? nullptr : upstreams.cluster(backend.config->cluster()->string_view());
    }
    return &backend;
  }
  return nullptr;
}

}  // namespace sluice::worker
