#include "controlplane/translate/routes.h"

#include <algorithm>

#include <fmt/format.h>

#include "common/ir/verify.h"
#include "controlplane/features/feature.h"

namespace sluice::translate {

std::unique_ptr<ir::OriginT> make_origin(const char* kind, const store::Meta& meta, std::string rule) {
  auto out = std::make_unique<ir::OriginT>();
  out->kind = kind;
  out->namespace_ = meta.ns;
  out->name = meta.name;
  out->rule = std::move(rule);
  out->generation = meta.generation;
  return out;
}

ir::DirectResponseT make_error(uint16_t status, ir::TableReason reason) {
  ir::DirectResponseT out;
  out.status = status;
  out.reason = ir::word(reason);
  return out;
}

void set_single_backend(ir::RouteT& route, const std::optional<ClusterUse>& cluster, uint16_t status,
                        ir::TableReason reason) {
  ir::ForwardT forward;
  auto backend = std::make_unique<ir::BackendT>();
  if (cluster) backend->cluster = cluster->name;
  else backend->error = std::make_unique<ir::DirectResponseT>(make_error(status, reason));
  forward.backends.push_back(std::move(backend));
  route.action.Set(std::move(forward));
}

std::string add_upgrade(std::string_view name, std::vector<std::string>& to) {
  if (!features::is_token(name)) return fmt::format("\"{}\" is no name of a protocol", name.substr(0, 64));
  std::string lower(name);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  // A tunnel to the backend would carry requests past every rule.
  if (lower == "h2c" || lower == "tls" || lower.starts_with("http"))
    return fmt::format("\"{}\" is HTTP itself, which clients choose when they connect", name.substr(0, 64));
  if (std::ranges::find(to, lower) != to.end()) return {};
  if (to.size() == ir::kMaxUpgrades) return fmt::format("more than {} protocols", ir::kMaxUpgrades);
  to.push_back(std::move(lower));
  return {};
}

std::vector<std::string> annotated_upgrades(const store::Meta& meta, Plan& plan) {
  const auto own = meta.annotations.find(features::kUpgrades);
  if (own == meta.annotations.end()) return {kWebSocket};
  if (own->second == store::kUnreadable) return {};  // told already
  constexpr std::string_view kBlank = " \t";
  std::vector<std::string> out;
  std::string_view rest = own->second;
  if (rest.find_first_not_of(kBlank) == std::string_view::npos) return out;
  for (bool more = true; more;) {
    const size_t comma = rest.find(',');
    std::string_view name = rest.substr(0, comma);
    more = comma != std::string_view::npos;
    if (more) rest.remove_prefix(comma + 1);
    name.remove_prefix(std::min(name.find_first_not_of(kBlank), name.size()));
    name = name.substr(0, name.find_last_not_of(kBlank) + 1);
    if (std::string problem = add_upgrade(name, out); !problem.empty()) {
      plan.problem(fmt::format("metadata.annotations[{}]", features::kUpgrades), "InvalidAnnotation",
                   std::move(problem) + "; no upgrade is allowed");
      return {};
    }
  }
  return out;
}

ir::Priority annotated_priority(const store::Meta& meta, Plan& plan) {
  const auto own = meta.annotations.find(features::kPriority);
  if (own == meta.annotations.end() || own->second == store::kUnreadable || own->second == "standard")
    return ir::Priority::Standard;
  if (own->second == "sheddable") return ir::Priority::Sheddable;
  if (own->second == "critical") return ir::Priority::Critical;
  plan.problem(fmt::format("metadata.annotations[{}]", features::kPriority), "InvalidAnnotation",
               R"(must be "sheddable", "standard" or "critical"; it stays standard)");
  return ir::Priority::Standard;
}

bool https_redirect(const store::Meta& meta, const std::string& class_name, const PlanContext& context, Plan& plan) {
  const auto own = meta.annotations.find(features::kSslRedirect);
  if (own != meta.annotations.end()) {
    if (own->second == "true") return true;
    if (own->second == "false") return false;
    plan.problem(fmt::format("metadata.annotations[{}]", features::kSslRedirect), "InvalidAnnotation",
                 "must be \"true\" or \"false\"");
  }
  const auto found = context.classes.ours.find(class_name);
  if (found != context.classes.ours.end()) {
    const auto of_class = found->second->meta.annotations.find(features::kSslRedirect);
    if (of_class != found->second->meta.annotations.end()) return of_class->second != "false";
  }
  return context.options.ssl_redirect;
}

}  // namespace sluice::translate
