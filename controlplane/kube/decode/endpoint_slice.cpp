// discovery.k8s.io/v1 EndpointSlice. The API bounds a slice at 1,000 endpoints and 20,000 ports over all; absent
// conditions count as true
// ("a nil value should be interpreted as true"), absent terminating as false.
#include "controlplane/kube/decode/kinds.h"

namespace sluice::kube {
namespace {

constexpr const char* kServiceLabel = "kubernetes.io/service-name";

bool decode_port(const JsonNode& node, store::SlicePort& port) {
  if (!node.has("port")) return false;  // null = "all ports", which says nothing about where to connect to
  port.name = node.string("name", 63);
  port.protocol = node.string("protocol", 16, Need::optional, "TCP");
  port.app_protocol = node.string("appProtocol", kMaxName);
  port.port = static_cast<uint16_t>(node.integer("port", 1, 65535, 0));
  return true;
}

void decode_endpoint(const JsonNode& node, store::SliceEndpoint& endpoint) {
  endpoint.addresses = node.strings_each("addresses", 100, kMaxHost);
  endpoint.zone = node.string("zone", kMaxName);
  node.object("conditions", [&](const JsonNode& conditions) {
    endpoint.ready = conditions.boolean("ready", true);
    endpoint.serving = conditions.boolean("serving", true);
    endpoint.terminating = conditions.boolean("terminating", false);
  });
}

}  // namespace

void decode_kind(const JsonNode& object, store::EndpointSlice& out) {
  const auto service = out.meta.labels.find(kServiceLabel);
  if (service != out.meta.labels.end()) out.service = service->second;
  // With an unreadable label it would belong to no Service, and nobody would be told.
  object.object("metadata", [&](const JsonNode& meta) {
    meta.object("labels", [&](const JsonNode& labels) {
      if (out.service.empty() && labels.has(kServiceLabel)) labels.context().failed = true;
    });
  });
  out.address_type = object.string("addressType", 16, Need::required);
  object.good_ones("ports", kMaxItems, out.ports, decode_port);
  object.list("endpoints", kMaxItems, out.endpoints, decode_endpoint);
}

}  // namespace sluice::kube
