#include "controlplane/translate/policies.h"

#include <algorithm>
#include <set>
#include <string_view>

#include <fmt/format.h>

#include "controlplane/config/option_table.h"
#include "controlplane/features/feature.h"
#include "controlplane/translate/plan.h"
#include "controlplane/translate/routes.h"

namespace sluice::translate {
namespace {

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

class Checker {
 public:
  explicit Checker(const store::RateLimitPolicy& policy) : policy_(policy) {
    out_.ref = {store::Kind::rate_limit_policy, policy.meta.key()};
  }

  CheckedPolicy run() {
    report_flaws(out_.ref, policy_.meta, out_.problems);
    report_unknown_annotations(out_.ref, policy_.meta, out_.problems);
    out_.closed = policy_.invalid;
    exempt();
    for (size_t i = 0; i < policy_.limits.size(); ++i) limit(policy_.limits[i], fmt::format("spec.limits[{}]", i));
    if (out_.closed) {
      out_.limits.clear();
      problem("spec.limits", "InvalidLimits", "cannot be honoured; what this policy targets answers 500");
    }
    const store::ResponseFields fields = policy_.response_fields;
    out_.fields = fields == store::ResponseFields::standard || fields == store::ResponseFields::both;
    out_.legacy_fields = fields == store::ResponseFields::legacy || fields == store::ResponseFields::both;
    return std::move(out_);
  }

 private:
  void problem(std::string field, const char* reason, std::string text) {
    out_.problems.push_back({out_.ref, std::move(field), reason, store::Severity::error, std::move(text)});
  }

  void exempt() {
    for (size_t i = 0; i < policy_.exempt_cidrs.size(); ++i) {
      const std::string& text = policy_.exempt_cidrs[i];
      if (text.empty()) continue;  // unreadable
      if (const auto cidr = config::parse_cidr(text)) exempt_.push_back(*cidr);
      else problem(fmt::format("spec.exempt.cidrs[{}]", i), "InvalidValue", cidr.error().message + "; exempts nobody");
    }
  }

  void limit(const store::RateLimit& from, const std::string& field) {
    ir::LimitT to;
    to.name = fmt::format("{}.{}", policy_.meta.name, from.name);
    to.id = fmt::format("{}/{}/{}", policy_.meta.ns, policy_.meta.name, from.name);
    to.origin = make_origin("RateLimitPolicy", policy_.meta, from.name);
    to.requests = from.requests;
    to.per_ms = from.per_ms;
    to.burst = from.burst;
    for (size_t i = 0; i < from.keys.size(); ++i) key(from.keys[i], fmt::format("{}.keys[{}].name", field, i), to);
    to.skip_missing = from.skip_missing;
    for (const ir::CidrT& cidr : exempt_) to.exempt.push_back(std::make_unique<ir::CidrT>(cidr));
    to.shadow = policy_.shadow;
    out_.limits.push_back(std::move(to));
  }

  void key(const store::LimitKey& from, std::string field, ir::LimitT& limit) {
    const auto refuse = [&](const char* reason, std::string text) {
      out_.closed = true;
      problem(std::move(field), reason, std::move(text));
    };
    auto to = std::make_unique<ir::LimitKeyT>();
    to->kind = static_cast<ir::LimitKeyKind>(from.type);
    if (from.type == store::LimitKeyType::header) {
      to->name = lower(from.name);
      if (!features::is_token(from.name)) refuse("InvalidHeader", fmt::format("\"{}\" is no header name", from.name));
    } else if (from.type == store::LimitKeyType::cookie) {
      to->name = from.name;
      // RFC 6265 4.1.1: cookie-name = token.
      if (!features::is_token(from.name)) refuse("InvalidValue", fmt::format("\"{}\" is no cookie name", from.name));
    }
    to->ipv4_bits = from.ipv4_prefix_length;
    to->ipv6_bits = from.ipv6_prefix_length;
    limit.keys.push_back(std::move(to));
  }

  const store::RateLimitPolicy& policy_;
  std::vector<ir::CidrT> exempt_;
  CheckedPolicy out_;
};

bool may_target_classes(const std::string& ns, const config::Options& options) {
  const auto& named = options.class_policy_namespaces;
  if (!named.empty()) return std::ranges::find(named, ns) != named.end();
  return options.class_policies_anywhere || (!options.own_namespace.empty() && ns == options.own_namespace);
}

}  // namespace

CheckedPolicy check_policy(const store::RateLimitPolicy& policy) { return Checker(policy).run(); }

TargetMeaning meaning_of(const store::PolicyTarget& target, const std::string& ns, const config::Options& options) {
  const auto is = [&](std::string_view group, std::string_view kind) {
    return target.group == group && target.kind == kind;
  };
  const auto none = [](const char* field, const char* reason, std::string text) {
    return TargetMeaning{std::nullopt, field, reason, std::move(text)};
  };
  if (is("sluice.dev", "Route")) return {store::ObjectRef{store::Kind::route, {ns, target.name}}, {}, "", {}};
  const bool ingress = is("networking.k8s.io", "Ingress"), ingress_class = is("networking.k8s.io", "IngressClass");
  if (!ingress && !ingress_class && !is("", "Namespace")) {
    return none("kind", "InvalidKind",
                fmt::format("\"{}{}{}\" cannot be limited; a Route, Ingress, IngressClass or Namespace can",
                            target.group, target.group.empty() ? "" : "/", target.kind));
  }
  if (!target.section_name.empty())
    return none("sectionName", "UnsupportedValue", "only a Route has rules with names; this target is not limited");
  if (ingress) return {store::ObjectRef{store::Kind::ingress, {ns, target.name}}, {}, "", {}};
  if (ingress_class) {
    if (!may_target_classes(ns, options)) {
      return none("kind", "RefNotPermitted",
                  fmt::format("policies of namespace {} may not limit an IngressClass; the option "
                              "classPolicyNamespaces names those that may",
                              ns));
    }
    return {store::ObjectRef{store::Kind::ingress_class, {"", target.name}}, {}, "", {}};
  }
  if (target.name != ns)
    return none("name", "RefNotPermitted", fmt::format("a policy limits no namespace but its own, which is {}", ns));
  return {store::ObjectRef{store::Kind::namespace_, {"", target.name}}, {}, "", {}};
}

RateLimits::RateLimits(const PolicyIndex& index, const store::ObjectRef& object,
                       const std::vector<std::string>& classes)
    : object_(object) {
  if (index.empty()) return;
  const auto look = [&](const store::ObjectRef& target) {
    const auto found = index.find(target);
    if (found == index.end()) return;
    for (const Guard& guard : found->second) guards_.push_back(&guard);
  };
  look(object);
  look({store::Kind::namespace_, {"", object.key.ns}});
  for (const std::string& name : classes) look({store::Kind::ingress_class, {"", name}});
}

RateLimits::Verdict RateLimits::of(const std::string& section, const std::string& rule_field) const {
  Verdict out;
  std::set<const CheckedPolicy*> seen;  // a policy may hit by more than one of its targets
  std::vector<const ir::LimitT*> limits;
  bool fields = false, legacy_fields = false;
  size_t weight = 0;
  for (const Guard* guard : guards_) {
    if (!guard->section.empty() && guard->section != section) continue;
    const CheckedPolicy& policy = *guard->policy;
    if (!seen.insert(&policy).second) continue;
    weight += std::max<size_t>(policy.limits.size(), 1);
    // Looked at no further, so that a namespace full of policies costs its owner's routes and little of our time.
    if (weight > kMaxRouteLimits) return too_many(rule_field);
    if (policy.closed) {
      out.closed = true;
      out.problems.push_back({object_, guard->section.empty() ? "" : rule_field, "PolicyInvalid",
                              store::Severity::error,
                              fmt::format("RateLimitPolicy {}/{} cannot be honoured; what it limits answers 500",
                                          policy.ref.key.ns, policy.ref.key.name)});
    }
    for (const ir::LimitT& limit : policy.limits) limits.push_back(&limit);
    fields = fields || policy.fields;
    legacy_fields = legacy_fields || policy.legacy_fields;
  }
  if (out.closed || limits.empty()) return out;
  std::ranges::sort(limits, {}, [](const ir::LimitT* limit) -> const std::string& { return limit->id; });
  out.filter = std::make_unique<ir::RateLimitT>();
  for (const ir::LimitT* limit : limits) out.filter->limits.push_back(std::make_unique<ir::LimitT>(*limit));
  out.filter->fields = fields;
  out.filter->legacy_fields = legacy_fields;
  return out;
}

RateLimits::Verdict RateLimits::too_many(const std::string& rule_field) const {
  Verdict out;
  out.closed = true;
  out.problems.push_back({object_, rule_field, "TooManyLimits", store::Severity::error,
                          fmt::format("more than {} rate limits apply, so it answers 500", kMaxRouteLimits)});
  return out;
}

}  // namespace sluice::translate
