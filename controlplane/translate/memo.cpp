#include "controlplane/translate/memo.h"

#include <algorithm>
#include <span>
#include <tuple>
#include <utility>

#include "controlplane/translate/backends.h"
#include "controlplane/translate/routes.h"

namespace sluice::translate {
namespace {

bool same_target(const std::optional<config::ServiceTarget>& a, const std::optional<config::ServiceTarget>& b) {
  return a.has_value() == b.has_value() && (!a || (a->service == b->service && a->port == b->port));
}

// Settings and listeners are copied anew each time; only what plans and hosts read counts.
bool same_meaning(const config::Options& a, const config::Options& b) {
  const auto words = [](const config::Options& o) {
    return std::tie(o.controller_name, o.host_ownership, o.watch_namespaces, o.ssl_redirect, o.allow_external_name,
                    o.allow_loopback_endpoints, o.allow_test_filters, o.https_port, o.external_name_ranges,
                    o.own_addresses, o.class_policy_namespaces, o.class_policies_anywhere, o.own_namespace);
  };
  return words(a) == words(b) && same_target(a.default_backend, b.default_backend);
}

// A write of its status gives a policy another version and nothing else.
bool same_but_version(const store::RateLimitPolicy* a, const store::RateLimitPolicy* b) {
  if (a == nullptr || b == nullptr) return false;
  store::RateLimitPolicy copy = *b;
  copy.meta.resource_version = a->meta.resource_version;
  return *a == copy;
}

// What the journal says of a kind since a version; nothing if it does not reach back so far.
std::optional<std::span<const store::ObjectKey>> touched_since(const store::Snapshot& snapshot, store::Kind kind,
                                                               uint64_t version) {
  const auto& journal = snapshot.journals[static_cast<size_t>(kind)];
  const uint64_t now = snapshot.kind_versions[static_cast<size_t>(kind)];
  const bool counts = journal.from + journal.keys.size() == now;
  if (!counts || version == 0 || version < journal.from || version > now) return std::nullopt;
  return std::span(journal.keys).subspan(version - journal.from);
}

// The same as diff_map below for the given keys only.
template <class T, class Change>
void diff_keys(store::ObjectMap<T>& mine, const store::ObjectMap<T>& now, std::span<const store::ObjectKey> keys,
               const Change& change) {
  for (const store::ObjectKey& key : keys) {
    const auto old = mine.find(key);
    const auto next = now.find(key);
    const std::shared_ptr<const T> before = old == mine.end() ? nullptr : old->second;
    const std::shared_ptr<const T> after = next == now.end() ? nullptr : next->second;
    if (before == after) continue;  // also a key that is listed twice
    change(key, before.get(), after.get());
    if (after == nullptr) mine.erase(old);
    else mine.insert_or_assign(key, after);
  }
}

// Walks both sorted maps; calls change(key, old or null, new or null) where the pointers differ and brings `mine` up to
// date.
template <class T, class Change>
void diff_map(store::ObjectMap<T>& mine, const store::ObjectMap<T>& now, const Change& change) {
  auto old = mine.begin();
  auto next = now.begin();
  while (old != mine.end() || next != now.end()) {
    if (next == now.end() || (old != mine.end() && old->first < next->first)) {
      change(old->first, old->second.get(), static_cast<const T*>(nullptr));
      old = mine.erase(old);
    } else if (old == mine.end() || next->first < old->first) {
      change(next->first, static_cast<const T*>(nullptr), next->second.get());
      mine.emplace_hint(old, next->first, next->second);
      ++next;
    } else {
      if (old->second != next->second) {
        change(old->first, old->second.get(), next->second.get());
        old->second = next->second;
      }
      ++old, ++next;
    }
  }
}

}  // namespace

void Translator::Memo::reset() {
  auto kept = std::move(certificates);
  auto ticket_secret = std::move(tickets.secret);
  auto ticket_keys = std::move(out.ticket_keys);
  auto ticket_keys_secret = std::move(out.ticket_keys_secret);
  const uint64_t wanted_version = out.wanted_version;
  *this = Memo();
  certificates = std::move(kept);
  tickets.secret = std::move(ticket_secret);
  out.ticket_keys = std::move(ticket_keys);
  out.ticket_keys_secret = std::move(ticket_keys_secret);
  out.wanted_version = wanted_version + 1;
  for (auto& [key, entry] : certificates) {
    entry.hosts.clear();
    entry.is_default = false;
    entry.verdict = {};
    entry.flaws.clear();
  }
}

void Translator::Memo::update(const store::Snapshot& snapshot, const config::Options& new_options, int64_t now) {
  if (valid && !same_meaning(options, new_options)) reset();
  options = new_options;
  Dirty dirty;
  dirty.everything = !valid;
  valid = true;
  Classes new_classes = resolve_classes(snapshot.ingress_classes, options.controller_name);
  if (new_classes != classes) {
    classes = std::move(new_classes);
    dirty.classes = true;
    problems.remove(class_problems);
    class_problems.clear();
    for (const auto& [name, ingress_class] : classes.ours)
      report_flaws({store::Kind::ingress_class, ingress_class->meta.key()}, ingress_class->meta, class_problems);
    problems.add(class_problems);
    for (const auto& [key, object] : snapshot.ingresses) dirty.objects.insert({store::Kind::ingress, key});
    for (const auto& [key, object] : snapshot.routes) dirty.objects.insert({store::Kind::route, key});
  }
  diff(snapshot, dirty);
  update_policies(snapshot, dirty);
  replan(snapshot, dirty);
  judge_policies(snapshot, dirty);
  update_fallback(snapshot, dirty);
  update_tls(dirty);
  update_hosts(dirty);
  update_clusters(snapshot, dirty);
  update_ticket_keys(snapshot, dirty);
  update_certificates(snapshot, now, dirty);
  list_all(dirty);
}

void Translator::Memo::diff(const store::Snapshot& snapshot, Dirty& dirty) {
  // Calls walk(keys) with what the journal names, or walk(nothing) if all has to be compared; not at all if the kind is
  // as it was.
  const auto look = [&](store::Kind kind, const auto& walk) {
    const uint64_t now = snapshot.kind_versions[static_cast<size_t>(kind)];
    const uint64_t before = std::exchange(kind_versions[static_cast<size_t>(kind)], now);
    if (now == 0 || now != before) walk(touched_since(snapshot, kind, before));
  };
  const auto differences = [&](store::Kind kind, auto& mine, const auto& theirs, const auto& change) {
    look(kind, [&](const auto& keys) {
      if (keys) diff_keys(mine, theirs, *keys, change);
      else diff_map(mine, theirs, change);
    });
  };
  differences(store::Kind::ingress, ingresses, snapshot.ingresses, [&](const store::ObjectKey& key, auto*, auto*) {
    dirty.objects.insert({store::Kind::ingress, key});
  });
  differences(store::Kind::route, routes, snapshot.routes, [&](const store::ObjectKey& key, auto*, auto*) {
    dirty.objects.insert({store::Kind::route, key});
  });
  differences(store::Kind::service, services, snapshot.services, [&](const store::ObjectKey& key, auto*, auto*) {
    dirty.services.insert(key);
    const auto users = service_users.find(key);
    if (users != service_users.end()) dirty.objects.insert(users->second.begin(), users->second.end());
  });
  differences(store::Kind::endpoint_slice, slices, snapshot.endpoint_slices,
              [&](const store::ObjectKey& key, const store::EndpointSlice* old, const store::EndpointSlice* now) {
                if (old != nullptr) {
                  const store::ObjectKey service{key.ns, old->service};
                  erase_value(service_slices, service, key);
                  dirty.slice_services.insert(service);
                }
                if (now != nullptr) {
                  const store::ObjectKey service{key.ns, now->service};
                  service_slices[service].insert(key);
                  dirty.slice_services.insert(service);
                }
              });
  differences(store::Kind::rate_limit_policy, rate_limit_policies, snapshot.rate_limit_policies,
              [&](const store::ObjectKey& key, const store::RateLimitPolicy* old, const store::RateLimitPolicy* now) {
                if (!same_but_version(old, now)) dirty.policies.insert(key);
              });
  look(store::Kind::secret, [&](const auto& keys) {
    if (keys) return dirty.secrets.insert(keys->begin(), keys->end());
    for (const auto& [key, entry] : certificates) dirty.secrets.insert(key);
    if (tickets.secret) dirty.secrets.insert(*tickets.secret);
  });
}

bool Translator::Memo::watches(const std::string& ns) const {
  return options.watch_namespaces.empty() ||
         std::ranges::find(options.watch_namespaces, ns) != options.watch_namespaces.end();
}

void Translator::Memo::replan(const store::Snapshot& snapshot, Dirty& dirty) {
  const PlanContext context{options, classes, snapshot.services, policy_index};
  for (const store::ObjectRef& ref : dirty.objects) {
    remove(ref, dirty);
    if (!watches(ref.key.ns)) continue;
    auto entry = std::make_unique<ObjectEntry>();
    if (ref.kind == store::Kind::ingress) {
      const auto found = snapshot.ingresses.find(ref.key);
      if (found == snapshot.ingresses.end()) continue;
      entry->plan = plan_ingress(*found->second, context);
    } else {
      const auto found = snapshot.routes.find(ref.key);
      if (found == snapshot.routes.end()) continue;
      entry->plan = plan_route(*found->second, context);
    }
    if (entry->plan.ours) add(std::move(entry), dirty);
  }
}

void Translator::Memo::add(std::unique_ptr<ObjectEntry> entry, Dirty& dirty) {
  const Plan& plan = entry->plan;
  for (size_t i = 0; i < plan.hosts.size(); ++i) {
    hosts[plan.hosts[i].host].members[plan.ref] = i;
    dirty.hosts.insert(plan.hosts[i].host);
  }
  for (size_t i = 0; i < plan.tls.size(); ++i) {
    tls[plan.tls[i].host].claims.insert({plan.ref, i});
    dirty.tls_hosts.insert(plan.tls[i].host);
  }
  for (const auto& service : plan.services) service_users[service].insert(plan.ref);
  use_clusters(plan, true, dirty);
  problems.add(plan.problems);
  objects[plan.ref] = std::move(entry);
}

void Translator::Memo::remove(const store::ObjectRef& ref, Dirty& dirty) {
  dirty.statuses.insert(ref);
  const auto found = objects.find(ref);
  if (found == objects.end()) return;
  const Plan& plan = found->second->plan;
  problems.remove(plan.problems);
  for (const auto& host : plan.hosts) {
    HostEntry& entry = hosts[host.host];
    entry.members.erase(ref);
    std::erase(entry.result.served, ref);
    dirty.hosts.insert(host.host);
  }
  for (size_t i = 0; i < plan.tls.size(); ++i) {
    tls[plan.tls[i].host].claims.erase({ref, i});
    dirty.tls_hosts.insert(plan.tls[i].host);
  }
  for (const auto& service : plan.services) erase_value(service_users, service, ref);
  use_clusters(plan, false, dirty);
  objects.erase(found);
}

void Translator::Memo::use_clusters(const Plan& plan, bool add, Dirty& dirty) {
  for (const ClusterUse& use : plan.clusters) {
    dirty.clusters.insert(use.name);
    ClusterEntry& entry = clusters[use.name];
    if (add) {
      entry.use = use;
      ++entry.users;
      service_clusters[use.service].insert(use.name);
    } else {
      --entry.users;
    }
  }
}

void Translator::Memo::update_fallback(const store::Snapshot& snapshot, Dirty& dirty) {
  if (!options.default_backend) return;
  if (!dirty.everything && !dirty.services.contains(options.default_backend->service)) return;
  const PlanContext context{options, classes, snapshot.services, policy_index};
  use_clusters(fallback_plan, false, dirty);
  problems.remove(fallback_plan.problems);
  fallback_plan = Plan();
  fallback_plan.ref = {store::Kind::service, options.default_backend->service};
  ServiceRef ref{options.default_backend->service,
                 {"", options.default_backend->port},
                 "--default-backend-service",
                 "--default-backend-service"};
  const Resolved resolved = resolve_service(ref, context, fallback_plan);
  fallback = std::make_unique<ir::RouteT>();
  fallback->origin = std::make_unique<ir::OriginT>();
  fallback->origin->kind = "Settings";
  fallback->origin->rule = "default-backend";
  fallback->metric = "default-backend";
  fallback->path_kind = ir::PathKind::Prefix;
  fallback->upgrades = {kWebSocket};
  set_single_backend(*fallback, resolved.cluster, 503, resolved.error);
  use_clusters(fallback_plan, true, dirty);
  problems.add(fallback_plan.problems);
  hosts["*"];
  for (const auto& [host, entry] : hosts) dirty.hosts.insert(host);
}

void Translator::Memo::update_hosts(Dirty& dirty) {
  for (const std::string& host : dirty.hosts) {
    const auto found = hosts.find(host);
    if (found == hosts.end()) continue;
    HostEntry& entry = found->second;
    for (const auto& ref : entry.result.served) {
      dirty.statuses.insert(ref);
      if (const auto object = objects.find(ref); object != objects.end()) --object->second->served_hosts;
    }
    problems.remove(entry.result.problems);
    if (entry.members.empty() && !(host == "*" && fallback)) {
      hosts.erase(found);
      continue;
    }
    std::vector<HostMember> members;
    for (const auto& [ref, index] : entry.members) {
      const Plan& plan = objects.at(ref)->plan;
      members.push_back({&plan, &plan.hosts[index]});
    }
    entry.result = assemble_host(host, std::move(members), has_tls(host), fallback.get(), options);
    problems.add(entry.result.problems);
    for (const auto& ref : entry.result.served) {
      dirty.statuses.insert(ref);
      ++objects.at(ref)->served_hosts;
    }
  }
}

}  // namespace sluice::translate
