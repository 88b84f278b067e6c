// Test objects written as YAML: each document becomes JSON and goes through the same decode as everything else.
#pragma once
#include <string>
#include <vector>

#include "controlplane/config/options.h"
#include "controlplane/store/problem.h"
#include "controlplane/store/snapshot.h"

namespace sluice::test {

// What a golden input holds. Documents of kind Options are the operator's choice:
// {kind: Options, hostOwnership, defaultBackend, defaultCertificate, ticketKeysSecret, allowExternalName,
// allowLoopback, sslRedirect, externalNameCidrs, names, allowTestFilters, watchNamespaces, classPolicyNamespaces,
// ownNamespace, classPoliciesAnywhere, now, programmed}. With
// `base: true` the objects of base.yaml in `dir` are there too.
struct Objects {
  store::Snapshot snapshot;
  config::Options options;
  int64_t now = 0;
  bool programmed = true;
  std::vector<store::Problem> undecodable;
};
// `dir`: where "@file" values of a Secret's stringData are read from. Throws std::runtime_error on a broken test file.
[[nodiscard]] Objects read_objects(const std::string& yaml, const std::string& dir);
// Documents for it: an Ingress with TLS, and the Secret of its certificate. Goes behind the Options.
inline constexpr const char* kTlsIngress = R"(
---
apiVersion: v1
kind: Secret
metadata: {name: cert}
type: kubernetes.io/tls
stringData: {tls.crt: "@certs/a.example.com.crt", tls.key: "@certs/a.example.com.key"}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  ingressClassName: sluice
  tls: [{hosts: [a.example.com], secretName: cert}]
  rules: [{host: a.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]
)";
void put(store::Snapshot& snapshot, store::Object object);

}  // namespace sluice::test
