// From "Service and port" to a cluster, or to the reason why not. Shared by the input languages, which decide what the
// failure answers.
#pragma once
#include <optional>
#include <string>

#include "common/ir/table_reason.h"
#include "controlplane/translate/plan.h"

namespace sluice::translate {

struct ServiceRef {
  store::ObjectKey service;
  store::ServiceBackendPort port;  // both empty: the first port
  std::string service_field, port_field;
};

struct Resolved {
  std::optional<ClusterUse> cluster;
  ir::TableReason error{};  // when there is no cluster
};

// Adds what it learns to the plan: dependency, cluster, problems (BackendNotFound, PortNotFound,
// ExternalNameNotAllowed).
[[nodiscard]] Resolved resolve_service(const ServiceRef& ref, const PlanContext& context, Plan& plan);

// The Service's port behind a cluster's number; null when it is gone.
[[nodiscard]] const store::ServicePort* find_port(const store::Service& service, uint16_t number);

// What the data plane speaks to the cluster, by the port's appProtocol; a word that is not known is HTTP/1.1.
struct Spoken {
  ir::UpstreamProtocol protocol = ir::UpstreamProtocol::Http1;
  bool tls = false;
  bool operator==(const Spoken&) const = default;
};
[[nodiscard]] Spoken spoken(const store::ServicePort& port);

// The cluster of a use whose Service is there.
struct MadeCluster {
  ir::ClusterT cluster;
  std::optional<store::ObjectRef> ca;  // what its policy depends on
  bool pending = false;                // its content is not here yet
  bool closed = false;                 // its policy cannot be honoured: no endpoint may be used
};
[[nodiscard]] MadeCluster make_cluster(const ClusterUse& use, const store::Service& service,
                                       const store::Snapshot& snapshot, std::vector<store::Problem>& problems);

}  // namespace sluice::translate
