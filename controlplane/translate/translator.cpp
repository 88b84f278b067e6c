#include <algorithm>
#include <ctime>

#include <fmt/format.h>

#include "controlplane/translate/memo.h"
#include "controlplane/translate/translate.h"

namespace sluice::translate {
namespace {

std::string date(int64_t seconds) {
  const auto time = static_cast<time_t>(seconds);
  std::tm parts{};
  gmtime_r(&time, &parts);
  return fmt::format("{:04}-{:02}-{:02}", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday);
}

void add_listeners(const config::Options& options, Translation& out) {
  const auto add = [&](const char* name, ir::ListenerProtocol protocol, const std::optional<uint16_t>& port) {
    if (!port) return;
    ir::ListenerT& listener = out.listeners.emplace_back();
    listener.name = name;
    listener.protocol = protocol;
    listener.port = *port;
    listener.addresses = options.bind;
  };
  add("http", ir::ListenerProtocol::Http, options.http_port);
  add("https", ir::ListenerProtocol::Https, options.https_port);
}

// This process never saw a good one.
constexpr const char* kElsewhere = "; a last good one is served if the data plane has it, else the default certificate";

// Certificates of one translation: looks Secrets up, keeps the last good form, says what is wrong once per Secret and
// user.
class Certificates {
 public:
  Certificates(const store::Snapshot& snapshot, std::map<store::ObjectKey, CertificateEntry>& entries, int64_t now,
               Translation& out)
      : snapshot_(snapshot), entries_(entries), now_(now), out_(out) {}

  struct Use {
    std::string id;
    const std::vector<std::string>* names = nullptr;  // null: there is no certificate
    bool resolved = true;
  };
  // `user` and `field`: who names the Secret, for problems.
  Use use(const store::ObjectKey& key, const store::ObjectRef& user, const std::string& field) {
    wanted_.insert(key);
    CertificateEntry& entry = entries_[key];
    const auto report = [&](const char* reason, std::string text, store::Severity severity) {
      out_.problems.push_back({user, field, reason, severity, std::move(text)});
    };
    const std::string name = fmt::format("Secret {}/{}", key.ns, key.name);
    const auto found = snapshot_.secrets.find(key);
    if (found == snapshot_.secrets.end()) {
      report("SecretNotFound", name + " does not exist" + kept(entry, kElsewhere), store::Severity::error);
      return last_good(entry, key, false);
    }
    if (!found->second->loaded) {
      pending_.insert(key);
      return last_good(entry, key, true);
    }
    report_flaws({store::Kind::secret, key}, found->second->meta, out_.problems);
    if (entry.source != found->second) {
      entry.source = found->second;
      entry.checked = check_certificate(*found->second);
    }
    if (!entry.checked.certificate) {
      report(entry.checked.reason.c_str(),
             fmt::format("{}: {}{}", name, entry.checked.problem, kept(entry, kElsewhere)), store::Severity::error);
      return last_good(entry, key, false);
    }
    const ir::CertificateT& certificate = *entry.checked.certificate;
    if (now_ != 0 && certificate.not_after <= now_) {
      report("CertificateExpired",
             fmt::format("the certificate in {} expired on {}{}", name, date(certificate.not_after), kept(entry)),
             store::Severity::error);
      if (entry.last_good && valid(*entry.last_good)) return last_good(entry, key, true);
    } else {
      if (now_ != 0 && entry.checked.not_before > now_) {
        report("CertificateNotYetValid",
               fmt::format("the certificate in {} is valid from {}", name, date(entry.checked.not_before)),
               store::Severity::warning);
      }
      entry.last_good = entry.checked.certificate;
      entry.last_good_names = entry.checked.names;
    }
    used_[key] = entry.checked.certificate;
    return {certificate.id, &entry.checked.names, true};
  }

  void finish() {
    out_.wanted_secrets.assign(wanted_.begin(), wanted_.end());
    out_.secrets_pending = pending_.size();
    for (auto& [key, certificate] : used_) out_.certificates.push_back(certificate);
    std::ranges::sort(out_.certificates, {},
                      [](const auto& certificate) -> const std::string& { return certificate->id; });
    // Nobody names it any more: a later claim starts afresh.
    std::erase_if(entries_, [&](const auto& entry) { return !wanted_.contains(entry.first); });
  }

 private:
  [[nodiscard]] bool valid(const ir::CertificateT& certificate) const {
    return now_ == 0 || certificate.not_after > now_;
  }
  [[nodiscard]] std::string kept(const CertificateEntry& entry, const char* otherwise = "") const {
    if (!entry.last_good || !valid(*entry.last_good)) return otherwise;
    return fmt::format("; the last good one, valid until {}, is served", date(entry.last_good->not_after));
  }
  Use last_good(const CertificateEntry& entry, const store::ObjectKey& key, bool resolved) {
    // Named all the same: a data plane may have it from before this process began.
    if (!entry.last_good || !valid(*entry.last_good)) return {key.ns + "/" + key.name, nullptr, resolved};
    auto kept = std::make_shared<ir::CertificateT>(*entry.last_good);
    kept->last_good = true;
    used_[key] = std::move(kept);
    return {entry.last_good->id, &entry.last_good_names, resolved};
  }

  const store::Snapshot& snapshot_;
  std::map<store::ObjectKey, CertificateEntry>& entries_;
  int64_t now_;
  Translation& out_;
  std::set<store::ObjectKey> wanted_, pending_;
  std::map<store::ObjectKey, std::shared_ptr<const ir::CertificateT>> used_;
};

// Returns the objects with a Secret that could not be used.
std::set<store::ObjectRef> add_tls(const std::map<std::string, TlsEntry>& entries, const config::Options& options,
                                   Certificates& certificates, Translation& out) {
  std::set<store::ObjectRef> unresolved;
  for (const auto& [host, entry] : entries) {
    out.problems.insert(out.problems.end(), entry.problems.begin(), entry.problems.end());
    // Without a secretName the default certificate answers.
    if (!entry.has_tls || entry.claim.secret.name.empty()) continue;
    const auto use = certificates.use(entry.claim.secret, entry.winner, entry.claim.secret_field);
    if (!use.resolved) unresolved.insert(entry.winner);
    if (use.names != nullptr && !covers(*use.names, host)) {
      out.problems.push_back({entry.winner, entry.claim.field, "CertificateHostMismatch", store::Severity::warning,
                              fmt::format("the certificate in Secret {} does not name host \"{}\"", use.id, host)});
    }
    ir::TlsHostT tls;
    tls.host = host;
    tls.certificate = use.id;
    out.tls_hosts.push_back(std::move(tls));
  }
  if (options.default_certificate) {
    out.default_certificate = certificates
                                  .use(*options.default_certificate,
                                       {store::Kind::secret, *options.default_certificate}, "--default-ssl-certificate")
                                  .id;
  }
  return unresolved;
}

}  // namespace

Translator::Translator() : memo_(std::make_unique<Memo>()) {}
Translator::~Translator() = default;

Translation Translator::translate(const store::Snapshot& snapshot, const config::Options& options, int64_t now) {
  Memo& memo = *memo_;
  memo.update(snapshot, options);
  Translation out;
  out.settings = options.settings;
  add_listeners(options, out);
  const auto append = [&out](const std::vector<store::Problem>& problems) {
    out.problems.insert(out.problems.end(), problems.begin(), problems.end());
  };
  out.hosts.reserve(memo.hosts.size());
  for (const auto& [host, entry] : memo.hosts) {
    append(entry.result.problems);
    if (entry.result.host) out.hosts.push_back(entry.result.host);
  }
  for (const auto& [name, entry] : memo.clusters) {
    append(entry.problems);
    if (entry.cluster) out.clusters.push_back(entry.cluster);
    if (entry.endpoints) out.endpoints.push_back(entry.endpoints);
    if (!entry.external_host.empty()) out.external_names.push_back({entry.use.service, entry.external_host});
  }
  out.external_names.erase(std::unique(out.external_names.begin(), out.external_names.end()), out.external_names.end());
  Certificates certificates(snapshot, memo.certificates, now, out);
  const auto unresolved = add_tls(memo.tls, options, certificates, out);
  certificates.finish();
  append(memo.fallback_plan.problems);
  for (const auto& [name, ingress_class] : memo.classes.ours)
    report_flaws({store::Kind::ingress_class, ingress_class->meta.key()}, ingress_class->meta, out.problems);
  out.statuses.reserve(memo.objects.size());
  for (const auto& [ref, entry] : memo.objects) {
    append(entry->plan.problems);
    out.statuses.push_back({ref, entry->plan.generation, entry->served_hosts > 0,
                            entry->plan.resolved_refs && !unresolved.contains(ref), entry->plan.parents});
  }
  const auto order = [](const store::Problem& p) { return std::tie(p.object, p.field, p.reason, p.text); };
  std::ranges::sort(out.problems, {}, order);
  const auto same = std::ranges::unique(out.problems);
  out.problems.erase(same.begin(), same.end());
  return out;
}

}  // namespace sluice::translate
