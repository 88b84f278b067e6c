// The state a worker runs: three mappings, the newest only. Taken whole between two events, or refused whole.
#pragma once
#include <array>
#include <span>
#include <vector>

#include "common/base/result.h"
#include "common/base/unique_fd.h"
#include "common/ir/memfd.h"
#include "common/ir/push_frame.h"
#include "dataplane/worker/context.h"

namespace sluice::worker {

// Writes them to the diagnostics.
void report_tls(const std::vector<net::TlsProblem>& problems);

class State {
 public:
  // `fds`: table, endpoints, secrets. On failure the earlier state runs on. Verified by the agent before; only what
  // would crash is checked again.
  [[nodiscard]] Status apply(const ir::StateId& id, std::span<const UniqueFd> fds, Context& context);
  [[nodiscard]] const ir::StateId& id() const { return id_; }
  [[nodiscard]] bool empty() const { return id_.boot == 0; }

 private:
  ir::StateId id_;
  std::array<ir::Mapping, ir::kParts> parts_;
};

}  // namespace sluice::worker
