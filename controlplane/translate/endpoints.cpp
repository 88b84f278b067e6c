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

bool is_v4(const ir::EndpointAddress& address) {
  return address.high() == 0 && (address.low() & 0xffffffff'00000000u) == kMapped;
}

// Nobody can be meant by these: an unspecified address even connects to this very machine.
const char* nobodys_address(const ir::EndpointAddress& address) {
  const uint64_t high = address.high(), low = address.low();
  if (is_v4(address)) {
    const auto v4 = static_cast<uint32_t>(low);
    if (v4 >> 24 == 0) return "an unspecified address";
    if (v4 >> 28 == 0xe) return "a multicast address";
    return v4 == 0xffffffff ? "a broadcast address" : nullptr;
  }
  if (high == 0 && low == 0) return "an unspecified address";
  return high >> 56 == 0xff ? "a multicast address" : nullptr;
}

// Clouds' metadata services beside 169.254.169.254, which is link-local: they give out credentials.
constexpr std::array<Place, 4> kMetadata = {{
    {0, kMapped | 0x64'64'64'c8u, 0},     // 100.100.100.200
    {0, kMapped | 0xc0'00'00'c0u, 0},     // 192.0.0.192
    {0, kMapped | 0xa8'3f'81'10u, 0},     // 168.63.129.16
    {0xfd00'0ec2'0000'0000u, 0x254u, 0},  // fd00:ec2::254
}};

bool inside(const ir::EndpointAddress& address, const config::AddressRange& range) {
  const auto mask = [](unsigned bits) { return bits == 0 ? uint64_t{0} : ~uint64_t{0} << (64 - bits); };
  const uint64_t high = mask(std::min<unsigned>(range.bits, 64));
  const uint64_t low = mask(range.bits > 64 ? range.bits - 64u : 0);
  return (address.high() & high) == (range.high & high) && (address.low() & low) == (range.low & low);
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
  if (const char* why = nobodys_address(address)) return why;
  const uint64_t high = address.high(), low = address.low();
  const bool v4 = is_v4(address);
  if (v4 ? low >> 24 == (kMapped | 0x7f000000u) >> 24 : high == 0 && low == 1)
    return allow_loopback ? nullptr : "a loopback address";
  if (v4 ? low >> 16 == (kMapped | 0xa9fe0000u) >> 16 : high >> 54 == 0xfe80 >> 6) return "a link-local address";
  return nullptr;
}

const char* refused_external_address(const ir::EndpointAddress& address, const Slices& api_server,
                                     const config::Options& options) {
  // RFC 6052: behind the well-known NAT64 prefix lies an IPv4 address.
  if (address.high() == 0x0064'ff9b'0000'0000u && address.low() >> 32 == 0)
    return refused_external_address(ir::EndpointAddress(0, kMapped | address.low()), api_server, options);
  if (const char* refused = nobodys_address(address)) return refused;
  const auto in_any = [&](const std::vector<config::AddressRange>& list) {
    return std::ranges::any_of(list, [&](const config::AddressRange& range) { return inside(address, range); });
  };
  if (in_any(options.external_name_ranges)) return nullptr;
  if (const char* refused = refused_address(address, options.allow_loopback_endpoints)) return refused;
  for (const Place& metadata : kMetadata) {
    if (metadata.high == address.high() && metadata.low == address.low()) return "a metadata service";
  }
  if (in_any(options.own_addresses)) return "the API server or this gateway itself";
  for (const auto& slice : api_server) {
    for (const auto& endpoint : slice->endpoints) {
      for (const std::string& text : endpoint.addresses) {
        const auto one = parse_address(text);
        if (one && one->high() == address.high() && one->low() == address.low()) return "the API server";
      }
    }
  }
  return nullptr;
}

ir::ClusterEndpointsT make_external_endpoints(const ClusterUse& use, const store::Service& service,
                                              const store::ResolvedName* resolved, const Slices& api_server,
                                              const config::Options& options, std::vector<store::Problem>& problems) {
  const store::ObjectRef ref{store::Kind::service, use.service};
  const std::string& name = service.external_name;
  report_flaws(ref, service.meta, problems);
  Places places;
  const auto take = [&](const std::string& text) {
    const auto address = parse_address(text);
    const char* refused = address ? refused_external_address(*address, api_server, options) : "not a literal address";
    if (refused == nullptr) {
      places[Place{address->high(), address->low(), use.port}].ready = true;
      return;
    }
    const std::string from = text == name ? std::string{} : fmt::format("{} leads to ", name);
    problems.push_back({ref, "spec.externalName", "AddressRefused", store::Severity::warning,
                        fmt::format("{}{}, which is {}", from, text, refused)});
  };
  ir::ClusterEndpointsT out;
  out.name = use.name;
  const bool literal = parse_address(name).has_value();
  if (literal) take(name);
  else if (resolved != nullptr) std::ranges::for_each(resolved->addresses, take);
  if (!literal && resolved != nullptr && !resolved->error.empty()) {
    const bool kept = !resolved->addresses.empty();
    problems.push_back({ref, "spec.externalName", "NameNotResolved",
                        kept ? store::Severity::warning : store::Severity::error,
                        fmt::format("{} {}{}", name, resolved->error, kept ? "; the last addresses are used" : "")});
  }
  choose(places, out);
  const bool unknown = !literal && (resolved == nullptr || resolved->addresses.empty());
  if (out.endpoints.empty())
    out.empty_reason = ir::word(unknown ? ir::TableReason::name_not_resolved : ir::TableReason::no_endpoints);
  return out;
}

ir::ClusterEndpointsT make_endpoints(const ClusterUse& use, const store::Service* service, const Slices& slices,
                                     const config::Options& options, std::vector<store::Problem>& problems) {
  ir::ClusterEndpointsT out;
  out.name = use.name;
  if (service == nullptr) {
    out.empty_reason = ir::word(ir::TableReason::service_not_found);
    return out;
  }
  report_flaws({store::Kind::service, use.service}, service->meta, problems);
  Places places;
  const store::ServicePort* port = find_port(*service, use.port);
  if (port == nullptr) {
    out.empty_reason = ir::word(ir::TableReason::port_not_found);
    return out;
  }
  for (const auto& slice : slices) {
    report_flaws({store::Kind::endpoint_slice, slice->meta.key()}, slice->meta, problems);
    if (slice->address_type != "IPv4" && slice->address_type != "IPv6") continue;
    const uint16_t number = slice_port(*slice, port->name);
    if (number != 0) collect(*slice, number, options, places, problems);
  }
  choose(places, out);
  if (!any_ready(out)) out.empty_reason = ir::word(ir::TableReason::no_endpoints);
  return out;
}

}  // namespace sluice::translate
