#include "controlplane/translate/routes.h"

#include <fmt/format.h>

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
