// TLS towards the endpoints of a Service whose port means TLS (backends.h): verified against the system's authorities
// and the Service's own name unless its annotations say otherwise (docs/decisions/0006). What cannot be honoured closes
// the cluster instead of loosening it. Pure.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/ir/route_table_generated.h"
#include "controlplane/store/problem.h"
#include "controlplane/store/snapshot.h"

namespace sluice::translate {

struct UpstreamTls {
  std::unique_ptr<ir::UpstreamTlsT> policy;  // null: the cluster is closed
  std::optional<store::ObjectRef> ca;        // the Secret or ConfigMap that is named
  bool pending = false;                      // its content is not here yet
};
// Reads Secrets and ConfigMaps of the Service's own namespace only.
[[nodiscard]] UpstreamTls make_upstream_tls(const store::Service& service, const store::Snapshot& snapshot,
                                            std::vector<store::Problem>& problems);

}  // namespace sluice::translate
