#include <array>

#include "controlplane/features/feature.h"

namespace sluice::features {
namespace {

constexpr std::array<Row, 9> kObjectAnnotations = {{
    {kSslRedirect, "boolean", "the gateway's sslRedirect (true)",
     "Plain HTTP is answered with 308 to https where the host has TLS. On an Ingress, a Route or an IngressClass. "
     "Paths of an Ingress at or below /.well-known/acme-challenge are never redirected (RFC 8555, HTTP-01)."},
    {kUpgrades, "comma list", "websocket",
     "On an Ingress: protocols that clients may upgrade to, at most 8; empty: none. A value that cannot be honoured "
     "allows none. A Route's rule has the field upgrades."},
    {kPriority, "sheddable, standard or critical", "standard",
     "On an Ingress: who is served when not everybody can be. Under overload new requests of sheddable objects are "
     "answered 503 first, then those of standard ones, of critical ones last. A Route's rule has the field priority."},
    {kUpstreamProtocol, "http1 or h2", "by appProtocol",
     "On a Service: HTTP/1.1 or HTTP/2 towards its endpoints. By itself appProtocol h2c, kubernetes.io/h2c and grpc "
     "mean "
     "HTTP/2 in the clear; h2, kubernetes.io/h2 and grpcs HTTP/2 over TLS; https and kubernetes.io/wss HTTP/1.1 over "
     "TLS; anything else HTTP/1.1 in the clear. The annotation changes the version of HTTP, never whether there is "
     "TLS."},
    {kUpstreamCaConfigMap, "string", "the system's authorities",
     "On a Service whose appProtocol means TLS (sluice.dev/upstream-protocol has the list): a ConfigMap of its "
     "namespace whose ca.crt holds the authorities that its "
     "endpoints' certificates must come from."},
    {kUpstreamCaSecret, "string", "", "The same from a Secret's ca.crt. One of the two."},
    {kUpstreamSni, "string", "NAME.NAMESPACE.svc; the externalName of an ExternalName",
     "On such a Service: the name sent in the handshake."},
    {kUpstreamCertificateName, "string", "the name sent in the handshake",
     "On such a Service: the DNS name or address that its endpoints' certificates must be for."},
    {kUpstreamSkipVerify, "boolean", "false",
     "On such a Service: encrypts without verifying anything. Excludes the others but "
     "sluice.dev/upstream-sni; an Event warns."},
}};

constexpr std::array<Row, 5> kRuleFields = {{
    {"upgrades[]", "list of names", "[websocket]",
     "Protocols that clients may upgrade to (RFC 9110 7.8; over HTTP/2 by RFC 8441), in any case, at most 8; []: none. "
     "Names without version; HTTP and TLS are not among them."},
    {"priority", "sheddable, standard or critical", "standard",
     "Who is served when not everybody can be: under overload new requests of sheddable rules are answered 503 first, "
     "then those of standard ones, of critical ones last."},
    {"matches[].grpc.type", "Exact or RegularExpression", "Exact",
     "A gRPC method, that is the path /SERVICE/METHOD; excludes path. Says nothing of content-type or the HTTP method. "
     "A regular expression (RE2) covers the whole name and needs no anchors. The order among the matches is that of "
     "paths: service and method by name are an exact path, a service alone is a prefix, anything else a regular "
     "expression."},
    {"matches[].grpc.service", "string", "any",
     "Full name of the service, such as shop.v1.Cart. At least one of the two."},
    {"matches[].grpc.method", "string", "any", "Name of the method."},
}};

}  // namespace

std::span<const Feature> registry() {
  // The place in this list is the place in the chain (dataplane/filters/registry.cpp has the same order):
  static const std::array<Feature, 5> kRegistry = {{
      // Tests only; first, so that it sees what the client sent and what it will get.
      {"TestProbe", ir::FilterConfig::TestProbe, kTestProbeRows, apply_test_probe},
      // Before anything that works for the request, and by what the client sent.
      {"RateLimit", ir::FilterConfig::RateLimit, kRateLimitRows, apply_rate_limit},
      // Header edits see the request as it came, before a rewrite changes its path or host.
      {"RequestHeaders", ir::FilterConfig::RequestHeaders, kHeaderRows, apply_request_headers},
      // Answers pass the chain from its end: what is nearer to the client edits last.
      {"ResponseHeaders", ir::FilterConfig::ResponseHeaders, kResponseHeaderRows, apply_response_headers},
      {"Rewrite", ir::FilterConfig::Rewrite, kRewriteRows, apply_rewrite},
  }};
  return kRegistry;
}

void apply(const Input& input, ir::RouteT& route, const Complain& complain) {
  for (const Feature& feature : registry()) feature.apply(input, route, complain);
}

std::span<const Row> object_annotations() { return kObjectAnnotations; }

std::span<const Row> rule_fields() { return kRuleFields; }

bool is_known_annotation(std::string_view name) {
  for (const Row& row : object_annotations()) {
    if (row.name == name) return true;
  }
  for (const Feature& feature : registry()) {
    for (const Row& row : feature.rows) {
      if (row.name == name) return true;
    }
  }
  return false;
}

bool is_token(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!letter && std::string_view("!#$%&'*+-.^_`|~").find(c) == std::string_view::npos) return false;
  }
  return true;
}

bool is_field_value(std::string_view text) {
  if (text.empty()) return true;
  for (const char c : text) {
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f) return false;
  }
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  return !blank(text.front()) && !blank(text.back());
}

}  // namespace sluice::features
