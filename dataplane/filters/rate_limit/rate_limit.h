// Refuses requests beyond the token buckets of the route's limits; says in fields what is left. See README.md.
#pragma once
#include <memory>

#include "dataplane/filters/chain.h"

namespace sluice::filters {
[[nodiscard]] std::unique_ptr<Factory> prepare_rate_limit(const ir::Filter& config, const Environment& environment);
}  // namespace sluice::filters
