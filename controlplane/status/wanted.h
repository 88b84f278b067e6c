// What Kubernetes should say about our verdicts: Events, and conditions of Routes and policies, derived from one
// translation. Pure: no clock, no I/O. Writing it is status_writer.h's business.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "controlplane/store/problem.h"
#include "controlplane/store/snapshot.h"
#include "controlplane/translate/translate.h"

namespace sluice::status {

// One Event: same object, field and reason = the same Event, however often it is seen.
struct WantedEvent {
  store::Problem problem;
  std::string uid, resource_version;  // of the object; empty if it is not in the snapshot (undecodable)
  bool operator==(const WantedEvent&) const = default;
};

struct Condition {
  std::string type;
  bool status = false;
  std::string reason, message;
  bool operator==(const Condition&) const = default;
};

// Of one Route or RateLimitPolicy. Programmed is not in `conditions`: only the writer knows what the data plane
// acknowledged.
struct WantedStatus {
  store::ObjectRef object;
  std::string uid;
  int64_t generation = 0;
  bool accepted = false;
  std::vector<store::ParentRef> parents;  // a policy: the targets that are limited
  std::vector<Condition> conditions;      // Accepted, ResolvedRefs (Routes), PartiallyInvalid (only when true)
  bool operator==(const WantedStatus&) const = default;
};

struct Wanted {
  std::vector<WantedEvent> events;     // by object, field, reason; no two of the same identity
  std::vector<WantedStatus> statuses;  // by object
};

// `undecodable`: the store's own problems, beside the translation's.
[[nodiscard]] Wanted wanted_of(const translate::Translation& translation,
                               const std::vector<store::Problem>& undecodable, const store::Snapshot& snapshot);

}  // namespace sluice::status
