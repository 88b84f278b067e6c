// The control half of the filters: which fields and annotations each reads, and what it writes into the table. One
// ordered registry, whose order is that of dataplane/filters/registry: a route's filters are in chain order because
// they are applied in this order. Pure; knows a rule's filters, an object's annotations and
// what policies come to, never other objects.
#pragma once
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/ir/route_table_generated.h"
#include "controlplane/store/objects.h"

namespace sluice::features {

inline constexpr const char* kSslRedirect = "sluice.dev/ssl-redirect";
// On a Service: what is spoken to its endpoints, and TLS towards them.
inline constexpr const char* kUpstreamCaConfigMap = "sluice.dev/upstream-ca-configmap";
inline constexpr const char* kUpstreamCaSecret = "sluice.dev/upstream-ca-secret";
inline constexpr const char* kUpstreamCertificateName = "sluice.dev/upstream-certificate-name";
inline constexpr const char* kUpstreamSkipVerify = "sluice.dev/upstream-insecure-skip-verify";
inline constexpr const char* kUpstreamSni = "sluice.dev/upstream-sni";
inline constexpr const char* kUpstreamProtocol = "sluice.dev/upstream-protocol";
inline constexpr const char* kPriority = "sluice.dev/priority";
inline constexpr const char* kUpgrades = "sluice.dev/upgrades";
inline constexpr const char* kTestProbe = "sluice.dev/test-probe";

// One field or annotation, as the reference documents it.
struct Row {
  std::string_view name;  // "requestHeaderModifier.set[].name", "sluice.dev/ssl-redirect"
  std::string_view type;
  std::string_view default_value;
  std::string_view doc;
};

struct Input {
  const std::vector<store::RouteFilter>* filters;         // of the rule; null for an Ingress
  const std::map<std::string, std::string>* annotations;  // of the object
  bool allow_test_filters = false;
  const ir::RateLimitT* rate_limit = nullptr;  // of all policies that hit the rule; null: none
};
// What could not be honoured. `filter` is the index in the rule's list, -1 for an annotation; `field` is relative to
// it.
struct Complaint {
  int filter = -1;
  std::string field;
  const char* reason;
  std::string text;
};
using Complain = std::function<void(const Complaint&)>;

struct Feature {
  std::string_view name;  // of the union member
  ir::FilterConfig config;
  std::span<const Row> rows;
  void (*apply)(const Input&, ir::RouteT&, const Complain&);
};

[[nodiscard]] std::span<const Feature> registry();
// All of the registry, in order.
void apply(const Input& input, ir::RouteT& route, const Complain& complain);
// Annotations that no filter reads but translation does.
[[nodiscard]] std::span<const Row> object_annotations();
// Fields of a Route's rule beside those of HTTPRoute, which translation reads.
[[nodiscard]] std::span<const Row> rule_fields();
[[nodiscard]] bool is_known_annotation(std::string_view name);
// docs/reference/objects.md, written by hack/gen-docs from the rows.
[[nodiscard]] std::string reference_markdown();

// ---- shared checks
// RFC 9110 5.1 field-name = token.
[[nodiscard]] bool is_token(std::string_view text);
// RFC 9110 5.5 field-value: no control characters but tab, no white space around.
[[nodiscard]] bool is_field_value(std::string_view text);

// ---- the filters, one file each
void apply_rate_limit(const Input& input, ir::RouteT& route, const Complain& complain);
void apply_request_headers(const Input& input, ir::RouteT& route, const Complain& complain);
void apply_response_headers(const Input& input, ir::RouteT& route, const Complain& complain);
void apply_rewrite(const Input& input, ir::RouteT& route, const Complain& complain);
void apply_test_probe(const Input& input, ir::RouteT& route, const Complain& complain);
extern const std::span<const Row> kHeaderRows, kRateLimitRows, kResponseHeaderRows, kRewriteRows, kTestProbeRows;

}  // namespace sluice::features
