#include "controlplane/translate/endpoints.h"

#include <algorithm>
#include <array>
#include <map>

#include <arpa/inet.h>
#include <fmt/format.h>

#include "controlplane/translate/backends.h"

namespace sluice::translate {
namespace {

constexpr uint64_t kMapped = 0x0000ffff'00000000u;

struct Place {
  uint64_t high, low;
  uint16_t port;
  auto operator<=>(const Place&) const = default;
};
struct Found {
  bool ready = false, serving = false, terminating = false;
  std::string zone;
};
using Places = std::map<Place, Found>;

// Ports are matched by name, as kube-proxy does: a Service's unnamed port is the slice's unnamed one.
uint16_t slice_port(const store::EndpointSlice& slice, const std::string& name) {
  for (const auto& port : slice.ports) {
    if (port.name == name && port.protocol == "TCP") return port.port;
  }
  return 0;
}

void collect(const store::EndpointSlice& slice, uint16_t port, const config::Options& options, Places& places,
             std::vector<store::Problem>& problems) {
  const store::ObjectRef ref{store::Kind::endpoint_slice, slice.meta.key()};
  for (size_t i = 0; i < slice.endpoints.size(); ++i) {
    const store::SliceEndpoint& endpoint = slice.endpoints[i];
    // "Consumers should use the first address": the others name the same endpoint.
    if (endpoint.invalid || endpoint.addresses.empty() || endpoint.addresses.front().empty()) continue;
    const std::string& text = endpoint.addresses.front();
    const auto address = parse_address(text);
    const char* refused =
        address ? refused_address(*address, options.allow_loopback_endpoints) : "not a literal address";
    if (refused != nullptr) {
      problems.push_back({ref, fmt::format("endpoints[{}].addresses[0]", i), "AddressRefused", store::Severity::warning,
                          fmt::format("{} is {}", text, refused)});
      continue;
    }
    Found& found = places[Place{address->high(), address->low(), port}];
    // The same address in two slices (one is being written anew): the better state counts.
    found.ready = found.ready || endpoint.ready;
    found.serving = found.serving || endpoint.serving;
    found.terminating = found.terminating || endpoint.terminating;
    if (found.zone.empty()) found.zone = endpoint.zone;
  }
}

// ready; if there is none, terminating ones that still serve (as kube-proxy: better than nobody). Other terminating
// ones drain.
void choose(const Places& places, ir::ClusterEndpointsT& out) {
  const bool any_ready = std::ranges::any_of(places, [](const auto& place) { return place.second.ready; });
  for (const auto& [place, found] : places) {
    const bool usable = found.ready || (!any_ready && found.serving && found.terminating);
    if (!usable && !found.terminating) continue;
    auto endpoint = std::make_unique<ir::EndpointT>();
    endpoint->address = std::make_unique<ir::EndpointAddress>(place.high, place.low);
    endpoint->port = place.port;
    endpoint->state = usable ? ir::EndpointState::Ready : ir::EndpointState::Draining;
    endpoint->zone = found.zone;
    out.endpoints.push_back(std::move(endpoint));
  }
}

bool any_ready(const ir::ClusterEndpointsT& set) {
  return std::ranges::any_of(set.endpoints,
                             [](const auto& endpoint) { return endpoint->state == ir::EndpointState::Ready; });
}

}  // namespace

std::optional<ir::EndpointAddress> parse_address(std::string_view text) {
  const std::string copy(text);
  std::array<unsigned char, 16> bytes{};
  if (inet_pton(AF_INET, copy.c_str(), bytes.data()) == 1) {
    uint64_t low = 0;
    for (size_t i = 0; i < 4; ++i) low = low << 8 | bytes[i];
    return ir::EndpointAddress(0, kMapped | low);
  }
  if (inet_pton(AF_INET6, copy.c_str(), bytes.data()) != 1) return std::nullopt;
  uint64_t high = 0, low = 0;
  for (size_t i = 0; i < 8; ++i) high = high << 8 | bytes[i], low = low << 8 | bytes[i + 8];
  return ir::EndpointAddress(high, low);
}

const char* refused_address(const ir::EndpointAddress& address, bool allow_loopback) {
  const uint64_t high = address.high(), low = address.low();
  if (high == 0 && (low & 0xffffffff'00000000u) == kMapped) {
    const auto v4 = static_cast<uint32_t>(low);
    if (v4 >> 24 == 127) return allow_loopback ? nullptr : "a loopback address";
    if (v4 >> 24 == 0) return "an unspecified address";
    if (v4 >> 16 == 0xa9fe) return "a link-local address";
    if (v4 >> 28 == 0xe) return "a multicast address";
    if (v4 == 0xffffffff) return "a broadcast address";
    return nullptr;
  }
  if (high == 0 && low == 1) return allow_loopback ? nullptr : "a loopback address";
  if (high == 0 && low == 0) return "an unspecified address";
  if (high >> 54 == 0xfe80 >> 6) return "a link-local address";
  if (high >> 56 == 0xff) return "a multicast address";
  return nullptr;
}

ir::ClusterEndpointsT make_endpoints(const ClusterUse& use, const store::Service* service, const Slices& slices,
                                     const config::Options& options, std::vector<store::Problem>& problems) {
  ir::ClusterEndpointsT out;
  out.name = use.name;
  if (service == nullptr) {
    out.empty_reason = "service_not_found";
    return out;
  }
  report_flaws({store::Kind::service, use.service}, service->meta, problems);
  Places places;
  if (service->type == "ExternalName") {
    // A literal address is taken as it is; names are resolved elsewhere and arrive as slices. Such a Service maps no
    // ports.
    if (const auto address = parse_address(service->external_name)) {
      const char* refused = refused_address(*address, options.allow_loopback_endpoints);
      if (refused == nullptr) {
        places[Place{address->high(), address->low(), use.port}].ready = true;
      } else {
        problems.push_back({{store::Kind::service, use.service},
                            "spec.externalName",
                            "AddressRefused",
                            store::Severity::warning,
                            fmt::format("{} is {}", service->external_name, refused)});
      }
    }
  }
  const store::ServicePort* port = find_port(*service, use.port);
  const bool external = service->type == "ExternalName";
  if (port == nullptr && !external) {
    out.empty_reason = "port_not_found";
    return out;
  }
  for (const auto& slice : slices) {
    report_flaws({store::Kind::endpoint_slice, slice->meta.key()}, slice->meta, problems);
    if (slice->address_type != "IPv4" && slice->address_type != "IPv6") continue;
    const uint16_t number = external ? use.port : slice_port(*slice, port->name);
    if (number != 0) collect(*slice, number, options, places, problems);
  }
  choose(places, out);
  if (!any_ready(out)) out.empty_reason = "no_ready_endpoints";
  return out;
}

}  // namespace sluice::translate
