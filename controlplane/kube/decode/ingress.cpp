// networking.k8s.io/v1 Ingress. Semantics (hosts, slashes, which Service exists) are translation's; here only shape and
// bounds.
#include "controlplane/kube/decode/kinds.h"

namespace sluice::kube {
namespace {

void decode_backend(const JsonNode& node, store::IngressBackend& out) {
  const bool service = node.object("service", [&](const JsonNode& service) {
    out.service = service.string("name", kMaxName, Need::required);
    service.object(
        "port",
        [&](const JsonNode& port) {
          out.port.name = port.string("name", 63);
          out.port.number = static_cast<uint16_t>(port.integer("number", 1, 65535, 0));
          if (out.port.name.empty() == (out.port.number == 0)) port.error("", "needs either a name or a number");
        },
        Need::required);
  });
  const bool resource = node.object("resource", [&](const JsonNode& resource) {
    out.resource_kind = resource.string("kind", kMaxName, Need::required);
    out.resource_name = resource.string("name", kMaxName, Need::required);
  });
  if (service == resource) node.error("", "needs either service or resource");
}

void decode_rule(const JsonNode& node, store::IngressRule& out) {
  out.host = node.string("host", kMaxHost);
  node.object("http", [&](const JsonNode& http) {
    http.each(
        "paths", kMaxItems,
        [&](const JsonNode& node) {
          store::IngressPath& path = out.paths.emplace_back();
          path.path = node.string("path", kMaxPath);
          const int type = node.choice("pathType", {"Exact", "Prefix", "ImplementationSpecific"}, 2, Need::required);
          if (type >= 0) path.type = static_cast<store::PathType>(type);
          node.object(
              "backend", [&](const JsonNode& backend) { decode_backend(backend, path.backend); }, Need::required);
        },
        Need::required);
  });
}

}  // namespace

void decode_kind(const JsonNode& object, store::Ingress& out) {
  object.object("spec", [&](const JsonNode& spec) {
    if (spec.has("ingressClassName")) out.class_name = spec.string("ingressClassName", kMaxName);
    spec.object("defaultBackend",
                [&](const JsonNode& backend) { decode_backend(backend, out.default_backend.emplace()); });
    spec.each("rules", kMaxItems, [&](const JsonNode& rule) { decode_rule(rule, out.rules.emplace_back()); });
    spec.each("tls", kMaxItems, [&](const JsonNode& node) {
      store::IngressTls& tls = out.tls.emplace_back();
      tls.hosts = node.strings("hosts", kMaxItems, kMaxHost);
      tls.secret = node.string("secretName", kMaxName);
    });
  });
}

}  // namespace sluice::kube
