#include "controlplane/status/wanted.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <set>
#include <tuple>

#include <fmt/format.h>

namespace sluice::status {
namespace {

constexpr size_t kMaxMessage = 1024;  // of a condition (metav1 allows 32,768) and of an Event
constexpr size_t kMaxTexts = 8;

// Reasons that are about something the object names, not about the object itself.
constexpr std::array kReferenceReasons = {
    "BackendNotFound",    "PortNotFound",   "SecretNotFound",         "InvalidCertificate",
    "CertificateExpired", "AddressRefused", "CertificateNotYetValid", "ExternalNameNotAllowed",
    "UnsupportedBackend", "InvalidKind",    "RefNotPermitted",        "FetchFailed",
    "NoEndpoints"};

bool about_reference(const store::Problem& problem) {
  return std::find(kReferenceReasons.begin(), kReferenceReasons.end(), problem.reason) != kReferenceReasons.end();
}

const store::Meta* meta_in(const store::Snapshot& snapshot, const store::ObjectRef& ref) {
  const auto find = [&](const auto& map) -> const store::Meta* {
    const auto found = map.find(ref.key);
    return found == map.end() ? nullptr : &found->second->meta;
  };
  switch (ref.kind) {
    case store::Kind::ingress:
      return find(snapshot.ingresses);
    case store::Kind::ingress_class:
      return find(snapshot.ingress_classes);
    case store::Kind::service:
      return find(snapshot.services);
    case store::Kind::endpoint_slice:
      return find(snapshot.endpoint_slices);
    case store::Kind::secret:
      return find(snapshot.secrets);
    case store::Kind::config_map:
      return find(snapshot.config_maps);
    case store::Kind::namespace_:
      return find(snapshot.namespaces);
    case store::Kind::route:
      return find(snapshot.routes);
    case store::Kind::rate_limit_policy:
      return find(snapshot.rate_limit_policies);
  }
  return nullptr;
}

using Problems = std::vector<const store::Problem*>;

std::string join(const Problems& problems) {
  std::string out;
  size_t shown = 0;
  for (const store::Problem* problem : problems) {
    if (shown == kMaxTexts || out.size() > kMaxMessage) {
      out += fmt::format("; and {} more", problems.size() - shown);
      break;
    }
    if (!out.empty()) out += "; ";
    if (!problem->field.empty()) out += problem->field + ": ";
    out += problem->text;
    ++shown;
  }
  return out.substr(0, kMaxMessage);
}

// A condition's reason must match ^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$ (metav1.Condition); ours are words.
Condition condition(std::string type, bool status, std::string reason, std::string message) {
  return {std::move(type), status, std::move(reason), std::move(message)};
}

WantedStatus route_of(const translate::ObjectStatus& verdict, const store::Meta& meta, const Problems& problems) {
  WantedStatus out{verdict.object,  meta.uid, verdict.generation,   verdict.accepted,
                   verdict.parents, {},       meta.resource_version};
  Problems references, own;
  for (const store::Problem* problem : problems) {
    if (problem->severity != store::Severity::error) continue;
    (about_reference(*problem) ? references : own).push_back(problem);
  }
  if (verdict.accepted) {
    out.conditions.push_back(condition("Accepted", true, "Accepted", "rules are served"));
  } else {
    const Problems& why = own.empty() ? references : own;
    out.conditions.push_back(why.empty()
                                 ? condition("Accepted", false, "NoRuleServed", "no rule of this Route is served")
                                 : condition("Accepted", false, why.front()->reason, join(why)));
  }
  if (verdict.resolved_refs) {
    out.conditions.push_back(condition("ResolvedRefs", true, "ResolvedRefs", "every object named was found"));
  } else {
    out.conditions.push_back(references.empty()
                                 ? condition("ResolvedRefs", false, "BackendNotFound", "an object named was not found")
                                 : condition("ResolvedRefs", false, references.front()->reason, join(references)));
  }
  // Gateway API: present only when true.
  if (verdict.accepted && !own.empty())
    out.conditions.push_back(condition("PartiallyInvalid", true, own.front()->reason, join(own)));
  return out;
}

WantedStatus policy_of(const translate::ObjectStatus& verdict, const store::Meta& meta, const Problems& problems) {
  WantedStatus out{verdict.object,  meta.uid, verdict.generation,   verdict.accepted,
                   verdict.parents, {},       meta.resource_version};
  Problems errors;
  std::ranges::copy_if(problems, std::back_inserter(errors),
                       [](const store::Problem* problem) { return problem->severity == store::Severity::error; });
  if (verdict.accepted) {
    out.conditions.push_back(condition("Accepted", true, "Accepted", "its limits apply"));
    if (!errors.empty())
      out.conditions.push_back(condition("PartiallyInvalid", true, errors.front()->reason, join(errors)));
  } else {
    out.conditions.push_back(errors.empty() ? condition("Accepted", false, "NoTarget", "it limits nothing")
                                            : condition("Accepted", false, errors.front()->reason, join(errors)));
  }
  return out;
}

}  // namespace

Wanted wanted_of(const translate::Translation& translation, const std::vector<store::Problem>& undecodable,
                 const store::Snapshot& snapshot, bool ingresses) {
  Wanted out;
  std::map<store::ObjectRef, Problems> by_object;
  std::map<std::tuple<store::ObjectRef, std::string, std::string>, const store::Problem*> identities;
  for (const auto* list : {&undecodable, &translation.problems}) {
    for (const store::Problem& problem : *list) {
      if (problem.object.key.name.empty()) continue;  // about no object that can be named
      by_object[problem.object].push_back(&problem);
      identities.emplace(std::tuple(problem.object, problem.field, problem.reason), &problem);
    }
  }
  for (const auto& [identity, problem] : identities) {
    WantedEvent event{*problem, {}, {}};
    event.problem.text = event.problem.text.substr(0, kMaxMessage);
    if (const store::Meta* meta = meta_in(snapshot, problem->object)) {
      event.uid = meta->uid;
      event.resource_version = meta->resource_version;
    }
    out.events.push_back(std::move(event));
  }
  for (const translate::ObjectStatus& verdict : translation.statuses) {
    const bool policy = verdict.object.kind == store::Kind::rate_limit_policy;
    const bool ingress = verdict.object.kind == store::Kind::ingress;
    if (ingress && !ingresses) continue;
    const store::Meta* meta = meta_in(snapshot, verdict.object);
    if (meta == nullptr) continue;
    if (ingress) {
      out.statuses.push_back({verdict.object, meta->uid, 0, verdict.accepted, {}, {}, meta->resource_version});
      continue;
    }
    out.statuses.push_back((policy ? policy_of : route_of)(verdict, *meta, by_object[verdict.object]));
  }
  std::ranges::sort(out.statuses, {}, &WantedStatus::object);
  return out;
}

}  // namespace sluice::status
