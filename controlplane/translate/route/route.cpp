// sluice.dev/v1alpha1 Route -> plan. Shapes and semantics of Gateway API's HTTPRoute, attached to an IngressClass.
#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "controlplane/translate/names.h"
#include "controlplane/translate/route/rule.h"
#include "controlplane/translate/routes.h"

namespace sluice::translate {
namespace {

static_assert(static_cast<int>(store::Priority::sheddable) == static_cast<int>(ir::Priority::Sheddable) &&
              static_cast<int>(store::Priority::standard) == static_cast<int>(ir::Priority::Standard) &&
              static_cast<int>(store::Priority::critical) == static_cast<int>(ir::Priority::Critical));

// The parents that are ours; others are somebody else's to judge.
void attach(const store::Route& route, const Classes& classes, Plan& plan) {
  for (size_t i = 0; i < route.parent_refs.size(); ++i) {
    const store::ParentRef& parent = route.parent_refs[i];
    if (parent.group != "networking.k8s.io" || parent.kind != "IngressClass" || !classes.ours.contains(parent.name))
      continue;
    plan.ours = true;
    plan.parents.push_back(parent);
    plan.classes.push_back(parent.name);
    if (!parent.section_name.empty() || parent.port != 0) {
      plan.problem(fmt::format("spec.parentRefs[{}]", i), "UnsupportedValue",
                   "sectionName and port have no meaning for an IngressClass", store::Severity::warning);
    }
  }
}

class RoutePlanner {
 public:
  RoutePlanner(const store::Route& route, const PlanContext& context, Plan& plan)
      : route_(route), context_(context), plan_(plan), limits_(context.policies, plan.ref, plan.classes) {}

  void run() {
    plan_.take_flaws(route_.meta);
    redirect_ = https_redirect(route_.meta, plan_.parents.front().name, context_, plan_);
    report_unknown_annotations(plan_.ref, route_.meta, plan_.problems);
    hosts();
    for (size_t i = 0; i < route_.rules.size(); ++i) rule(static_cast<uint32_t>(i));
  }

 private:
  void hosts() {
    for (size_t i = 0; i < route_.hostnames.size(); ++i) {
      const std::string& host = route_.hostnames[i];
      if (host.empty()) continue;  // unreadable; the others still name this Route's hosts
      const std::string field = fmt::format("spec.hostnames[{}]", i);
      if (const auto checked = check_host(host); !checked) {
        plan_.problem(field, "InvalidHost", fmt::format("\"{}\" {}", host, checked.error().message));
      } else {
        plan_.host(host, field);
      }
    }
    if (route_.hostnames.empty()) plan_.host("*", "spec.hostnames");
  }

  void rule(uint32_t index) {
    const store::RouteRule& from = route_.rules[index];
    RuleContext rule{route_, from, fmt::format("spec.rules[{}]", index), context_, plan_};
    RateLimits::Verdict limits = limits_.of(from.name, rule.field);
    rule.rate_limit = limits.filter.get();
    std::ranges::move(limits.problems, std::back_inserter(plan_.problems));
    rule.broken = from.invalid || limits.closed;
    const std::string name = from.name.empty() ? std::to_string(index) : from.name;
    std::vector<Match> matches = translate_matches(rule);
    std::vector<std::string> upgrades;
    if (!from.invalid) {
      upgrades = translate_upgrades(rule);
      for (Match& match : matches) translate_action(rule, match.route);
    }
    // Also who wants to upgrade is to be told what is wrong.
    if (rule.broken) upgrades = {kWebSocket};
    for (Match& match : matches) {
      ir::RouteT& route = match.route;
      if (rule.broken) {
        route.filters.clear();
        route.timeouts.reset();
        route.retry.reset();
        route.action.Set(make_error(500, ir::TableReason::rule_invalid));
      }
      route.origin = make_origin("Route", route_.meta, name);
      route.metric = fmt::format("route/{}/{}/{}", route_.meta.ns, route_.meta.name, name);
      route.class_ = plan_.parents.front().name;
      route.upgrades = upgrades;
      route.priority = static_cast<ir::Priority>(from.priority);
      place(index, rule.field, std::move(match));
    }
  }

  void place(uint32_t rule_index, const std::string& field, Match match) {
    Draft draft;
    draft.order.rank = match.rank;
    draft.order.path_length = static_cast<uint32_t>(match.route.path.size());
    draft.order.has_method = !match.route.methods.empty();
    draft.order.headers = static_cast<uint32_t>(match.route.headers.size());
    draft.order.query = static_cast<uint32_t>(match.route.query.size());
    draft.order.age = plan_.age;
    draft.order.key = route_.meta.key();
    draft.order.kind = store::Kind::route;
    draft.order.rule = rule_index;
    draft.order.match = match.index;
    draft.field = route_.rules[rule_index].matches.empty() ? field : fmt::format("{}.matches[{}]", field, match.index);
    draft.https_redirect = redirect_;
    draft.same = match_key(match.rank, match.route);
    draft.route = std::make_shared<const ir::RouteT>(std::move(match.route));
    for (HostDrafts& host : plan_.hosts) host.drafts.push_back(draft);
  }

  const store::Route& route_;
  const PlanContext& context_;
  Plan& plan_;
  const RateLimits limits_;
  bool redirect_ = false;
};

}  // namespace

Plan plan_route(const store::Route& route, const PlanContext& context) {
  Plan plan;
  plan.ref = {store::Kind::route, route.meta.key()};
  plan.generation = route.meta.generation;
  plan.age = age_of(route.meta);
  attach(route, context.classes, plan);
  if (plan.ours) RoutePlanner(route, context, plan).run();
  return plan;
}

}  // namespace sluice::translate
