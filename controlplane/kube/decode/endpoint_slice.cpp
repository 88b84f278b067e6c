// discovery.k8s.io/v1 EndpointSlice. The API bounds a slice at 1,000 endpoints and 20,000 ports over all; absent
// conditions count as true
// ("a nil value should be interpreted as true"), absent terminating as false.
#include "controlplane/kube/decode/kinds.h"

namespace sluice::kube {

void decode_kind(const JsonNode& object, store::EndpointSlice& out) {
  const auto service = out.meta.labels.find("kubernetes.io/service-name");
  if (service != out.meta.labels.end()) out.service = service->second;
  out.address_type = object.string("addressType", 16, Need::required);
  object.each("ports", kMaxItems, [&](const JsonNode& node) {
    if (!node.has("port")) return;  // null = "all ports", which says nothing about where to connect to
    store::SlicePort& port = out.ports.emplace_back();
    port.name = node.string("name", 63);
    port.protocol = node.string("protocol", 16, Need::optional, "TCP");
    port.app_protocol = node.string("appProtocol", kMaxName);
    port.port = static_cast<uint16_t>(node.integer("port", 1, 65535, 0));
  });
  object.each("endpoints", kMaxItems, [&](const JsonNode& node) {
    store::SliceEndpoint& endpoint = out.endpoints.emplace_back();
    endpoint.addresses = node.strings("addresses", 100, kMaxHost);
    endpoint.zone = node.string("zone", kMaxName);
    node.object("conditions", [&](const JsonNode& conditions) {
      endpoint.ready = conditions.boolean("ready", true);
      endpoint.serving = conditions.boolean("serving", true);
      endpoint.terminating = conditions.boolean("terminating", false);
    });
  });
}

}  // namespace sluice::kube
