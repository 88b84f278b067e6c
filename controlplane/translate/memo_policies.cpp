// RateLimitPolicies in the memo: the index that plans look into, and what each policy is told about its targets.
#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "controlplane/translate/memo.h"

namespace sluice::translate {
namespace {

std::string name_of(const store::ObjectRef& ref) {
  return fmt::format("{} {}{}{}", store::kind_name(ref.kind), ref.key.ns, ref.key.ns.empty() ? "" : "/", ref.key.name);
}

// Another gateway's object, whose policy that gateway judges: two of us must not contradict each other in one status.
bool is_siblings(const store::ObjectRef& ref, const Classes& classes, const store::Snapshot& snapshot) {
  if (ref.kind == store::Kind::ingress_class) return classes.siblings.contains(ref.key.name);
  if (ref.kind == store::Kind::ingress) {
    const store::Ingress& ingress = *snapshot.ingresses.at(ref.key);
    return ingress.class_name && classes.siblings.contains(*ingress.class_name);
  }
  return std::ranges::any_of(snapshot.routes.at(ref.key)->parent_refs, [&](const store::ParentRef& parent) {
    return parent.group == "networking.k8s.io" && parent.kind == "IngressClass" &&
           classes.siblings.contains(parent.name);
  });
}

template <class Map, class Do>
void each_in_namespace(const Map& map, const std::string& ns, const Do& use) {
  for (auto at = map.lower_bound({ns, {}}); at != map.end() && at->first.ns == ns; ++at) use(at->first);
}

}  // namespace

// What was made from a target is made anew. Objects that become its own in this very round are dirty by themselves.
void Translator::Memo::replan_target(const store::ObjectRef& target, const store::Snapshot& snapshot, Dirty& dirty) {
  switch (target.kind) {
    case store::Kind::namespace_:
      each_in_namespace(snapshot.ingresses, target.key.name, [&](const store::ObjectKey& key) {
        dirty.objects.insert({store::Kind::ingress, key});
      });
      each_in_namespace(snapshot.routes, target.key.name, [&](const store::ObjectKey& key) {
        dirty.objects.insert({store::Kind::route, key});
      });
      return;
    case store::Kind::ingress_class:
      for (const auto& [ref, entry] : objects) {
        if (std::ranges::find(entry->plan.classes, target.key.name) != entry->plan.classes.end())
          dirty.objects.insert(ref);
      }
      return;
    default:
      dirty.objects.insert(target);
  }
}

void Translator::Memo::index_policy(const store::ObjectKey& key, PolicyEntry& entry, bool add,
                                    const store::Snapshot& snapshot, Dirty& dirty) {
  for (size_t i = 0; i < entry.meanings.size(); ++i) {
    const auto& object = entry.meanings[i].object;
    if (!object) continue;
    std::vector<Guard>& guards = policy_index[*object];
    if (add) {
      guards.push_back({entry.checked, entry.source->target_refs[i].section_name});
      policy_users[*object].insert(key);
    } else {
      std::erase_if(guards, [&](const Guard& guard) { return guard.policy == entry.checked; });
      erase_value(policy_users, *object, key);
    }
    if (guards.empty()) policy_index.erase(*object);
    replan_target(*object, snapshot, dirty);
  }
}

void Translator::Memo::update_policies(const store::Snapshot& snapshot, Dirty& dirty) {
  for (const store::ObjectKey& key : dirty.policies) {
    dirty.statuses.insert({store::Kind::rate_limit_policy, key});
    if (const auto old = policies.find(key); old != policies.end()) {
      problems.remove(old->second.problems);
      index_policy(key, old->second, false, snapshot, dirty);
      policies.erase(old);
    }
    const auto found = snapshot.rate_limit_policies.find(key);
    if (found == snapshot.rate_limit_policies.end() || !watches(key.ns)) continue;
    PolicyEntry& entry = policies[key];
    entry.source = found->second;
    entry.checked = std::make_shared<const CheckedPolicy>(check_policy(*entry.source));
    for (const store::PolicyTarget& target : entry.source->target_refs) {
      const bool readable = !target.name.empty();
      entry.meanings.push_back(readable ? meaning_of(target, key.ns, options) : TargetMeaning{});
    }
    index_policy(key, entry, true, snapshot, dirty);
  }
}

// After the plans: they know which objects are ours.
void Translator::Memo::judge_policies(const store::Snapshot& snapshot, Dirty& dirty) {
  std::set<store::ObjectKey> keys = dirty.policies;
  for (const store::ObjectRef& ref : dirty.objects) {
    if (const auto users = policy_users.find(ref); users != policy_users.end())
      keys.insert(users->second.begin(), users->second.end());
  }
  for (const auto& [key, entry] : policies) {
    if (dirty.classes) keys.insert(key);
  }
  for (const store::ObjectKey& key : keys) {
    const auto found = policies.find(key);
    if (found == policies.end()) continue;
    dirty.statuses.insert({store::Kind::rate_limit_policy, key});
    judge_policy(found->second, snapshot);
  }
}

void Translator::Memo::judge_policy(PolicyEntry& entry, const store::Snapshot& snapshot) {
  problems.remove(entry.problems);
  entry.problems = entry.checked->problems;
  entry.ours = false;
  entry.targets.clear();
  for (size_t i = 0; i < entry.meanings.size(); ++i) {
    const TargetMeaning& meaning = entry.meanings[i];
    const store::PolicyTarget& target = entry.source->target_refs[i];
    TargetMeaning verdict = meaning;
    if (meaning.object && !judge_target(*meaning.object, target.section_name, snapshot, verdict)) continue;
    entry.ours = true;
    if (verdict.object) {
      entry.targets.push_back({target.group, target.kind, "", target.name, target.section_name, 0});
    } else if (!target.name.empty()) {
      entry.problems.push_back({entry.checked->ref, fmt::format("spec.targetRefs[{}].{}", i, verdict.field),
                                verdict.reason, store::Severity::error, std::move(verdict.text)});
    }
  }
  if (!entry.ours) entry.problems.clear();
  problems.add(entry.problems);
}

// Sets `verdict` to why the target is not limited, if so. False: another gateway's.
bool Translator::Memo::judge_target(const store::ObjectRef& ref, const std::string& section,
                                    const store::Snapshot& snapshot, TargetMeaning& verdict) const {
  const auto none = [&](const char* field, const char* reason, std::string text) {
    verdict = {std::nullopt, field, reason, std::move(text)};
    return true;
  };
  if (ref.kind == store::Kind::namespace_) return true;
  if (ref.kind == store::Kind::ingress_class) {
    if (classes.ours.contains(ref.key.name)) return true;
    if (is_siblings(ref, classes, snapshot)) return false;
    return none("name", "TargetNotFound", fmt::format("there is no IngressClass {} of this controller", ref.key.name));
  }
  const bool there =
      ref.kind == store::Kind::ingress ? snapshot.ingresses.contains(ref.key) : snapshot.routes.contains(ref.key);
  if (!there) return none("name", "TargetNotFound", name_of(ref) + " does not exist or cannot be read");
  if (!objects.contains(ref)) {
    if (is_siblings(ref, classes, snapshot)) return false;
    return none("name", "TargetNotOurs", name_of(ref) + " belongs to no class of this controller");
  }
  const auto named = [&](const store::RouteRule& rule) { return rule.name == section; };
  if (!section.empty() && std::ranges::none_of(snapshot.routes.at(ref.key)->rules, named))
    return none("sectionName", "TargetNotFound", fmt::format("{} has no rule named \"{}\"", name_of(ref), section));
  return true;
}

}  // namespace sluice::translate
