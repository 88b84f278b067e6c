// v1 Service: only what a backend reference needs.
#include "controlplane/kube/decode/kinds.h"

namespace sluice::kube {

void decode_kind(const JsonNode& object, store::Service& out) {
  out.type = "ClusterIP";
  object.object("spec", [&](const JsonNode& spec) {
    out.type = spec.string("type", 63, Need::optional, "ClusterIP");
    out.external_name = spec.string("externalName", kMaxHost);
    spec.good_ones("ports", kMaxItems, out.ports, [](const JsonNode& node, store::ServicePort& port) {
      port.name = node.string("name", 63);
      port.port = static_cast<uint16_t>(node.integer("port", 1, 65535, 0, Need::required));
      port.protocol = node.string("protocol", 16, Need::optional, "TCP");
      port.target_port = node.number_or_name("targetPort", 63);
      if (port.target_port.empty()) port.target_port = std::to_string(port.port);
      port.app_protocol = node.string("appProtocol", kMaxName);
      return true;
    });
  });
}

}  // namespace sluice::kube
