#include "dataplane/upstream/lb.h"

#include <algorithm>

namespace sluice::upstream {
namespace {

Endpoint* less_busy(Endpoint* a, Endpoint* b) { return b->active < a->active ? b : a; }

Endpoint* two_choices(const std::vector<Endpoint*>& ready, Random& random) {
  const auto count = static_cast<uint32_t>(ready.size());
  if (count == 1) return ready[0];
  const uint32_t first = random.below(count);
  uint32_t second = random.below(count - 1);
  if (second >= first) ++second;  // two different ones
  return less_busy(ready[first], ready[second]);
}

// Two at random among those not tried, in one pass: only retries come here.
Endpoint* two_choices_untried(const std::vector<Endpoint*>& ready, const Attempts& attempts, Random& random) {
  Endpoint* picked[2] = {};
  uint32_t seen = 0;
  for (Endpoint* endpoint : ready) {
    if (was_tried(attempts, endpoint)) continue;
    ++seen;
    if (seen <= 2) picked[seen - 1] = endpoint;
    else if (const uint32_t slot = random.below(seen); slot < 2) picked[slot] = endpoint;
  }
  if (seen == 0) return nullptr;
  if (seen == 1) return picked[0];
  return random.below(2) == 0 ? less_busy(picked[0], picked[1]) : less_busy(picked[1], picked[0]);
}

}  // namespace

bool was_tried(const Attempts& attempts, const Endpoint* endpoint) {
  const auto end = attempts.tried + std::min<size_t>(attempts.count, Attempts::kMax);
  return std::find(attempts.tried, end, endpoint) != end;
}

Endpoint* choose(Cluster& cluster, const Attempts& attempts, Random& random) {
  const std::vector<Endpoint*>& ready = cluster.ready();
  if (ready.empty()) return nullptr;
  if (cluster.lb() == ir::LbPolicy::RoundRobin) {
    for (size_t i = 0; i < ready.size(); ++i) {
      Endpoint* const endpoint = ready[cluster.next++ % ready.size()];
      if (!was_tried(attempts, endpoint)) return endpoint;
    }
    return ready[cluster.next++ % ready.size()];
  }
  if (attempts.count > 0) {
    if (Endpoint* const endpoint = two_choices_untried(ready, attempts, random); endpoint != nullptr) return endpoint;
  }
  return two_choices(ready, random);
}

}  // namespace sluice::upstream
