#include "controlplane/translate/plan.h"

#include <algorithm>

#include <fmt/format.h>

#include "controlplane/features/feature.h"

namespace sluice::translate {

bool Precedence::operator<(const Precedence& other) const {
  // Bigger first: path_length, has_method, headers, query.
  return std::tie(rank, other.path_length, other.has_method, other.headers, other.query, age, key, kind, rule, match) <
         std::tie(other.rank, path_length, has_method, headers, query, other.age, other.key, other.kind, other.rule,
                  other.match);
}

std::string match_key(Precedence::Rank rank, const ir::RouteT& route) {
  // Lengths before texts: no value can imitate a boundary.
  std::string out;
  const auto put = [&out](std::string_view text) {
    out += std::to_string(text.size());
    out += ':';
    out += text;
  };
  const auto predicates = [&](const auto& list) {
    std::vector<std::tuple<std::string, int, std::string>> sorted;
    for (const auto& match : list) sorted.emplace_back(match->name, static_cast<int>(match->kind), match->value);
    std::sort(sorted.begin(), sorted.end());
    out += ';';
    for (const auto& [name, kind, value] : sorted) {
      put(name);
      out += static_cast<char>('0' + kind);
      put(value);
    }
  };
  out += static_cast<char>('0' + rank);
  put(route.path);
  for (const auto& method : route.methods) put(method);
  predicates(route.headers);
  predicates(route.query);
  return out;
}

HostDrafts& Plan::host(const std::string& host, const std::string& field) {
  const auto [at, fresh] = host_index.emplace(host, hosts.size());
  if (fresh) hosts.push_back({host, field, {}});
  return hosts[at->second];
}

void Plan::take_flaws(const store::Meta& meta) { report_flaws(ref, meta, problems); }

void report_flaws(const store::ObjectRef& ref, const store::Meta& meta, std::vector<store::Problem>& problems) {
  for (const store::Flaw& flaw : meta.flaws) {
    problems.push_back(
        {ref, flaw.field, "Invalid", flaw.warning ? store::Severity::warning : store::Severity::error, flaw.text});
  }
}

void report_unknown_annotations(const store::ObjectRef& ref, const store::Meta& meta,
                                std::vector<store::Problem>& problems) {
  for (auto at = meta.annotations.lower_bound("sluice.dev/");
       at != meta.annotations.end() && at->first.starts_with("sluice.dev/"); ++at) {
    if (features::is_known_annotation(at->first)) continue;
    problems.push_back({ref, fmt::format("metadata.annotations[{}]", at->first), "UnknownAnnotation",
                        store::Severity::warning, "no such annotation; it has no effect"});
  }
}

void Plan::problem(std::string field, std::string reason, std::string text, store::Severity severity) {
  problems.push_back({ref, std::move(field), std::move(reason), severity, std::move(text)});
}

Classes resolve_classes(const store::ObjectMap<store::IngressClass>& classes, const std::string& controller_name) {
  Classes out;
  // Of several default classes the API server's admission takes the newest, then the first by name; so do we.
  int64_t newest = -1;
  for (const auto& [key, ingress_class] : classes) {
    if (ingress_class->controller != controller_name) {
      if (ingress_class->controller.starts_with("sluice.dev/")) out.siblings.insert(key.name);
      continue;
    }
    out.ours.emplace(key.name, ingress_class);
    if (ingress_class->is_default && ingress_class->meta.creation > newest) {
      newest = ingress_class->meta.creation;
      out.default_class = key.name;
    }
  }
  return out;
}

}  // namespace sluice::translate
