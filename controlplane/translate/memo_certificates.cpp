// Which certificate a Secret stands for, and what its users get: judged again when the Secret, its users or the time
// make a difference.
#include <algorithm>
#include <ctime>

#include <fmt/format.h>

#include "controlplane/translate/memo.h"

namespace sluice::translate {
namespace {

std::string date(int64_t seconds) {
  const auto time = static_cast<time_t>(seconds);
  std::tm parts{};
  gmtime_r(&time, &parts);
  return fmt::format("{:04}-{:02}-{:02}", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday);
}

// This process never saw a good one.
constexpr const char* kElsewhere = "; a last good one is served if the data plane has it, else the default certificate";

bool in_date(const ir::CertificateT& certificate, int64_t now) { return now == 0 || certificate.not_after > now; }

// The moments at which the verdict may become another one; `now` 0 knows no time.
int64_t next_moment(const CertificateEntry& entry, int64_t now) {
  int64_t next = INT64_MAX;
  const auto consider = [&](int64_t at) {
    if (now != 0 && at > now) next = std::min(next, at);
  };
  if (entry.checked.certificate) consider(entry.checked.not_before), consider(entry.checked.certificate->not_after);
  if (entry.last_good) consider(entry.last_good->not_after);
  return next;
}

}  // namespace

CertificateVerdict Translator::Memo::judge_secret(const store::Snapshot& snapshot, const store::ObjectKey& key,
                                                  CertificateEntry& entry, int64_t now) const {
  CertificateVerdict out;
  const std::string name = fmt::format("Secret {}/{}", key.ns, key.name);
  const bool keeps = entry.last_good && in_date(*entry.last_good, now);
  const std::string kept =
      keeps ? fmt::format("; the last good one, valid until {}, is served", date(entry.last_good->not_after)) : "";
  const auto problem = [&](const char* reason, std::string text, store::Severity severity) {
    out.reason = reason;
    out.text = std::move(text);
    out.severity = severity;
  };
  const auto last_good = [&](bool resolved) {
    out.resolved = resolved;
    if (!keeps) return out;
    auto certificate = std::make_shared<ir::CertificateT>(*entry.last_good);
    certificate->last_good = true;
    out.certificate = std::move(certificate);
    out.names = entry.last_good_names;
    return out;
  };
  const auto found = snapshot.secrets.find(key);
  if (found == snapshot.secrets.end()) {
    problem("SecretNotFound", name + " does not exist" + (keeps ? kept : kElsewhere), store::Severity::error);
    return last_good(false);
  }
  if (!found->second->loaded) {
    out.pending = true;
    return last_good(true);
  }
  if (entry.source != found->second) {
    entry.source = found->second;
    entry.checked = check_certificate(*found->second);
  }
  if (!entry.checked.certificate) {
    problem(entry.checked.reason.c_str(),
            fmt::format("{}: {}{}", name, entry.checked.problem, keeps ? kept : kElsewhere), store::Severity::error);
    return last_good(false);
  }
  const ir::CertificateT& certificate = *entry.checked.certificate;
  if (!in_date(certificate, now)) {
    problem("CertificateExpired",
            fmt::format("the certificate in {} expired on {}{}", name, date(certificate.not_after), kept),
            store::Severity::error);
    if (keeps) return last_good(true);
  } else {
    if (now != 0 && entry.checked.not_before > now) {
      problem("CertificateNotYetValid",
              fmt::format("the certificate in {} is valid from {}", name, date(entry.checked.not_before)),
              store::Severity::warning);
    }
    entry.last_good = entry.checked.certificate;
    entry.last_good_names = entry.checked.names;
  }
  out.certificate = entry.checked.certificate;
  out.names = entry.checked.names;
  return out;
}

void Translator::Memo::use_secret(const std::optional<store::ObjectKey>& key, const std::string& host, bool use,
                                  Dirty& dirty) {
  if (!key) return;
  CertificateEntry& entry = certificates[*key];
  if (use) entry.hosts.insert(host);
  else entry.hosts.erase(host);
  dirty.secrets.insert(*key);
}

// The host is served by TLS no more: everything that followed from its Secret goes.
void Translator::Memo::drop_tls(const std::string& host, TlsEntry& entry, Dirty& dirty) {
  use_secret(entry.secret, host, false, dirty);
  entry.secret.reset();
  problems.remove(entry.problems);
  entry.problems.clear();
  list_tls(host, entry, dirty);
}

// What the host's Secret means for it.
void Translator::Memo::list_tls(const std::string& host, TlsEntry& entry, Dirty& dirty) {
  if (entry.unresolved) {
    dirty.statuses.insert(*entry.unresolved);
    const auto count = unresolved.find(*entry.unresolved);
    if (--count->second == 0) unresolved.erase(count);
    entry.unresolved.reset();
  }
  problems.remove(entry.secret_problems);
  entry.secret_problems.clear();
  std::string id;
  // Without a secretName the default certificate answers.
  if (entry.secret) {
    const CertificateVerdict& verdict = certificates.at(*entry.secret).verdict;
    if (!verdict.reason.empty())
      entry.secret_problems.push_back(
          {entry.winner, entry.claim.secret_field, verdict.reason, verdict.severity, verdict.text});
    if (!verdict.resolved) {
      entry.unresolved = entry.winner;
      ++unresolved[entry.winner];
      dirty.statuses.insert(entry.winner);
    }
    // Named all the same when there is none: a data plane may have a last good one from before this process began.
    id = entry.secret->ns + "/" + entry.secret->name;
    if (verdict.certificate && !covers(verdict.names, host))
      entry.secret_problems.push_back(
          {entry.winner, entry.claim.field, "CertificateHostMismatch", store::Severity::warning,
           fmt::format("the certificate in Secret {} does not name host \"{}\"", id, host)});
  }
  problems.add(entry.secret_problems);
  if (id.empty()) {
    entry.listed.reset();
  } else if (!entry.listed || entry.listed->certificate != id) {
    ir::TlsHostT listed;
    listed.host = host;
    listed.certificate = id;
    entry.listed = std::make_shared<const ir::TlsHostT>(std::move(listed));
  }
}

// Judges what is dirty; hosts of Secrets whose verdict is another one become dirty. Nobody's Secrets are forgotten: a
// later claim starts afresh.
void Translator::Memo::judge_secrets(const store::Snapshot& snapshot, int64_t now, Dirty& dirty) {
  std::set<store::ObjectKey> changed_wants;
  std::set<std::string> ids;
  for (const store::ObjectKey& key : dirty.secrets) {
    changed_wants.insert(key);
    const auto found = certificates.find(key);
    if (found == certificates.end()) continue;
    CertificateEntry& entry = found->second;
    judge_again.erase({entry.judge_again, key});
    ids.insert(key.ns + "/" + key.name);
    out.secrets_pending -= entry.verdict.pending ? 1 : 0;
    problems.remove(entry.flaws);
    entry.flaws.clear();
    if (entry.hosts.empty() && !entry.is_default) {
      certificates.erase(found);
      continue;
    }
    if (const auto secret = snapshot.secrets.find(key); secret != snapshot.secrets.end() && secret->second->loaded)
      report_flaws({store::Kind::secret, key}, secret->second->meta, entry.flaws);
    problems.add(entry.flaws);
    CertificateVerdict verdict = judge_secret(snapshot, key, entry, now);
    out.secrets_pending += verdict.pending ? 1 : 0;
    if (verdict != entry.verdict) {
      entry.verdict = std::move(verdict);
      dirty.tls_hosts.insert(entry.hosts.begin(), entry.hosts.end());
    }
    entry.judge_again = next_moment(entry, now);
    if (entry.judge_again != INT64_MAX) judge_again.insert({entry.judge_again, key});
  }
  const bool other = patch(
      out.wanted_secrets, changed_wants, [](const store::ObjectKey& key) -> const store::ObjectKey& { return key; },
      [&](const store::ObjectKey& key) {
        const bool wanted =
            certificates.contains(key) || ca_users.contains({store::Kind::secret, key}) || tickets.secret == key;
        return wanted ? std::optional(key) : std::nullopt;
      });
  if (other) ++out.wanted_version;
  patch(
      out.certificates, ids, [](const auto& certificate) -> const std::string& { return certificate->id; },
      [&](const std::string& id) -> std::optional<std::shared_ptr<const ir::CertificateT>> {
        const size_t slash = id.find('/');
        const auto found = certificates.find({id.substr(0, slash), id.substr(slash + 1)});
        if (found == certificates.end() || !found->second.verdict.certificate) return std::nullopt;
        return found->second.verdict.certificate;
      });
}

void Translator::Memo::update_certificates(const store::Snapshot& snapshot, int64_t now, Dirty& dirty) {
  for (const std::string& host : dirty.tls_hosts) {
    const auto found = tls.find(host);
    if (found == tls.end()) continue;
    TlsEntry& entry = found->second;
    std::optional<store::ObjectKey> secret;
    if (entry.has_tls && !entry.claim.secret.name.empty()) secret = entry.claim.secret;
    if (secret == entry.secret) continue;
    use_secret(entry.secret, host, false, dirty);
    use_secret(secret, host, true, dirty);
    entry.secret = std::move(secret);
  }
  if (default_certificate != options.default_certificate) {
    for (const auto& [key, use] :
         {std::pair(default_certificate, false), std::pair(options.default_certificate, true)}) {
      if (!key) continue;
      certificates[*key].is_default = use;
      dirty.secrets.insert(*key);
    }
    default_certificate = options.default_certificate;
  }
  const bool other_clock = now < judged_at || (now == 0) != (judged_at == 0);
  if (dirty.everything || other_clock) {
    for (const auto& [key, entry] : certificates) dirty.secrets.insert(key);
  } else {
    for (auto due = judge_again.begin(); due != judge_again.end() && due->first <= now; ++due)
      dirty.secrets.insert(due->second);
  }
  judged_at = now;
  if (!dirty.secrets.empty()) judge_secrets(snapshot, now, dirty);
  for (const std::string& host : dirty.tls_hosts) {
    if (const auto found = tls.find(host); found != tls.end()) list_tls(host, found->second, dirty);
  }
  if (dirty.secrets.empty()) return;
  problems.remove(default_problems);
  default_problems.clear();
  out.default_certificate.clear();
  if (!default_certificate) return;
  const CertificateVerdict& verdict = certificates.at(*default_certificate).verdict;
  if (!verdict.reason.empty())
    default_problems.push_back({{store::Kind::secret, *default_certificate},
                                "--default-ssl-certificate",
                                verdict.reason,
                                verdict.severity,
                                verdict.text});
  out.default_certificate = default_certificate->ns + "/" + default_certificate->name;
  problems.add(default_problems);
}

}  // namespace sluice::translate
