// sluice.dev/v1alpha1 Route. Bounds and defaults are those of crds/sluice.dev_routes.yaml (a test compares them): an
// object from a file, which no API server has defaulted or checked, decodes to the same value.
#include "controlplane/kube/decode/kinds.h"

namespace sluice::kube {
namespace {

void decode_value_match(const JsonNode& node, store::ValueMatch& out) {
  const int type = node.choice("type", {"Exact", "RegularExpression", "Present"}, 0);
  if (type >= 0) out.type = static_cast<store::ValueMatchType>(type);
  out.name = node.string("name", 256, Need::required);
  out.value = node.string("value", 4096);
  const bool present = out.type == store::ValueMatchType::present;
  if (present && node.has("value")) node.error("value", "must be absent when type is Present");
  if (!present && !node.has("value")) node.error("value", "is required, except for type Present");
}

void decode_match(const JsonNode& node, store::RouteMatch& out) {
  node.object("path", [&](const JsonNode& path) {
    const int type = path.choice("type", {"Exact", "PathPrefix", "RegularExpression"}, 1);
    if (type >= 0) out.path.type = static_cast<store::PathMatchType>(type);
    out.path.value = path.string("value", 1024, Need::optional, "/");
  });
  out.method = node.string("method", 32);
  node.each("headers", 16, [&](const JsonNode& header) { decode_value_match(header, out.headers.emplace_back()); });
  node.each("queryParams", 16,
            [&](const JsonNode& query) { decode_value_match(query, out.query_params.emplace_back()); });
}

void decode_backend_ref(const JsonNode& node, store::BackendRef& out) {
  out.group = node.string("group", kMaxName);
  out.kind = node.string("kind", 63, Need::optional, "Service");
  out.ns = node.string("namespace", 63);
  out.name = node.string("name", kMaxName, Need::required);
  out.port = static_cast<uint16_t>(node.integer("port", 1, 65535, 0));
  out.weight = static_cast<uint32_t>(node.integer("weight", 0, 1'000'000, 1));
}

void decode_rule(const JsonNode& node, store::RouteRule& out) {
  out.name = node.string("name", 253);
  if (!out.name.empty() && !is_dns_subdomain(out.name))
    node.error("name", "must be a DNS subdomain: lower case letters, digits, '-' and '.'");
  node.each("matches", 64, [&](const JsonNode& match) { decode_match(match, out.matches.emplace_back()); });
  decode_route_filters(node, out.filters);
  node.each("backendRefs", 16,
            [&](const JsonNode& backend) { decode_backend_ref(backend, out.backend_refs.emplace_back()); });
  node.object("timeouts", [&](const JsonNode& timeouts) {
    out.request_timeout_ms = timeouts.duration_ms("request");
    out.backend_request_timeout_ms = timeouts.duration_ms("backendRequest");
  });
  node.object("retry", [&](const JsonNode& retry) {
    store::RouteRetry& to = out.retry.emplace();
    to.attempts = static_cast<uint8_t>(retry.integer("attempts", 1, 10, 1));
    to.codes = retry.numbers("codes", 16, 400, 599);
    to.backoff_ms = retry.duration_ms("backoff").value_or(25);
  });
}

}  // namespace

void decode_kind(const JsonNode& object, store::Route& out) {
  object.object(
      "spec",
      [&](const JsonNode& spec) {
        spec.each(
            "parentRefs", 16,
            [&](const JsonNode& node) {
              store::ParentRef& parent = out.parent_refs.emplace_back();
              parent.group = node.string("group", kMaxName, Need::optional, "networking.k8s.io");
              parent.kind = node.string("kind", 63, Need::optional, "IngressClass");
              parent.ns = node.string("namespace", 63);
              parent.name = node.string("name", kMaxName, Need::required);
              parent.section_name = node.string("sectionName", kMaxName);
              parent.port = static_cast<uint16_t>(node.integer("port", 1, 65535, 0));
            },
            Need::required);
        out.hostnames = spec.strings("hostnames", 16, kMaxHost);
        spec.each(
            "rules", 64, [&](const JsonNode& rule) { decode_rule(rule, out.rules.emplace_back()); }, Need::required);
      },
      Need::required);
}

}  // namespace sluice::kube
