// The admin listener: made by the master so that its port outlives agents and binaries; only the agent accepts from it.
#pragma once
#include <cstdint>
#include <string>

#include "common/base/result.h"
#include "common/base/unique_fd.h"

namespace sluice::master {

// `bind`: a literal IPv4 or IPv6 address. Port 0 = any.
[[nodiscard]] Result<UniqueFd> listen_admin(const std::string& bind, uint16_t port);

}  // namespace sluice::master
