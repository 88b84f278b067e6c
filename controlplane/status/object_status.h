// The status of a Route, RateLimitPolicy or Ingress as JSON: what is there, what we want, and the patch between them.
// Pure; the clock is passed in. Entries of other controllers in status.parents (a policy's: status.ancestors) stay;
// lastTransitionTime moves only when a condition's status does.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "common/base/result.h"
#include "controlplane/status/addresses.h"
#include "controlplane/status/wanted.h"

namespace sluice::status {

// Every worker of every Ready replica runs it; not yet; never (not accepted).
enum class Programmed : uint8_t { yes, pending, no };

// `object`: as the API server gave it. nullopt = its status already says so. The patch is a JSON merge patch
// for the status subresource; it carries the object's resourceVersion, so that a write by somebody else in between is a
// conflict and not a loss. `addresses` go into status.loadBalancer of a Route or Ingress, if it is accepted; nullopt =
// what stands there stays. Of an Ingress nothing else is written. Programmed that is True for this generation stays so
// while it is pending: a new replica or another verdict does not take back what has been said. `waits_for`: a replica,
// for the text of pending.
[[nodiscard]] Result<std::optional<std::string>> status_patch(const std::string& object, const WantedStatus& wanted,
                                                              Programmed programmed, const std::string& controller_name,
                                                              int64_t now_s,
                                                              const std::optional<Addresses>& addresses = {},
                                                              const std::string& waits_for = {});

[[nodiscard]] std::string rfc3339(int64_t seconds);

}  // namespace sluice::status
