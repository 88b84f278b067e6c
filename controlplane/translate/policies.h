// RateLimitPolicies: each checked by itself, kept in an index by what it targets, and put together for one object's
// routes. Pure. Whether a target is there and ours decides only what the policy is told (memo_policies.cpp), never what
// the index holds: a target that comes later is guarded from its first moment.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/ir/route_table_generated.h"
#include "controlplane/config/options.h"
#include "controlplane/store/problem.h"

namespace sluice::translate {

// Of one route, over all policies that hit it.
inline constexpr size_t kMaxRouteLimits = 64;

struct CheckedPolicy {
  store::ObjectRef ref;
  bool closed = false;             // its limits cannot be honoured: what it guards answers 500
  std::vector<ir::LimitT> limits;  // none if closed
  bool fields = false, legacy_fields = false;
  std::vector<store::Problem> problems;
};
[[nodiscard]] CheckedPolicy check_policy(const store::RateLimitPolicy& policy);

// The object that a target means, or why it can mean none: then `problem`'s field is relative to the target.
struct TargetMeaning {
  std::optional<store::ObjectRef> object;
  std::string field;
  const char* reason = "";
  std::string text;
};
[[nodiscard]] TargetMeaning meaning_of(const store::PolicyTarget& target, const std::string& ns,
                                       const config::Options& options);

struct Guard {
  std::shared_ptr<const CheckedPolicy> policy;
  std::string section;  // the one rule that is meant; empty = all
};
using PolicyIndex = std::map<store::ObjectRef, std::vector<Guard>>;

// What guards one object: policies on itself, its namespace and its classes.
class RateLimits {
 public:
  RateLimits(const PolicyIndex& index, const store::ObjectRef& object, const std::vector<std::string>& classes);
  struct Verdict {
    std::unique_ptr<ir::RateLimitT> filter;  // null: no limit
    bool closed = false;                     // answers 500; the problems say why
    std::vector<store::Problem> problems;    // of the object; the field is empty or `rule_field`
  };
  // `section`: the rule's name, if it has one.
  [[nodiscard]] Verdict of(const std::string& section, const std::string& rule_field) const;

 private:
  [[nodiscard]] Verdict too_many(const std::string& rule_field) const;
  store::ObjectRef object_;
  std::vector<const Guard*> guards_;
};

}  // namespace sluice::translate
