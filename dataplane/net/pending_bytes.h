// What all PendingBuffers of this thread occupy together: how much is held for peers that are slow.
#pragma once
#include <cstddef>

namespace sluice::net {

[[nodiscard]] size_t pending_bytes();

}  // namespace sluice::net
