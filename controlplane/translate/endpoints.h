// EndpointSlices of a Service -> the endpoints of a cluster. Its own path beside the route tables: a rollout changes
// nothing else.
#pragma once
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "controlplane/translate/plan.h"

namespace sluice::translate {

using Slices = std::vector<std::shared_ptr<const store::EndpointSlice>>;

// `service` null: it does not exist. Addresses that no workload may have (loopback and so on) are refused with a
// problem on the slice.
[[nodiscard]] ir::ClusterEndpointsT make_endpoints(const ClusterUse& use, const store::Service* service,
                                                   const Slices& slices, const config::Options& options,
                                                   std::vector<store::Problem>& problems);

// Of an ExternalName Service: a literal address, or what its name has come to (null: nothing yet). Each address is
// checked each time. `api_server`: where the API server's own Service leads. EndpointSlices are not looked at: whoever
// may write them must not lead an external name, and the certificate it is verified by, elsewhere.
[[nodiscard]] ir::ClusterEndpointsT make_external_endpoints(const ClusterUse& use, const store::Service& service,
                                                            const store::ResolvedName* resolved,
                                                            const Slices& api_server, const config::Options& options,
                                                            std::vector<store::Problem>& problems);

// Network byte order as two big-endian numbers, IPv4 as ::ffff:a.b.c.d; nothing if the text is no literal address
// (zones are refused).
[[nodiscard]] std::optional<ir::EndpointAddress> parse_address(std::string_view text);
// "loopback", "link-local", ... ; null = an address a workload may have.
[[nodiscard]] const char* refused_address(const ir::EndpointAddress& address, bool allow_loopback);
// The same for an address that a tenant chose by a name.
[[nodiscard]] const char* refused_external_address(const ir::EndpointAddress& address, const Slices& api_server,
                                                   const config::Options& options);

}  // namespace sluice::translate
