// Choice of an endpoint. Pure but for the round robin position and the random state; knows nothing of connections.
#pragma once
#include <cstdint>

#include "dataplane/upstream/cluster.h"
#include "dataplane/upstream/upstream.h"

namespace sluice::upstream {

// xorshift64*: good enough to spread load; never for secrets.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed | 1) {}
  uint32_t below(uint32_t n) {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return static_cast<uint32_t>(((state_ * 0x2545F4914F6CDD1Du >> 32) * n) >> 32);
  }

 private:
  uint64_t state_;
};

[[nodiscard]] bool was_tried(const Attempts& attempts, const Endpoint* endpoint);

// A ready endpoint that was not tried; any ready one if all were; null if none is ready. LeastRequest: of two at random
// the one with fewer exchanges.
[[nodiscard]] Endpoint* choose(Cluster& cluster, const Attempts& attempts, Random& random);

}  // namespace sluice::upstream
