// What Kubernetes should say about our verdicts: Events, and conditions of Routes and policies, derived from one
// translation. Pure: no clock, no I/O. Writing it is status_writer.h's business.
#pragma once
#include <cstdint>
#include <string>
#include <tuple>
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
// acknowledged. Of an Ingress: whether it is accepted, for its addresses; the rest is empty and never written.
struct WantedStatus {
  store::ObjectRef object;
  std::string uid;
  int64_t generation = 0;
  bool accepted = false;
  std::vector<store::ParentRef> parents;  // a policy: the targets that are limited
  std::vector<Condition> conditions;      // Accepted, ResolvedRefs (Routes), PartiallyInvalid (only when true)
  std::string resource_version = {};      // in the snapshot; no part of the verdict: writing it moves it
  bool operator==(const WantedStatus& other) const {
    const auto verdict = [](const WantedStatus& s) {
      return std::tie(s.object, s.uid, s.generation, s.accepted, s.parents, s.conditions);
    };
    return verdict(*this) == verdict(other);
  }
};

struct Wanted {
  std::vector<WantedEvent> events;     // by object, field, reason; no two of the same identity
  std::vector<WantedStatus> statuses;  // by object
};

// `undecodable`: the store's own problems, beside the translation's. `ingresses`: they are wanted, too.
[[nodiscard]] Wanted wanted_of(const translate::Translation& translation,
                               const std::vector<store::Problem>& undecodable, const store::Snapshot& snapshot,
                               bool ingresses = false);

}  // namespace sluice::status
