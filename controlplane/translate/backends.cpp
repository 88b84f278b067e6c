#include "controlplane/translate/backends.h"

#include <algorithm>

#include <fmt/format.h>

#include "controlplane/features/feature.h"
#include "controlplane/translate/upstream_tls.h"

namespace sluice::translate {
namespace {

bool tcp(const store::ServicePort& port) { return port.protocol == "TCP"; }

const store::ServicePort* find_port(const store::Service& service, const store::ServiceBackendPort& wanted) {
  for (const auto& port : service.ports) {
    if (!tcp(port)) continue;
    if (wanted.number != 0 ? port.port == wanted.number : wanted.name.empty() || port.name == wanted.name) return &port;
  }
  return nullptr;
}

template <class T>
void insert_sorted(std::vector<T>& list, const T& value) {
  const auto at = std::lower_bound(list.begin(), list.end(), value);
  if (at == list.end() || *at != value) list.insert(at, value);
}

// The annotation changes the version of HTTP, never whether it is encrypted.
ir::UpstreamProtocol annotated_protocol(const store::Service& service, ir::UpstreamProtocol by_port,
                                        std::vector<store::Problem>& problems) {
  const auto found = service.meta.annotations.find(features::kUpstreamProtocol);
  if (found == service.meta.annotations.end()) return by_port;
  if (found->second == "http1") return ir::UpstreamProtocol::Http1;
  if (found->second == "h2") return ir::UpstreamProtocol::H2;
  problems.push_back({{store::Kind::service, service.meta.key()},
                      fmt::format("metadata.annotations[{}]", features::kUpstreamProtocol),
                      "InvalidAnnotation",
                      store::Severity::error,
                      "must be \"http1\" or \"h2\"; appProtocol decides"});
  return by_port;
}

}  // namespace

const store::ServicePort* find_port(const store::Service& service, uint16_t number) {
  return find_port(service, store::ServiceBackendPort{"", number});
}

Spoken spoken(const store::ServicePort& port) {
  const std::string& word = port.app_protocol;
  if (word == "https" || word == "HTTPS" || word == "kubernetes.io/wss") return {ir::UpstreamProtocol::Http1, true};
  if (word == "kubernetes.io/h2c" || word == "h2c" || word == "grpc") return {ir::UpstreamProtocol::H2, false};
  // "h2" is HTTP/2 over TLS (RFC 9113 section 3.1), with Kubernetes' prefix, too: nothing of it goes in the clear.
  if (word == "h2" || word == "kubernetes.io/h2" || word == "grpcs") return {ir::UpstreamProtocol::H2, true};
  return {};
}

Resolved resolve_service(const ServiceRef& ref, const PlanContext& context, Plan& plan) {
  const auto name = [&] { return fmt::format("{}/{}", ref.service.ns, ref.service.name); };
  const auto refuse = [&](const std::string& field, const char* reason, std::string text, ir::TableReason error) {
    plan.resolved_refs = false;
    plan.problem(field, reason, std::move(text));
    return Resolved{std::nullopt, error};
  };
  insert_sorted(plan.services, ref.service);
  const auto found = context.services.find(ref.service);
  if (found == context.services.end())
    return refuse(ref.service_field, "BackendNotFound", fmt::format("Service {} does not exist", name()),
                  ir::TableReason::service_not_found);
  const store::Service& service = *found->second;
  if (service.type == "ExternalName") {
    if (!context.options.allow_external_name) {
      return refuse(ref.service_field, "ExternalNameNotAllowed",
                    fmt::format("Service {} is of type ExternalName, which this gateway does not allow", name()),
                    ir::TableReason::backend_invalid);
    }
    // ExternalName Services often list no ports: a number is then taken as it is.
    if (service.ports.empty() && ref.port.number != 0) {
      ClusterUse use{fmt::format("{}/{}", name(), ref.port.number), ref.service, ref.port.number};
      insert_sorted(plan.clusters, use);
      return {std::move(use), {}};
    }
  }
  const store::ServicePort* port = find_port(service, ref.port);
  if (port == nullptr) {
    const std::string wanted = ref.port.number != 0    ? fmt::format("port {} (TCP)", ref.port.number)
                               : ref.port.name.empty() ? std::string("any TCP port")
                                                       : fmt::format("a port named \"{}\"", ref.port.name);
    return refuse(ref.port_field, "PortNotFound", fmt::format("Service {} does not have {}", name(), wanted),
                  ir::TableReason::port_not_found);
  }
  ClusterUse use{fmt::format("{}/{}", name(), port->port), ref.service, port->port};
  insert_sorted(plan.clusters, use);
  return {std::move(use), {}};
}

MadeCluster make_cluster(const ClusterUse& use, const store::Service& service, const store::Snapshot& snapshot,
                         std::vector<store::Problem>& problems) {
  MadeCluster made;
  ir::ClusterT& out = made.cluster;
  out.name = use.name;
  out.origin = std::make_unique<ir::OriginT>();
  out.origin->kind = "Service";
  out.origin->namespace_ = use.service.ns;
  out.origin->name = use.service.name;
  out.origin->generation = service.meta.generation;
  const store::ServicePort* port = find_port(service, use.port);
  const Spoken by_port = port != nullptr ? spoken(*port) : Spoken();
  out.protocol = annotated_protocol(service, by_port.protocol, problems);
  if (by_port.tls) {
    UpstreamTls tls = make_upstream_tls(service, snapshot, problems);
    made.ca = std::move(tls.ca);
    made.pending = tls.pending;
    made.closed = tls.policy == nullptr;
    // Of a closed one: whatever happens, nothing is sent in the clear.
    out.tls = tls.policy != nullptr ? std::move(tls.policy) : std::make_unique<ir::UpstreamTlsT>();
  }
  report_unknown_annotations({store::Kind::service, service.meta.key()}, service.meta, problems);
  return made;
}

}  // namespace sluice::translate
