#include "controlplane/translate/upstream_tls.h"

#include <fmt/format.h>

#include "controlplane/features/feature.h"
#include "controlplane/features/path_modifier.h"
#include "controlplane/translate/certificates.h"
#include "controlplane/translate/endpoints.h"

namespace sluice::translate {
namespace {

constexpr const char* kCaKey = "ca.crt";

class Reader {
 public:
  Reader(const store::Service& service, const store::Snapshot& snapshot, std::vector<store::Problem>& problems)
      : service_(service), snapshot_(snapshot), problems_(problems) {}

  UpstreamTls read() {
    UpstreamTls out;
    auto policy = std::make_unique<ir::UpstreamTlsT>();
    const bool external = service_.type == "ExternalName";
    // The names a cluster's own certificates carry; an external name is a public one.
    policy->sni = external ? service_.external_name : fmt::format("{}.{}.svc", service_.meta.name, service_.meta.ns);
    if (policy->sni.ends_with('.')) policy->sni.pop_back();
    name(features::kUpstreamSni, false, policy->sni);
    name(features::kUpstreamCertificateName, true, policy->name);
    policy->verify = !skip();
    if (const auto ca = authority_ref()) authority(*ca, *policy, out);
    if (!unusable_ && !out.pending) out.policy = std::move(policy);
    return out;
  }

 private:
  const std::string* annotation(const char* key) const {
    const auto found = service_.meta.annotations.find(key);
    return found == service_.meta.annotations.end() ? nullptr : &found->second;
  }
  void report(const char* key, const char* reason, std::string text,
              store::Severity severity = store::Severity::error) {
    problems_.push_back({{store::Kind::service, service_.meta.key()},
                         fmt::format("metadata.annotations[{}]", key),
                         reason,
                         severity,
                         std::move(text)});
  }
  void refuse(const char* key, const char* reason, std::string text) {
    unusable_ = true;
    report(key, reason, std::move(text) + "; requests to it are answered with an error");
  }

  void name(const char* key, bool address, std::string& out) {
    const std::string* value = annotation(key);
    if (value == nullptr) return;
    if (parse_address(*value) ? address : features::is_plain_host(*value)) out = *value;
    else refuse(key, "InvalidAnnotation", address ? "must be a DNS name or an address" : "must be a DNS name");
  }

  bool skip() {
    const std::string* value = annotation(features::kUpstreamSkipVerify);
    if (value == nullptr || *value == "false") return false;
    if (*value != "true") {
      refuse(features::kUpstreamSkipVerify, "InvalidAnnotation", "must be \"true\" or \"false\"");
      return false;
    }
    if (annotation(features::kUpstreamCaSecret) != nullptr || annotation(features::kUpstreamCaConfigMap) != nullptr ||
        annotation(features::kUpstreamCertificateName) != nullptr) {
      refuse(features::kUpstreamSkipVerify, "InvalidAnnotation", "excludes the annotations that say how to verify");
      return false;
    }
    report(features::kUpstreamSkipVerify, "UpstreamNotVerified",
           "whoever can take the place of these endpoints can read and answer their requests",
           store::Severity::warning);
    return true;
  }

  struct Named {
    const char* key;
    store::ObjectRef ref;
  };
  std::optional<Named> authority_ref() {
    std::optional<Named> out;
    for (const auto& [key, kind] : {std::pair{features::kUpstreamCaSecret, store::Kind::secret},
                                    std::pair{features::kUpstreamCaConfigMap, store::Kind::config_map}}) {
      const std::string* value = annotation(key);
      if (value == nullptr) continue;
      if (value->empty() || value->size() > 253 || value->find_first_of("/\x01") != std::string::npos)
        refuse(key, "InvalidAnnotation", "must be the name of an object in the Service's namespace");
      else if (out) refuse(key, "InvalidAnnotation", fmt::format("excludes {}", out->key));
      else out = Named{key, {kind, {service_.meta.ns, *value}}};
    }
    return out;
  }

  void authority(const Named& named, ir::UpstreamTlsT& policy, UpstreamTls& out) {
    out.ca = named.ref;
    const std::string object =
        fmt::format("{} {}/{}", store::kind_name(named.ref.kind), named.ref.key.ns, named.ref.key.name);
    const auto with = [&](const auto& objects, const char* missing, const auto& text_of) {
      const auto found = objects.find(named.ref.key);
      if (found == objects.end()) return refuse(named.key, missing, object + " does not exist");
      if (!found->second->loaded) {
        out.pending = true;
        return;
      }
      report_flaws(named.ref, found->second->meta, problems_);
      const auto entry = found->second->data.find(kCaKey);
      auto pem = check_authorities(entry == found->second->data.end() ? std::string_view{} : text_of(entry->second));
      if (!pem)
        return refuse(named.key, "InvalidCertificate", fmt::format("{}: {} {}", object, kCaKey, pem.error().message));
      policy.ca_pem = std::move(*pem);
    };
    if (named.ref.kind == store::Kind::secret)
      with(snapshot_.secrets, "SecretNotFound", [](const SecretBytes& bytes) { return bytes.reveal(); });
    else
      with(snapshot_.config_maps, "ConfigMapNotFound", [](const std::string& text) { return std::string_view(text); });
  }

  const store::Service& service_;
  const store::Snapshot& snapshot_;
  std::vector<store::Problem>& problems_;
  bool unusable_ = false;
};

}  // namespace

UpstreamTls make_upstream_tls(const store::Service& service, const store::Snapshot& snapshot,
                              std::vector<store::Problem>& problems) {
  return Reader(service, snapshot, problems).read();
}

}  // namespace sluice::translate
