#include "controlplane/translate/assemble.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include <fmt/format.h>

namespace sluice::translate {
namespace {

std::string name_of(const store::ObjectRef& ref) {
  return fmt::format("{} {}/{}", store::kind_name(ref.kind), ref.key.ns, ref.key.name);
}

bool older(const HostMember& a, const HostMember& b) {
  return std::tie(a.plan->age, a.plan->ref.key, a.plan->ref.kind) <
         std::tie(b.plan->age, b.plan->ref.key, b.plan->ref.kind);
}

struct Placed {
  const Draft* draft;
  const Plan* plan;
};

// Sets exact, prefix and regex of the host from its routes, which are in order already.
void lay_out(ir::VirtualHostT& host) {
  std::map<std::string, std::vector<uint32_t>> exact, prefix;
  for (uint32_t i = 0; i < host.routes.size(); ++i) {
    const ir::RouteT& route = *host.routes[i];
    switch (route.path_kind) {
      case ir::PathKind::Exact:
        exact[route.path].push_back(i);
        break;
      case ir::PathKind::Prefix:
        prefix[route.path].push_back(i);
        break;
      case ir::PathKind::Regex:
        host.regex.push_back(i);
        break;
    }
  }
  const auto fill = [](std::map<std::string, std::vector<uint32_t>>& from,
                       std::vector<std::unique_ptr<ir::PathEntryT>>& to) {
    for (auto& [path, routes] : from) {
      auto entry = std::make_unique<ir::PathEntryT>();
      entry->path = path;
      entry->routes = std::move(routes);
      to.push_back(std::move(entry));
    }
  };
  fill(exact, host.exact);
  fill(prefix, host.prefix);
}

// The first of equal matches wins; the others are told to whom they lost.
std::vector<Placed> without_conflicts(const std::string& host, const std::vector<Placed>& all,
                                      std::vector<store::Problem>& problems) {
  std::vector<Placed> out;
  std::unordered_map<std::string_view, const Placed*> winners;
  out.reserve(all.size());
  for (const Placed& placed : all) {
    const auto [at, fresh] = winners.emplace(placed.draft->same, &placed);
    if (fresh) {
      out.push_back(placed);
      continue;
    }
    const Placed& winner = *at->second;
    const bool same_object = winner.plan == placed.plan;
    const bool fallback = placed.draft->order.rank == Precedence::default_backend;
    std::string text = fmt::format("host \"{}\" already sends the same requests by ", host);
    if (same_object) {
      text += fmt::format("{} of this object", winner.draft->field);
    } else {
      text += fmt::format("{} ({}), {}", name_of(winner.plan->ref), winner.draft->field,
                          why_first(*winner.plan, *placed.plan));
    }
    problems.push_back({placed.plan->ref, placed.draft->field, fallback ? "DefaultBackendConflict" : "PathConflict",
                        same_object || fallback ? store::Severity::warning : store::Severity::error, std::move(text)});
  }
  return out;
}

// In namespace mode members of other namespaces than the owner's are dropped, with a problem each.
void enforce_ownership(const std::string& host, std::vector<HostMember>& members, AssembledHost& out) {
  const HostMember* owner = nullptr;
  for (const HostMember& member : members) {
    if (claims_host(*member.drafts)) {
      owner = &member;
      break;
    }
  }
  if (owner == nullptr) return;
  out.owner = owner->plan->ref.key.ns;
  const std::string whom = name_of(owner->plan->ref);
  std::erase_if(members, [&](const HostMember& member) {
    if (member.plan->ref.key.ns == out.owner) return false;
    const bool soft = !claims_host(*member.drafts);
    out.problems.push_back(
        {member.plan->ref, member.drafts->field, "HostConflict",
         soft ? store::Severity::warning : store::Severity::error,
         fmt::format("host \"{}\" belongs to namespace {}: {} claimed it first", host, out.owner, whom)});
    return true;
  });
}

}  // namespace

const char* why_first(const Plan& winner, const Plan& loser) {
  return winner.age < loser.age ? "which is older" : "which is of the same age and first by name";
}

bool claims_host(const HostDrafts& drafts) {
  return drafts.drafts.empty() ||
         std::ranges::any_of(drafts.drafts, [](const Draft& draft) { return draft.hard_claim; });
}

AssembledHost assemble_host(const std::string& host, std::vector<HostMember> members, bool tls,
                            const ir::RouteT* fallback, const config::Options& options) {
  AssembledHost out;
  std::sort(members.begin(), members.end(), older);
  if (options.host_ownership == config::Options::HostOwnership::per_namespace) enforce_ownership(host, members, out);
  std::vector<Placed> all;
  for (const HostMember& member : members) {
    for (const Draft& draft : member.drafts->drafts) all.push_back({&draft, member.plan});
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const Placed& a, const Placed& b) { return a.draft->order < b.draft->order; });
  const std::vector<Placed> placed = without_conflicts(host, all, out.problems);
  auto built = std::make_shared<ir::VirtualHostT>();
  built->host = host;
  std::set<store::ObjectRef> served;
  for (const Placed& entry : placed) {
    auto route = std::make_unique<ir::RouteT>(*entry.draft->route);
    route->https_only = tls && entry.draft->https_redirect;
    built->routes.push_back(std::move(route));
    served.insert(entry.plan->ref);
  }
  out.served.assign(served.begin(), served.end());
  if (fallback != nullptr) {
    auto route = std::make_unique<ir::RouteT>(*fallback);
    route->https_only = tls && options.ssl_redirect;
    built->routes.push_back(std::move(route));
  }
  // A host that is claimed but has no route still answers 404 itself rather than as "*": it is kept.
  if (built->routes.empty() && out.owner.empty() && members.empty()) return out;
  lay_out(*built);
  out.host = std::move(built);
  return out;
}

}  // namespace sluice::translate
