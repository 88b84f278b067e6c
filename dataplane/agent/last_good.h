// Certificates that a new state names but does not have (its control plane began when their Secret was missing or
// broken already): taken over from the state before, which may have come from disk, as long as they are valid.
// Everything else of a state is what the control plane says. Pure; holds nothing.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "dataplane/agent/state.h"

namespace sluice::agent {

// The state itself if nothing has to be kept. `kept`: their ids. `now`: Unix seconds.
[[nodiscard]] std::shared_ptr<const State> keep_last_good(std::shared_ptr<const State> state, const State* before,
                                                          int64_t now, std::vector<std::string>& kept);

}  // namespace sluice::agent
