// Where clients reach the gateway: what stands in status.loadBalancer of Ingresses and Routes. Taken from the options,
// or from the Service that they name. Pure; nothing unchecked gets through.
#pragma once
#include <string>
#include <vector>

#include "controlplane/config/options.h"
#include "controlplane/store/objects.h"

namespace sluice::status {

using Addresses = std::vector<config::PublishedAddress>;

struct PublishedBy {
  Addresses addresses;               // at most config::kMaxPublished, none twice
  std::vector<std::string> refused;  // what stands there and is no address, and why
};
// LoadBalancer: what its load balancer was given, then spec.externalIPs. NodePort and ClusterIP: spec.externalIPs, else
// the cluster's own addresses: nodes are not read, for that needs rights over all of them. ExternalName: that name.
[[nodiscard]] PublishedBy addresses_of(const store::Service& service);

}  // namespace sluice::status
