// Removes, sets and adds fields of the request. See README.md.
#pragma once
#include <memory>

#include "dataplane/filters/chain.h"

namespace sluice::filters {
[[nodiscard]] std::unique_ptr<Factory> prepare_request_headers(const ir::Filter& config, const Environment&);
}  // namespace sluice::filters
