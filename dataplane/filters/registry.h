// Every filter there is. A filter's line in registry.cpp is its place in the chain.
#pragma once
#include <memory>
#include <span>

#include "common/ir/route_table_generated.h"
#include "dataplane/filters/chain.h"

namespace sluice::filters {

struct RegistryEntry {
  ir::FilterConfig type;
  // Null if the configuration cannot be used.
  std::unique_ptr<Factory> (*prepare)(const ir::Filter& config, const Environment& environment);
};
[[nodiscard]] std::span<const RegistryEntry> registry();
[[nodiscard]] bool is_registered(ir::FilterConfig type);

}  // namespace sluice::filters
