// Who provides the certificate of a host.
#include <algorithm>

#include <fmt/format.h>

#include "controlplane/translate/memo.h"

namespace sluice::translate {

// Namespace of the oldest claim of a host in namespace mode; empty = nobody's, or ownership is shared.
std::string Translator::Memo::owner_of(const std::string& host) const {
  if (options.host_ownership != config::Options::HostOwnership::per_namespace) return {};
  const auto found = hosts.find(host);
  if (found == hosts.end()) return {};
  const Plan* owner = nullptr;
  for (const auto& [ref, index] : found->second.members) {
    const Plan& plan = objects.at(ref)->plan;
    if (!claims_host(plan.hosts[index])) continue;
    if (owner == nullptr ||
        std::tie(plan.age, plan.ref.key, plan.ref.kind) < std::tie(owner->age, owner->ref.key, owner->ref.kind))
      owner = &plan;
  }
  return owner != nullptr ? owner->ref.key.ns : std::string{};
}

bool Translator::Memo::has_tls(const std::string& host) const {
  // Without an https listener there is nowhere to redirect to.
  if (host == "*" || !options.https_port) return false;
  if (const auto exact = tls.find(host); exact != tls.end() && exact->second.has_tls) return true;
  const size_t dot = host.find('.');
  if (dot == std::string::npos) return false;
  const auto wildcard = tls.find("*" + host.substr(dot));
  return wildcard != tls.end() && wildcard->second.has_tls;
}

void Translator::Memo::judge_tls(const std::string& host, TlsEntry& entry) {
  problems.remove(entry.problems);
  entry.problems.clear();
  std::vector<std::pair<const Plan*, const TlsClaim*>> claims;
  for (const auto& [ref, index] : entry.claims) {
    const Plan& plan = objects.at(ref)->plan;
    claims.emplace_back(&plan, &plan.tls[index]);
  }
  std::stable_sort(claims.begin(), claims.end(), [](const auto& a, const auto& b) {
    return std::tie(a.first->age, a.first->ref.key, a.first->ref.kind) <
           std::tie(b.first->age, b.first->ref.key, b.first->ref.kind);
  });
  const std::string owner = owner_of(host);
  const std::pair<const Plan*, const TlsClaim*>* winner = nullptr;
  for (const auto& claim : claims) {
    const auto& [plan, tls_claim] = claim;
    if (!owner.empty() && plan->ref.key.ns != owner) {
      entry.problems.push_back(
          {plan->ref, tls_claim->field, "HostConflict", store::Severity::error,
           fmt::format("host \"{}\" belongs to namespace {}, which claimed it first", host, owner)});
    } else if (winner == nullptr) {
      winner = &claim;
    } else if (tls_claim->secret != winner->second->secret) {
      entry.problems.push_back(
          {plan->ref, tls_claim->secret_field, "TlsConflict", store::Severity::warning,
           fmt::format("host \"{}\" already has its certificate from Ingress {}/{} (Secret {}), {}", host,
                       winner->first->ref.key.ns, winner->first->ref.key.name, winner->second->secret.name,
                       why_first(*winner->first, *plan))});
      if (plan == winner->first)
        entry.problems.back().text = fmt::format("host \"{}\" already has its certificate from {} of this object", host,
                                                 winner->second->secret_field);
    }
  }
  entry.has_tls = winner != nullptr;
  entry.winner = winner != nullptr ? winner->first->ref : store::ObjectRef{};
  entry.claim = winner != nullptr ? *winner->second : TlsClaim{};
  problems.add(entry.problems);
}

void Translator::Memo::update_tls(Dirty& dirty) {
  std::set<std::string>& names = dirty.tls_hosts;
  for (const auto& host : dirty.hosts) {
    if (tls.contains(host)) names.insert(host);  // its owner may have changed
  }
  for (const std::string& host : names) {
    const auto found = tls.find(host);
    if (found == tls.end()) continue;
    const bool before = found->second.has_tls;
    judge_tls(host, found->second);
    if (before != found->second.has_tls) {
      if (hosts.contains(host)) dirty.hosts.insert(host);
      if (host.starts_with("*.")) {
        const std::string_view suffix = std::string_view(host).substr(1);
        for (const auto& [name, entry] : hosts) {
          const size_t dot = name.find('.');
          if (dot != std::string::npos && std::string_view(name).substr(dot) == suffix) dirty.hosts.insert(name);
        }
      }
    }
    if (found->second.claims.empty()) {
      drop_tls(host, found->second, dirty);
      tls.erase(found);
    }
  }
}

}  // namespace sluice::translate
