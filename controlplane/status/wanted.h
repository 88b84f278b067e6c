// What Kubernetes should say about our verdicts: Events and Route conditions, derived from one translation. Pure: no
// clock, no I/O. Writing it is status_writer.h's business.
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

// Of one Route. Programmed is not in `conditions`: only the writer knows what the data plane acknowledged.
struct WantedRoute {
  store::ObjectKey key;
  std::string uid;
  int64_t generation = 0;
  bool accepted = false;
  std::vector<store::ParentRef> parents;
  std::vector<Condition> conditions;  // Accepted, ResolvedRefs, PartiallyInvalid (only when true)
  bool operator==(const WantedRoute&) const = default;
};

struct Wanted {
  std::vector<WantedEvent> events;  // by object, field, reason; no two of the same identity
  std::vector<WantedRoute> routes;  // by key
};

// `undecodable`: the store's own problems, beside the translation's.
[[nodiscard]] Wanted wanted_of(const translate::Translation& translation,
                               const std::vector<store::Problem>& undecodable, const store::Snapshot& snapshot);

}  // namespace sluice::status
