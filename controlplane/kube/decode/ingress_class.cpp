// networking.k8s.io/v1 IngressClass.
#include "controlplane/kube/decode/kinds.h"

namespace sluice::kube {

void decode_kind(const JsonNode& object, store::IngressClass& out) {
  object.object("spec", [&](const JsonNode& spec) { out.controller = spec.string("controller", 250); });
  const auto found = out.meta.annotations.find("ingressclass.kubernetes.io/is-default-class");
  out.is_default = found != out.meta.annotations.end() && found->second == "true";
}

}  // namespace sluice::kube
