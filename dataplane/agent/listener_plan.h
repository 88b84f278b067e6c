// From a verified table: which sockets the master has to hold.
#pragma once
#include <vector>

#include "common/base/result.h"
#include "common/ir/route_table_generated.h"
#include "dataplane/sync/messages.h"

namespace sluice::agent {

// One entry per (listener, address). An error if two listeners want the same address and port.
[[nodiscard]] Result<std::vector<sync::ListenerSpec>> plan_listeners(const ir::RouteTable& table);

}  // namespace sluice::agent
