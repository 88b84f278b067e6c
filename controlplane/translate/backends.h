// From "Service and port" to a cluster, or to the reason why not. Shared by the input languages, which decide what the
// failure answers.
#pragma once
#include <optional>
#include <string>

#include "controlplane/translate/plan.h"

namespace sluice::translate {

struct ServiceRef {
  store::ObjectKey service;
  store::ServiceBackendPort port;  // both empty: the first port
  std::string service_field, port_field;
};

struct Resolved {
  std::optional<ClusterUse> cluster;
  const char* error = nullptr;  // "service_not_found", "port_not_found", "backend_invalid" when there is no cluster
};

// Adds what it learns to the plan: dependency, cluster, problems (BackendNotFound, PortNotFound,
// ExternalNameNotAllowed, UnsupportedProtocol).
[[nodiscard]] Resolved resolve_service(const ServiceRef& ref, const PlanContext& context, Plan& plan);

// The Service's port behind a cluster's number; null when it is gone.
[[nodiscard]] const store::ServicePort* find_port(const store::Service& service, uint16_t number);

// What the data plane speaks to the cluster, by the port's appProtocol.
enum class AppProtocol : uint8_t { http1, https, http2_cleartext };
[[nodiscard]] AppProtocol app_protocol(const store::ServicePort& port);

// The cluster of a use whose Service is there.
[[nodiscard]] ir::ClusterT make_cluster(const ClusterUse& use, const store::Service& service);

}  // namespace sluice::translate
