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

void decode_path(const JsonNode& node, store::IngressPath& out) {
  out.path = node.string("path", kMaxPath);
  const int type = node.choice("pathType", {"Exact", "Prefix", "ImplementationSpecific"}, 2, Need::required);
  if (type >= 0) out.type = static_cast<store::PathType>(type);
  // The path can be placed all the same, and answers 503.
  out.backend.invalid = !node.alone([&] {
    node.object(
        "backend", [&](const JsonNode& backend) { decode_backend(backend, out.backend); }, Need::required);
  });
}

void decode_rule(const JsonNode& node, store::IngressRule& out) {
  out.host = node.string("host", kMaxHost);
  node.object("http",
              [&](const JsonNode& http) { http.list("paths", kMaxItems, out.paths, decode_path, Need::required); });
}

void decode_tls(const JsonNode& node, store::IngressTls& out) {
  out.hosts = node.strings_each("hosts", kMaxItems, kMaxHost);
  // Its hosts keep their redirect to https; the default certificate answers.
  (void)node.alone([&] { out.secret = node.string("secretName", kMaxName); });
}

}  // namespace

void decode_kind(const JsonNode& object, store::Ingress& out) {
  object.object("spec", [&](const JsonNode& spec) {
    if (spec.has("ingressClassName")) out.class_name = spec.string("ingressClassName", kMaxName);
    if (spec.has("defaultBackend")) {
      store::IngressBackend& backend = out.default_backend.emplace();
      backend.invalid = !spec.alone(
          [&] { spec.object("defaultBackend", [&](const JsonNode& node) { decode_backend(node, backend); }); });
    }
    spec.list("rules", kMaxItems, out.rules, decode_rule);
    spec.list("tls", kMaxItems, out.tls, decode_tls);
  });
}

}  // namespace sluice::kube
