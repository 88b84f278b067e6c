// v1 Service: what a backend reference needs, and where it can be reached.
#include "controlplane/kube/decode/kinds.h"

namespace sluice::kube {
namespace {

using From = store::ServiceAddress::From;

void add(std::vector<std::string> ips, From from, store::Service& out) {
  for (std::string& ip : ips) {
    if (!ip.empty()) out.addresses.push_back({from, std::move(ip), {}});
  }
}

}  // namespace

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
    add(spec.strings_each("clusterIPs", kMaxItems, kMaxName), From::cluster_ips, out);
    if (out.addresses.empty()) add({spec.string("clusterIP", kMaxName)}, From::cluster_ips, out);
    add(spec.strings_each("externalIPs", kMaxItems, kMaxName), From::external_ips, out);
  });
  object.object("status", [&](const JsonNode& status) {
    status.object("loadBalancer", [&](const JsonNode& balancer) {
      balancer.good_ones("ingress", kMaxItems, out.addresses, [](const JsonNode& node, store::ServiceAddress& address) {
        address = {From::load_balancer, node.string("ip", kMaxName), node.string("hostname", kMaxHost)};
        return true;
      });
    });
  });
}

}  // namespace sluice::kube
