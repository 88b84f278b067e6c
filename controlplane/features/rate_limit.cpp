// RateLimit: token buckets. What policies say is put together in translation, which alone sees other objects; the rows
// are the fields of a RateLimitPolicy.
#include <array>

#include "controlplane/features/feature.h"

namespace sluice::features {
namespace {

constexpr std::array<Row, 16> kRows = {{
    {"targetRefs[].{group, kind, name}", "1 to 16", "required",
     "Of the policy's own namespace: a Route (sluice.dev), an Ingress or IngressClass (networking.k8s.io), or the "
     "Namespace itself (group \"\"). All routes made from them are limited. An IngressClass needs the option "
     "classPolicyNamespaces."},
    {"targetRefs[].sectionName", "string", "all rules", "Of a Route: the name of the one rule that is limited."},
    {"limits[].name", "DNS label", "required",
     "1 to 8 limits. Buckets, metrics and the access log go by NAMESPACE/POLICY/NAME: what is renamed begins anew."},
    {"limits[].requests", "1 to 1000000", "required",
     "Requests in each `per`, evenly: one comes back every per/requests."},
    {"limits[].per", "duration, 1s to 24h", "1s", "The time in which so many requests come back."},
    {"limits[].burst", "1 to 1000000", "the limit's requests", "So many at once after a rest: the size of the bucket."},
    {"limits[].keys[].type", "ClientIP, Header, Cookie, Method, Path, Host", "[{type: ClientIP}]",
     "At most 4: each combination of their values has a bucket of its own. An empty list: one bucket for all. Path is "
     "the normalised path before any rewrite, without query. A header or cookie is whatever the client says."},
    {"limits[].keys[].name", "string", "required for Header and Cookie", "Of the header (any case) or cookie."},
    {"limits[].keys[].ipv4PrefixLength", "1 to 32", "32",
     "ClientIP: addresses that share so many bits are one client."},
    {"limits[].keys[].ipv6PrefixLength", "1 to 128", "64", "The same for IPv6."},
    {"limits[].whenMissing", "Count, Skip", "Count",
     "A request without the header or cookie: all of them share one bucket, or the limit does not count them."},
    {"exempt.cidrs", "list of CIDRs, at most 64", "[]",
     "Clients that no limit of the policy counts. The client is who `trustedProxies` and PROXY headers say it is."},
    {"mode", "Enforce, Shadow", "Enforce", "Shadow counts and tells (metrics, access log) and refuses nobody."},
    {"responseFields", "Standard, Legacy, Both, None", "Standard",
     "RateLimit and RateLimit-Policy, or X-RateLimit-Limit, -Remaining and -Reset, on every answer of the route. Where "
     "policies differ, all that one of them wants are sent."},
    {"status.conditions", "list", "",
     "Accepted: at least one target is limited. PartiallyInvalid: something is left out. Programmed: every worker "
     "of every Ready replica runs this generation."},
    {"status.ancestors[]", "list", "", "The targets that are limited, with the same conditions, by controller."},
}};

}  // namespace

const std::span<const Row> kRateLimitRows = kRows;

void apply_rate_limit(const Input& input, ir::RouteT& route, const Complain&) {
  if (input.rate_limit == nullptr) return;
  auto filter = std::make_unique<ir::FilterT>();
  filter->config.Set(ir::RateLimitT(*input.rate_limit));
  route.filters.push_back(std::move(filter));
}

}  // namespace sluice::features
