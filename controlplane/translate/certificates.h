// Secrets -> certificates that a worker can load for sure: parsed, key and leaf belong together, strong enough, written
// anew as canonical PEM. The only user of OpenSSL in the control plane's translation. Remembers nothing; the translator
// keeps the last good form.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/ir/route_table_generated.h"
#include "controlplane/store/objects.h"

namespace sluice::translate {

struct CheckedCertificate {
  std::shared_ptr<const ir::CertificateT> certificate;  // null: see problem
  int64_t not_before = 0;
  std::string reason, problem;     // "InvalidCertificate", sentence
  std::vector<std::string> names;  // DNS names of the leaf, lower case
};
[[nodiscard]] CheckedCertificate check_certificate(const store::Secret& secret);

// A bundle of authorities (ca.crt) as canonical PEM. The error is a sentence without its subject.
[[nodiscard]] Result<std::string> check_authorities(std::string_view pem);

// Whether one of the leaf's names covers the host (RFC 9525: a wildcard covers one label). A host "*.x" needs "*.x".
[[nodiscard]] bool covers(const std::vector<std::string>& names, std::string_view host);

}  // namespace sluice::translate
