// networking.k8s.io/v1 Ingress -> plan. https://kubernetes.io/docs/concepts/services-networking/ingress/ is the
// specification.
#include <algorithm>
#include <iterator>
#include <string_view>

#include <fmt/format.h>

#include "controlplane/features/feature.h"
#include "controlplane/translate/backends.h"
#include "controlplane/translate/names.h"
#include "controlplane/translate/plan.h"
#include "controlplane/translate/routes.h"

namespace sluice::translate {
namespace {

constexpr const char* kClassAnnotation = "kubernetes.io/ingress.class";

// RFC 8555, 8.3: an HTTP-01 challenge begins over plain HTTP, and its answer must not hang on the certificate that it
// is to renew. Who solves it (cert-manager) adds an Ingress of such a path for a host that other Ingresses give TLS.
bool is_acme_challenge(std::string_view path) {
  constexpr std::string_view kPrefix = "/.well-known/acme-challenge";
  return path.starts_with(kPrefix) && (path.size() == kPrefix.size() || path[kPrefix.size()] == '/');
}

// The class an Ingress belongs to; nothing if it is none of ours. The field wins over the old annotation, which may
// also say "sluice".
std::optional<std::string> class_of(const store::Ingress& ingress, const Classes& classes) {
  if (ingress.class_name) return classes.ours.contains(*ingress.class_name) ? ingress.class_name : std::nullopt;
  const auto annotation = ingress.meta.annotations.find(kClassAnnotation);
  if (annotation != ingress.meta.annotations.end()) {
    if (classes.ours.contains(annotation->second) || annotation->second == "sluice") return annotation->second;
    return std::nullopt;
  }
  if (!classes.default_class.empty()) return classes.default_class;
  return std::nullopt;
}

class IngressPlanner {
 public:
  IngressPlanner(const store::Ingress& ingress, std::string class_name, const PlanContext& context, Plan& plan)
      : ingress_(ingress), class_(std::move(class_name)), context_(context), plan_(plan) {}

  void run() {
    plan_.take_flaws(ingress_.meta);
    redirect_ = https_redirect(ingress_.meta, class_, context_, plan_);
    upgrades_ = annotated_upgrades(ingress_.meta, plan_);
    priority_ = annotated_priority(ingress_.meta, plan_);
    limits_ = RateLimits(context_.policies, plan_.ref, plan_.classes).of({}, {});
    std::ranges::move(limits_.problems, std::back_inserter(plan_.problems));
    report_unknown_annotations(plan_.ref, ingress_.meta, plan_.problems);
    for (size_t i = 0; i < ingress_.rules.size(); ++i) rule(static_cast<uint32_t>(i));
    if (ingress_.default_backend) default_backend();
    else if (ingress_.rules.empty())
      plan_.problem("spec", "NoRules", "has neither rules nor a default backend", store::Severity::warning);
    for (size_t i = 0; i < ingress_.tls.size(); ++i) tls(i);
  }

 private:
  void rule(uint32_t index) {
    const store::IngressRule& rule = ingress_.rules[index];
    if (rule.invalid) return;
    const std::string field = fmt::format("spec.rules[{}]", index);
    if (!rule.host.empty()) {
      if (const auto checked = check_host(rule.host); !checked) {
        plan_.problem(field + ".host", "InvalidHost", fmt::format("\"{}\" {}", rule.host, checked.error().message));
        return;
      }
    }
    const std::string host = rule.host.empty() ? "*" : rule.host;
    plan_.host(host, field + ".host");
    if (rule.paths.empty() && !ingress_.default_backend) {
      plan_.problem(field + ".http", "NoPaths", fmt::format("has no paths; host \"{}\" answers 404", host),
                    store::Severity::warning);
    }
    for (size_t i = 0; i < rule.paths.size(); ++i) path(host, index, static_cast<uint32_t>(i));
  }

  void path(const std::string& host, uint32_t rule_index, uint32_t path_index) {
    const store::IngressPath& path = ingress_.rules[rule_index].paths[path_index];
    if (path.invalid) return;
    const std::string field = fmt::format("spec.rules[{}].http.paths[{}]", rule_index, path_index);
    const bool exact = path.type == store::PathType::exact;
    // ImplementationSpecific may leave the path out; it is Prefix here.
    const bool everything = path.path.empty() && path.type == store::PathType::implementation_specific;
    const auto normal = everything ? Result<std::string>("")
                        : exact    ? normalize_path(path.path)
                                   : normalize_prefix(path.path);
    if (!normal)
      return plan_.problem(field + ".path", "InvalidPath", fmt::format("\"{}\" {}", path.path, normal.error().message));
    if (path.type == store::PathType::implementation_specific &&
        path.path.find_first_of("()[]*^$|") != std::string::npos) {
      plan_.problem(field + ".path", "NotARegex",
                    "ImplementationSpecific is Prefix here; a Route matches by regular expression",
                    store::Severity::warning);
    }
    ir::RouteT route = make_route(exact ? ir::PathKind::Exact : ir::PathKind::Prefix, *normal);
    route.origin = make_origin("Ingress", ingress_.meta, fmt::format("{}/{}", rule_index, path_index));
    backend(path.backend, field + ".backend", route);
    const Precedence::Rank rank = exact ? Precedence::exact : Precedence::prefix;
    plan_.host(host, field)
        .drafts.push_back(make_draft(rank, std::move(route), field + ".path", rule_index, path_index));
  }

  ir::RouteT make_route(ir::PathKind kind, const std::string& path) {
    ir::RouteT route;
    route.path_kind = kind;
    route.path = path;
    route.metric = fmt::format("ingress/{}/{}", ingress_.meta.ns, ingress_.meta.name);
    route.class_ = class_;
    route.upgrades = upgrades_;
    route.priority = priority_;
    features::apply({nullptr, &ingress_.meta.annotations, context_.options.allow_test_filters, limits_.filter.get()},
                    route, [this](const features::Complaint& complaint) {
                      plan_.problem(complaint.field, complaint.reason, complaint.text);
                    });
    return route;
  }

  Draft make_draft(Precedence::Rank rank, ir::RouteT route, std::string field, uint32_t rule, uint32_t match) {
    if (limits_.closed) {
      route.filters.clear();
      route.action.Set(make_error(500, ir::TableReason::rule_invalid));
    }
    Draft draft;
    draft.order.rank = rank;
    draft.order.path_length = static_cast<uint32_t>(route.path.size());
    draft.order.age = plan_.age;
    draft.order.key = ingress_.meta.key();
    draft.order.kind = store::Kind::ingress;
    draft.order.rule = rule;
    draft.order.match = match;
    draft.https_redirect = redirect_ && !is_acme_challenge(route.path);
    draft.field = std::move(field);
    draft.same = match_key(rank, route);
    draft.route = std::make_shared<const ir::RouteT>(std::move(route));
    return draft;
  }

  void backend(const store::IngressBackend& backend, const std::string& field, ir::RouteT& route) {
    if (backend.invalid) return set_single_backend(route, std::nullopt, 503, ir::TableReason::backend_invalid);
    if (!backend.resource_kind.empty()) {
      plan_.resolved_refs = false;
      plan_.problem(field + ".resource", "UnsupportedBackend",
                    fmt::format("resource backends ({} {}) are not supported; name a service", backend.resource_kind,
                                backend.resource_name));
      return set_single_backend(route, std::nullopt, 503, ir::TableReason::backend_invalid);
    }
    const ServiceRef ref{
        {ingress_.meta.ns, backend.service}, backend.port, field + ".service.name", field + ".service.port"};
    const Resolved resolved = resolve_service(ref, context_, plan_);
    set_single_backend(route, resolved.cluster, 503, resolved.error);
  }

  // "If none of the hosts or paths match the HTTP request in the Ingress objects, the traffic is routed to your default
  // backend": of this Ingress' hosts whatever no path matches, and any host that nobody names. Without rules it is a
  // claim of every host like a rule without host.
  void default_backend() {
    const uint32_t last = static_cast<uint32_t>(ingress_.rules.size());
    ir::RouteT route = make_route(ir::PathKind::Prefix, "");
    route.origin = make_origin("Ingress", ingress_.meta, "default");
    backend(*ingress_.default_backend, "spec.defaultBackend", route);
    Draft draft = make_draft(Precedence::default_backend, std::move(route), "spec.defaultBackend", last, 0);
    for (HostDrafts& host : plan_.hosts) host.drafts.push_back(draft);
    if (plan_.host_index.contains("*")) return;
    draft.hard_claim = ingress_.rules.empty();
    plan_.host("*", "spec.defaultBackend").drafts.push_back(std::move(draft));
  }

  void tls(size_t index) {
    const store::IngressTls& tls = ingress_.tls[index];
    if (tls.invalid) return;
    const std::string field = fmt::format("spec.tls[{}]", index);
    const store::ObjectKey secret{tls.secret.empty() ? "" : ingress_.meta.ns, tls.secret};
    if (tls.hosts.empty()) {
      // "Defaults to the wildcard host setting for the loadbalancer controller": here, to the hosts of this Ingress'
      // rules.
      bool any = false;
      for (const HostDrafts& host : plan_.hosts) {
        if (host.host == "*") continue;
        any = true;
        plan_.tls.push_back({host.host, secret, field + ".hosts", field + ".secretName"});
      }
      if (!any)
        plan_.problem(field + ".hosts", "NoHosts",
                      "names no host, and the rules name none; --default-ssl-certificate serves every host",
                      store::Severity::warning);
    }
    for (size_t i = 0; i < tls.hosts.size(); ++i) {
      if (tls.hosts[i].empty()) continue;  // unreadable
      const std::string host_field = fmt::format("{}.hosts[{}]", field, i);
      if (const auto checked = check_host(tls.hosts[i]); !checked) {
        plan_.problem(host_field, "InvalidHost", fmt::format("\"{}\" {}", tls.hosts[i], checked.error().message));
        continue;
      }
      plan_.tls.push_back({tls.hosts[i], secret, host_field, field + ".secretName"});
      if (tls.hosts[i].starts_with("*."))
        cover_own_hosts(tls.hosts[i].substr(1), secret, host_field, field + ".secretName");
    }
  }

  // A wildcard also covers the hosts of this Ingress by their exact names, so that nobody else's wildcard answers for
  // them.
  void cover_own_hosts(const std::string& suffix, const store::ObjectKey& secret, const std::string& field,
                       const std::string& secret_field) {
    for (const HostDrafts& host : plan_.hosts) {
      const size_t dot = host.host.find('.');
      if (dot == std::string::npos || host.host.starts_with("*") || std::string_view(host.host).substr(dot) != suffix)
        continue;
      const auto named = [&](const store::IngressTls& tls) {
        return std::ranges::find(tls.hosts, host.host) != tls.hosts.end();
      };
      if (std::ranges::none_of(ingress_.tls, named)) plan_.tls.push_back({host.host, secret, field, secret_field});
    }
  }

  const store::Ingress& ingress_;
  const std::string class_;
  const PlanContext& context_;
  Plan& plan_;
  bool redirect_ = false;
  // The same for every path.
  std::vector<std::string> upgrades_;
  ir::Priority priority_ = ir::Priority::Standard;
  RateLimits::Verdict limits_;
};

}  // namespace

Plan plan_ingress(const store::Ingress& ingress, const PlanContext& context) {
  Plan plan;
  plan.ref = {store::Kind::ingress, ingress.meta.key()};
  plan.generation = ingress.meta.generation;
  plan.age = age_of(ingress.meta);
  auto class_name = class_of(ingress, context.classes);
  if (!class_name) return plan;
  plan.ours = true;
  plan.classes.push_back(*class_name);
  IngressPlanner(ingress, std::move(*class_name), context, plan).run();
  return plan;
}

}  // namespace sluice::translate
