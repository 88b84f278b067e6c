// One rule of a Route: its matches, what it does, and what of it cannot be honoured. Internal to route/.
#pragma once
#include <string>
#include <vector>

#include "controlplane/translate/plan.h"

namespace sluice::translate {

// What a rule does, the same for all of its matches. `broken`: the rule answers 500 instead, a problem says why.
struct RuleContext {
  const store::Route& route;
  const store::RouteRule& rule;
  std::string field;  // "spec.rules[2]"
  const PlanContext& context;
  Plan& plan;
  const ir::RateLimitT* rate_limit = nullptr;  // of all policies that hit the rule
  bool broken = false;
  void refuse(const std::string& sub_field, const char* reason, std::string text) {
    broken = true;
    plan.problem(field + sub_field, reason, std::move(text));
  }
};

// One way in: rank and the predicates of a route without action. Matches that cannot be placed are left out with a
// problem.
struct Match {
  Precedence::Rank rank;
  uint32_t index;
  ir::RouteT route;
};
[[nodiscard]] std::vector<Match> translate_matches(RuleContext& rule);

// What its routes' clients may upgrade to.
[[nodiscard]] std::vector<std::string> translate_upgrades(RuleContext& rule);

// Filters, action, timeouts and retry into `route`, whose path_kind is known.
void translate_action(RuleContext& rule, ir::RouteT& route);

}  // namespace sluice::translate
