// Secrets that a new state names but does not have (its control plane began when they were missing or broken already):
// taken over from the state before, which may have come from disk; certificates as long as they are valid, ticket keys
// of the same Secret. Everything else of a state is what the control plane says. Pure; holds nothing.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "dataplane/agent/state.h"

namespace sluice::agent {

// Names of Secrets.
struct Kept {
  std::vector<std::string> certificates;
  std::string ticket_keys;
  bool operator==(const Kept&) const = default;
};

// The state itself if nothing has to be kept. `now`: Unix seconds.
[[nodiscard]] std::shared_ptr<const State> keep_last_good(std::shared_ptr<const State> state, const State* before,
                                                          int64_t now, Kept& kept);

}  // namespace sluice::agent
