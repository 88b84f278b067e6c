// Exercises every part of http/filter.h; for tests only, no object of Kubernetes leads to it. See README.md.
#pragma once
#include <memory>

#include "dataplane/filters/chain.h"

namespace sluice::filters {
[[nodiscard]] std::unique_ptr<Factory> prepare_test_probe(const ir::Filter& config, const Environment&);
}  // namespace sluice::filters
