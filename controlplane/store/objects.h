// Typed Kubernetes objects: what decode makes of JSON and translation reads. Values only, no I/O, no JSON, no defaults
// beyond the API's own. Names follow the Kubernetes API. Decode bounds every list and string, so code past this point
// need not.
#pragma once
#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/base/secret.h"

namespace sluice::store {

enum class Kind : uint8_t {
  ingress,
  ingress_class,
  service,
  endpoint_slice,
  secret,
  config_map,
  namespace_,
  route,
  rate_limit_policy
};
inline constexpr size_t kKinds = 9;
[[nodiscard]] const char* kind_name(Kind kind);  // "Ingress", "IngressClass", ...

struct ObjectKey {
  std::string ns;  // empty for cluster-scoped kinds
  std::string name;
  auto operator<=>(const ObjectKey&) const = default;
};
struct ObjectRef {
  Kind kind{};
  ObjectKey key;
  auto operator<=>(const ObjectRef&) const = default;
};

// A part that decode could not read and that spoils no other: the element is marked `invalid`, or left out where its
// place in the list means nothing. Translation answers for it and reports the flaw if the object is ours.
struct Flaw {
  std::string field, text;
  bool warning = false;  // nothing is answered differently
  bool operator==(const Flaw&) const = default;
};
// What stands for an annotation whose value is no string. No reader takes it for a value of its own.
inline constexpr const char* kUnreadable = "\x01";

struct Meta {
  std::string ns, name, uid, resource_version;
  int64_t generation = 0;
  int64_t creation = 0;  // Unix seconds; 0 = unknown
  std::map<std::string, std::string> labels, annotations;
  std::vector<Flaw> flaws;
  [[nodiscard]] ObjectKey key() const { return {ns, name}; }
  bool operator==(const Meta&) const = default;
};

// ---- networking.k8s.io/v1
struct ServiceBackendPort {
  std::string name;  // one of the two
  uint16_t number = 0;
  bool operator==(const ServiceBackendPort&) const = default;
};
struct IngressBackend {
  std::string service;  // empty when `resource_kind` is set
  ServiceBackendPort port;
  std::string resource_kind, resource_name;
  bool invalid = false;
  bool operator==(const IngressBackend&) const = default;
};
enum class PathType : uint8_t { exact, prefix, implementation_specific };
struct IngressPath {
  std::string path;
  PathType type = PathType::implementation_specific;
  IngressBackend backend;
  bool invalid = false;  // cannot be placed
  bool operator==(const IngressPath&) const = default;
};
struct IngressRule {
  std::string host;
  std::vector<IngressPath> paths;
  bool invalid = false;
  bool operator==(const IngressRule&) const = default;
};
struct IngressTls {
  std::vector<std::string> hosts;  // "" = an unreadable one
  std::string secret;
  bool invalid = false;
  bool operator==(const IngressTls&) const = default;
};
struct Ingress {
  Meta meta;
  std::optional<std::string> class_name;
  std::optional<IngressBackend> default_backend;
  std::vector<IngressRule> rules;
  std::vector<IngressTls> tls;
  bool operator==(const Ingress&) const = default;
};
struct IngressClass {
  Meta meta;
  std::string controller;
  bool is_default = false;  // annotation ingressclass.kubernetes.io/is-default-class
  bool operator==(const IngressClass&) const = default;
};

// ---- v1, discovery.k8s.io/v1
struct ServicePort {
  std::string name;
  uint16_t port = 0;
  std::string protocol;      // "TCP" by default
  std::string target_port;   // number or name as text
  std::string app_protocol;  // "kubernetes.io/h2c", "https", ...
  bool operator==(const ServicePort&) const = default;
};
struct ServiceAddress {
  enum class From : uint8_t { cluster_ips, external_ips, load_balancer } from{};
  std::string ip, hostname;  // unchecked; a load balancer's may have both
  bool operator==(const ServiceAddress&) const = default;
};
struct Service {
  Meta meta;
  std::string type;  // ClusterIP, NodePort, LoadBalancer, ExternalName
  std::string external_name;
  std::vector<ServicePort> ports;
  std::vector<ServiceAddress> addresses;  // only where somebody asks for them (kube::ReflectorScope::addresses)
  bool operator==(const Service&) const = default;
};
struct SliceEndpoint {
  std::vector<std::string> addresses;                      // "" = an unreadable one
  bool ready = true, serving = true, terminating = false;  // absent conditions: ready and serving count as true
  std::string zone;
  bool invalid = false;
  bool operator==(const SliceEndpoint&) const = default;
};
struct SlicePort {
  std::string name, protocol, app_protocol;
  uint16_t port = 0;
  bool operator==(const SlicePort&) const = default;
};
struct EndpointSlice {
  Meta meta;
  std::string service;       // label kubernetes.io/service-name
  std::string address_type;  // IPv4, IPv6, FQDN
  std::vector<SlicePort> ports;
  std::vector<SliceEndpoint> endpoints;
  bool operator==(const EndpointSlice&) const = default;
};
struct Secret {
  Meta meta;
  std::string type;
  bool loaded = false;  // false: only metadata is known; data is fetched when an accepted object names it
  std::map<std::string, SecretBytes> data;
  bool operator==(const Secret&) const = default;
};
struct ConfigMap {
  Meta meta;
  bool loaded = false;
  std::map<std::string, std::string> data;
  bool operator==(const ConfigMap&) const = default;
};
struct Namespace {
  Meta meta;
  bool operator==(const Namespace&) const = default;
};

// ---- sluice.dev/v1alpha1 Route: the shapes of Gateway API's HTTPRoute
struct ParentRef {
  std::string group, kind, ns, name, section_name;  // first form: networking.k8s.io IngressClass
  uint16_t port = 0;
  bool operator==(const ParentRef&) const = default;
};
enum class PathMatchType : uint8_t { exact, path_prefix, regular_expression };
struct PathMatch {
  PathMatchType type = PathMatchType::path_prefix;
  std::string value = "/";
  bool operator==(const PathMatch&) const = default;
};
enum class ValueMatchType : uint8_t { exact, regular_expression, present };
struct ValueMatch {  // of a header or a query parameter
  ValueMatchType type = ValueMatchType::exact;
  std::string name, value;
  bool operator==(const ValueMatch&) const = default;
};
struct GrpcMatch {  // at least one of the names
  enum class Type : uint8_t { exact, regular_expression } type = Type::exact;
  std::string service, method;
  bool operator==(const GrpcMatch&) const = default;
};
struct RouteMatch {
  PathMatch path;
  std::optional<GrpcMatch> grpc;  // instead of the path
  std::string method;             // empty = any
  std::vector<ValueMatch> headers, query_params;
  bool invalid = false;  // cannot be placed
  bool operator==(const RouteMatch&) const = default;
};
struct HttpHeader {
  std::string name, value;
  bool operator==(const HttpHeader&) const = default;
};
struct HeaderFilter {
  std::vector<HttpHeader> set, add;
  std::vector<std::string> remove;
  bool operator==(const HeaderFilter&) const = default;
};
enum class PathModifierType : uint8_t { replace_full_path, replace_prefix_match, replace_regex_match };
struct PathModifier {
  PathModifierType type = PathModifierType::replace_full_path;
  std::string value;    // replaceFullPath / replacePrefixMatch / regex substitution (\1 .. \9)
  std::string pattern;  // replaceRegexMatch only
  bool operator==(const PathModifier&) const = default;
};
struct RedirectFilter {
  std::string scheme, hostname;
  std::optional<PathModifier> path;
  uint16_t port = 0, status_code = 302;
  bool operator==(const RedirectFilter&) const = default;
};
struct RewriteFilter {
  std::string hostname;
  std::optional<PathModifier> path;
  bool operator==(const RewriteFilter&) const = default;
};
struct DirectResponseFilter {
  uint16_t status_code = 200;
  std::string content_type = "text/plain", body;
  bool operator==(const DirectResponseFilter&) const = default;
};
struct RequestHeaderModifier {
  HeaderFilter edits;
  bool operator==(const RequestHeaderModifier&) const = default;
};
struct ResponseHeaderModifier {
  HeaderFilter edits;
  bool operator==(const ResponseHeaderModifier&) const = default;
};
using RouteFilter =
    std::variant<RequestHeaderModifier, ResponseHeaderModifier, RedirectFilter, RewriteFilter, DirectResponseFilter>;
struct BackendRef {
  std::string group, kind = "Service", ns, name;
  uint16_t port = 0;
  uint32_t weight = 1;
  bool invalid = false;
  bool operator==(const BackendRef&) const = default;
};
struct RouteRetry {
  uint8_t attempts = 1;
  std::vector<uint16_t> codes;
  uint32_t backoff_ms = 25;
  bool on_non_idempotent = false;
  bool operator==(const RouteRetry&) const = default;
};
// Who is served when not everybody can be; smaller ones are refused first.
enum class Priority : uint8_t { sheddable, standard, critical };
struct RouteRule {
  std::string name;
  std::vector<RouteMatch> matches;  // any of them; none = everything
  std::vector<RouteFilter> filters;
  std::vector<BackendRef> backend_refs;
  std::optional<uint32_t> request_timeout_ms, backend_request_timeout_ms;
  std::optional<RouteRetry> retry;
  std::vector<std::string> upgrades = {"websocket"};  // in any case
  Priority priority = Priority::standard;
  bool invalid = false;  // what it does cannot be read: its matches answer 500
  bool operator==(const RouteRule&) const = default;
};
struct Route {
  Meta meta;
  std::vector<ParentRef> parent_refs;  // an unreadable one has no name
  std::vector<std::string> hostnames;  // "" = an unreadable one
  std::vector<RouteRule> rules;
  bool operator==(const Route&) const = default;
};

// ---- sluice.dev/v1alpha1 RateLimitPolicy
struct PolicyTarget {
  std::string group, kind, name;  // of the policy's own namespace; an unreadable one has no name
  std::string section_name;       // of a Route: one of its rules; empty = all
  bool operator==(const PolicyTarget&) const = default;
};
enum class LimitKeyType : uint8_t { client_ip, header, cookie, method, path, host };
struct LimitKey {
  LimitKeyType type = LimitKeyType::client_ip;
  std::string name;  // of a header or cookie
  uint8_t ipv4_prefix_length = 32, ipv6_prefix_length = 64;
  bool operator==(const LimitKey&) const = default;
};
struct RateLimit {
  std::string name;
  uint32_t requests = 0, per_ms = 1000, burst = 0;
  std::vector<LimitKey> keys;  // none = one bucket for all
  bool skip_missing = false;
  bool operator==(const RateLimit&) const = default;
};
enum class ResponseFields : uint8_t { standard, legacy, both, none };
struct RateLimitPolicy {
  Meta meta;
  std::vector<PolicyTarget> target_refs;
  std::vector<RateLimit> limits;          // each name once
  std::vector<std::string> exempt_cidrs;  // "" = an unreadable one
  bool shadow = false;
  ResponseFields response_fields = ResponseFields::standard;
  bool invalid = false;  // its limits cannot be read: what it targets answers 500
  bool operator==(const RateLimitPolicy&) const = default;
};

using Object = std::variant<Ingress, IngressClass, Service, EndpointSlice, Secret, ConfigMap, Namespace, Route,
                            RateLimitPolicy>;  // in the order of Kind
[[nodiscard]] inline Kind kind_of(const Object& object) { return static_cast<Kind>(object.index()); }
[[nodiscard]] const Meta& meta_of(const Object& object);
[[nodiscard]] inline ObjectRef ref_of(const Object& object) { return {kind_of(object), meta_of(object).key()}; }

}  // namespace sluice::store
