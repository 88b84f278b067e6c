#include "controlplane/admin/condition.h"

#include <fmt/format.h>

namespace sluice::admin {

std::vector<std::string> missing(const Condition& condition) {
  if (condition.acknowledged.sequence != 0) return {};
  std::vector<std::string> out;
  for (const Watched& watched : condition.watched) {
    if (watched.listed) continue;
    out.push_back(watched.ns.empty() ? fmt::format("first list of {}", watched.kind)
                                     : fmt::format("first list of {} in namespace {}", watched.kind, watched.ns));
  }
  if (!out.empty() && !condition.api_connected) out.emplace_back("an answer of the API server");
  if (out.empty() && !condition.listed) out.emplace_back("first reading of the folder");
  if (!out.empty()) return out;
  if (condition.newest.sequence == 0) {
    if (condition.contents_loaded < condition.contents_wanted)
      out.push_back(fmt::format("contents of {} of {} Secrets and ConfigMaps",
                                condition.contents_wanted - condition.contents_loaded, condition.contents_wanted));
    out.emplace_back("first state to be made");
  } else if (!condition.dataplane_connected) {
    out.emplace_back("a data plane on the push socket");
  } else {
    out.push_back(fmt::format("acknowledgement of the first state by all workers ({} of {} run a state)",
                              condition.workers_ready, condition.workers_total));
  }
  return out;
}

}  // namespace sluice::admin
