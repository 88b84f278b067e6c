// The state a worker runs: the newest only, in the mappings of its parts and of its table's shards. Taken whole between
// two events, or refused whole. A shard that is in both states stays mapped where it is.
#pragma once
#include <array>
#include <memory>
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
  // `fds`: table, endpoints, secrets, the table's shards in order. On failure the earlier state runs on. Verified by
  // the agent before; only what would crash is checked again.
  [[nodiscard]] Status apply(const ir::StateId& id, std::span<const UniqueFd> fds, Context& context);
  [[nodiscard]] const ir::StateId& id() const { return id_; }
  [[nodiscard]] bool empty() const { return id_.boot == 0; }

 private:
  struct Shard {
    ir::ContentHash hash;
    std::shared_ptr<const ir::Mapping> mapping;
  };
  [[nodiscard]] Result<std::vector<Shard>> map_shards(const ir::RouteTable& head, std::span<const UniqueFd> fds) const;
  ir::StateId id_;
  std::array<ir::Mapping, ir::kParts> parts_;
  std::vector<Shard> shards_;
};

}  // namespace sluice::worker
