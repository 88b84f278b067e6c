// sluice.dev/v1alpha1 Route. Bounds and defaults are those of crds/sluice.dev_routes.yaml (a test compares them): an
// object from a file, which no API server has defaulted or checked, decodes to the same value.
#include <algorithm>

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

// A bad one among them would widen the match if it were left out. Whose name is known is held against every request
// that has it at all, and the rule answers those with 500; else nobody knows what the match is about.
void decode_value_matches(const JsonNode& match, std::string_view key, std::vector<store::ValueMatch>& out,
                          bool& rule_invalid) {
  match.each(
      key, 16, [&](const JsonNode& node) { decode_value_match(node, out.emplace_back()); },
      [&](bool was_read) {
        if (!was_read || out.back().name.empty()) {
          match.context().failed = true;
        } else {
          rule_invalid = true;
          out.back() = {store::ValueMatchType::present, out.back().name, {}};
        }
      });
}

void decode_grpc(const JsonNode& node, store::GrpcMatch& out) {
  const int type = node.choice("type", {"Exact", "RegularExpression"}, 0);
  if (type >= 0) out.type = static_cast<store::GrpcMatch::Type>(type);
  out.service = node.string("service", 256);
  out.method = node.string("method", 256);
  if (out.service.empty() && out.method.empty()) node.error("service", "is required, or method");
}

void decode_match(const JsonNode& node, store::RouteMatch& out, bool& rule_invalid) {
  node.object("path", [&](const JsonNode& path) {
    const int type = path.choice("type", {"Exact", "PathPrefix", "RegularExpression"}, 1);
    if (type >= 0) out.path.type = static_cast<store::PathMatchType>(type);
    out.path.value = path.string("value", 1024, Need::optional, "/");
  });
  node.object("grpc", [&](const JsonNode& grpc) { decode_grpc(grpc, out.grpc.emplace()); });
  if (node.has("path") && node.has("grpc")) node.error("grpc", "excludes path");
  out.method = node.string("method", 32);
  decode_value_matches(node, "headers", out.headers, rule_invalid);
  decode_value_matches(node, "queryParams", out.query_params, rule_invalid);
}

void decode_backend_ref(const JsonNode& node, store::BackendRef& out) {
  out.group = node.string("group", kMaxName);
  out.kind = node.string("kind", 63, Need::optional, "Service");
  out.ns = node.string("namespace", 63);
  out.name = node.string("name", kMaxName, Need::required);
  out.port = static_cast<uint16_t>(node.integer("port", 1, 65535, 0));
  out.weight = static_cast<uint32_t>(node.integer("weight", 0, 1'000'000, 1));
}

// An unreadable match is left out: what it is for is not known.
store::RouteMatch unreadable_match() {
  store::RouteMatch out;
  out.invalid = true;
  return out;
}

void decode_matches(const JsonNode& node, store::RouteRule& out, bool& invalid) {
  const bool listed = node.alone([&] {
    node.list("matches", 64, out.matches,
              [&](const JsonNode& match, store::RouteMatch& to) { decode_match(match, to, invalid); });
  });
  // No list at all: not "everything", but nothing that could be placed.
  if (!listed) out.matches.assign(1, unreadable_match());
}

void decode_rule(const JsonNode& node, store::RouteRule& out) {
  // A name that cannot be used is replaced by the index; it decides nothing.
  (void)node.alone([&] {
    out.name = node.string("name", 253);
    if (out.name.empty() || is_dns_subdomain(out.name)) return;
    node.error("name", "must be a DNS subdomain: lower case letters, digits, '-' and '.'");
    out.name.clear();
  });
  bool invalid = false;
  decode_matches(node, out, invalid);
  if (invalid) node.context().failed = true;
  decode_route_filters(node, out.filters);
  node.list("backendRefs", 16, out.backend_refs, decode_backend_ref);
  node.object("timeouts", [&](const JsonNode& timeouts) {
    out.request_timeout_ms = timeouts.duration_ms("request");
    out.backend_request_timeout_ms = timeouts.duration_ms("backendRequest");
  });
  node.object("retry", [&](const JsonNode& retry) {
    store::RouteRetry& to = out.retry.emplace();
    to.attempts = static_cast<uint8_t>(retry.integer("attempts", 1, 10, 1));
    to.codes = retry.numbers("codes", 16, 400, 599);
    to.backoff_ms = retry.duration_ms("backoff").value_or(25);
    to.on_non_idempotent = retry.boolean("onNonIdempotent", false);
  });
  if (node.has("upgrades")) out.upgrades = node.strings("upgrades", 8, 64);
  // It decides nothing while everybody can be served: one that cannot be read leaves the rule as it is.
  (void)node.alone([&] {
    const int priority = node.choice("priority", {"sheddable", "standard", "critical"}, 1);
    if (priority >= 0) out.priority = static_cast<store::Priority>(priority);
  });
}

void decode_rules(const JsonNode& spec, std::vector<store::RouteRule>& out) {
  spec.each(
      "rules", 64, [&](const JsonNode& rule) { decode_rule(rule, out.emplace_back()); },
      [&](bool was_read) {
        // A rule without matches means everything, one that is no rule at all means nothing.
        if (!was_read) out.emplace_back().matches.push_back(unreadable_match());
        out.back().invalid = true;
      },
      Need::required);
}

void decode_parent(const JsonNode& node, store::ParentRef& out) {
  out.group = node.string("group", kMaxName, Need::optional, "networking.k8s.io");
  out.kind = node.string("kind", 63, Need::optional, "IngressClass");
  out.ns = node.string("namespace", 63);
  out.name = node.string("name", kMaxName, Need::required);
  // Neither changes to whom the Route attaches.
  (void)node.alone([&] {
    out.section_name = node.string("sectionName", kMaxName);
    out.port = static_cast<uint16_t>(node.integer("port", 1, 65535, 0));
  });
}

void decode_parents(const JsonNode& spec, std::vector<store::ParentRef>& out) {
  spec.each(
      "parentRefs", 16, [&](const JsonNode& node) { decode_parent(node, out.emplace_back()); },
      [&](bool was_read) {
        if (was_read) out.pop_back();
        out.emplace_back();
      },
      Need::required);
  // Nobody would report a Route that attaches nowhere.
  const auto readable = [](const store::ParentRef& parent) { return !parent.name.empty(); };
  if (!out.empty() && std::ranges::none_of(out, readable)) spec.context().failed = true;
}

}  // namespace

void decode_kind(const JsonNode& object, store::Route& out) {
  object.object(
      "spec",
      [&](const JsonNode& spec) {
        decode_parents(spec, out.parent_refs);
        out.hostnames = spec.strings_each("hostnames", 16, kMaxHost);
        decode_rules(spec, out.rules);
      },
      Need::required);
}

}  // namespace sluice::kube
