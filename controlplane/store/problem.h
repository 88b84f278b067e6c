// Something in an object that could not be honoured. Never fatal: it becomes a condition and an Event on that object,
// and the rest is served.
#pragma once
#include <string>

#include "controlplane/store/objects.h"

namespace sluice::store {

enum class Severity : uint8_t { warning, error };

struct Problem {
  ObjectRef object;
  std::string field;   // path inside the object: "spec.rules[0].http.paths[1].path"; empty = whole object
  std::string reason;  // stable CamelCase word for conditions and Events: "BackendNotFound", "HostConflict"
  Severity severity = Severity::error;
  std::string text;  // one sentence for a person; for a conflict it names the winner
  bool operator==(const Problem&) const = default;
};

}  // namespace sluice::store
