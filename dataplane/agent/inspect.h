// What the unix socket tells of the data plane, as JSON: status, table, dump, the log level. Read from the running
// state and the counter pages. Never says key material, ticket keys, or values that filters set in fields.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/agent/admin_server.h"
#include "dataplane/agent/condition.h"

namespace sluice::agent {

struct Inspected {
  const Condition& condition;
  std::string version;
  std::vector<std::string> arguments;               // our command line
  std::function<void(std::string_view)> set_level;  // in all processes; a name that log::parse_level knows
};

inline constexpr size_t kMaxTableHosts = 1000;  // in one answer

// GET of /status, /table?host=&path=, /dump, /log-level, and what the port answers; PUT of /log-level?level=.
[[nodiscard]] AdminAnswer answer_operator(std::string_view head, const Inspected& inspected);

}  // namespace sluice::agent
