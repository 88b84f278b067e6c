// What a rule does with a request: forward, redirect or answer, through its filters.
#include <algorithm>

#include <fmt/format.h>

#include "controlplane/features/feature.h"
#include "controlplane/features/path_modifier.h"
#include "controlplane/translate/backends.h"
#include "controlplane/translate/route/rule.h"
#include "controlplane/translate/routes.h"

namespace sluice::translate {
namespace {

// "0s" turns a timeout off; 0 means "the default" in the table.
constexpr uint32_t kNoTimeout = 0x7fffffff;

struct Terminal {
  const store::RedirectFilter* redirect = nullptr;
  const store::DirectResponseFilter* direct = nullptr;
  size_t index = 0;
};

Terminal find_terminal(RuleContext& rule) {
  Terminal out;
  bool rewrites = false;
  for (size_t i = 0; i < rule.rule.filters.size(); ++i) {
    const auto& filter = rule.rule.filters[i];
    rewrites = rewrites || std::holds_alternative<store::RewriteFilter>(filter);
    const auto* redirect = std::get_if<store::RedirectFilter>(&filter);
    const auto* direct = std::get_if<store::DirectResponseFilter>(&filter);
    if (redirect == nullptr && direct == nullptr) continue;
    if (out.redirect != nullptr || out.direct != nullptr) {
      rule.refuse(fmt::format(".filters[{}]", i), "IncompatibleFilters", "a rule redirects or answers once");
      continue;
    }
    out.redirect = redirect;
    out.direct = direct;
    out.index = i;
  }
  if (out.redirect != nullptr && rewrites)
    rule.refuse(".filters", "IncompatibleFilters", "requestRedirect and urlRewrite exclude each other");
  if ((out.redirect != nullptr || out.direct != nullptr) && !rule.rule.backend_refs.empty()) {
    rule.refuse(".backendRefs", "IncompatibleFilters", "a rule that redirects or answers itself has no backends");
  }
  return out;
}

void translate_redirect(const Terminal& terminal, RuleContext& rule, ir::RouteT& route) {
  const store::RedirectFilter& from = *terminal.redirect;
  const std::string field = fmt::format(".filters[{}].requestRedirect", terminal.index);
  ir::RedirectT to;
  to.status = from.status_code;
  to.scheme = from.scheme;
  to.host = from.hostname;
  to.port = from.port;
  if (!from.hostname.empty() && !features::is_plain_host(from.hostname)) {
    rule.refuse(field + ".hostname", "InvalidHost", fmt::format("\"{}\" is no DNS name", from.hostname));
  }
  if (from.path) {
    if (from.path->type == store::PathModifierType::replace_regex_match) {
      rule.refuse(field + ".path.type", "UnsupportedValue", "a redirect replaces the full path or the matched prefix");
    } else {
      const auto change = features::check_path_modifier(
          *from.path, route.path_kind, [&](const char* sub, const char* reason, std::string text) {
            rule.refuse(fmt::format("{}.path.{}", field, sub), reason, std::move(text));
          });
      to.path_kind = change.kind;
      to.path = change.path;
    }
  }
  route.action.Set(std::move(to));
}

void translate_direct(const Terminal& terminal, RuleContext& rule, ir::RouteT& route) {
  const store::DirectResponseFilter& from = *terminal.direct;
  const std::string field = fmt::format(".filters[{}].directResponse", terminal.index);
  ir::DirectResponseT to;
  to.status = from.status_code;
  to.reason = ir::word(ir::TableReason::direct_response);
  to.body = from.body;
  if (!from.body.empty()) to.content_type = from.content_type;
  if (!features::is_field_value(from.content_type) || from.content_type.empty())
    rule.refuse(field + ".contentType", "InvalidHeader", "is no header value");
  // RFC 9110 15.3.5, 15.3.6, 15.4.5.
  if (!from.body.empty() && (from.status_code == 204 || from.status_code == 205 || from.status_code == 304)) {
    rule.refuse(field + ".body", "InvalidValue", fmt::format("an answer with status {} has no body", from.status_code));
  }
  route.action.Set(std::move(to));
}

// The cluster of one reference, or the 500 that takes its share.
std::unique_ptr<ir::BackendT> translate_backend(const store::BackendRef& ref, const std::string& field,
                                                RuleContext& rule) {
  auto out = std::make_unique<ir::BackendT>();
  out->weight = ref.weight;
  const auto invalid = [&](const std::string& sub, const char* reason, std::string text) {
    rule.plan.resolved_refs = false;
    rule.plan.problem(rule.field + field + sub, reason, std::move(text));
    out->error = std::make_unique<ir::DirectResponseT>(make_error(500, ir::TableReason::backend_invalid));
    return std::move(out);
  };
  if (ref.invalid) {
    out->error = std::make_unique<ir::DirectResponseT>(make_error(500, ir::TableReason::backend_invalid));
    return out;
  }
  if (!ref.group.empty() || ref.kind != "Service") {
    return invalid(".kind", "InvalidKind",
                   fmt::format("\"{}{}{}\" cannot be a backend; only a Service can", ref.group,
                               ref.group.empty() ? "" : "/", ref.kind));
  }
  if (!ref.ns.empty() && ref.ns != rule.route.meta.ns) {
    return invalid(".namespace", "RefNotPermitted",
                   fmt::format("Service {}/{} is in another namespace than this Route", ref.ns, ref.name));
  }
  if (ref.port == 0) return invalid(".port", "PortRequired", "a Service needs a port");
  const ServiceRef service{
      {rule.route.meta.ns, ref.name}, {"", ref.port}, rule.field + field + ".name", rule.field + field + ".port"};
  const Resolved resolved = resolve_service(service, rule.context, rule.plan);
  if (resolved.cluster) out->cluster = resolved.cluster->name;
  else out->error = std::make_unique<ir::DirectResponseT>(make_error(500, resolved.error));
  return out;
}

void translate_forward(RuleContext& rule, ir::RouteT& route) {
  ir::ForwardT forward;
  for (size_t i = 0; i < rule.rule.backend_refs.size(); ++i) {
    auto backend = translate_backend(rule.rule.backend_refs[i], fmt::format(".backendRefs[{}]", i), rule);
    if (backend->weight > 0) forward.backends.push_back(std::move(backend));
  }
  if (!forward.backends.empty()) {
    route.action.Set(std::move(forward));
    return;
  }
  const bool none = rule.rule.backend_refs.empty();
  rule.plan.problem(rule.field + ".backendRefs", "NoBackends",
                    none ? "names no backend, redirect or answer" : "every weight is 0", store::Severity::warning);
  route.action.Set(make_error(500, ir::TableReason::backend_invalid));
}

void translate_policy(RuleContext& rule, ir::RouteT& route) {
  const auto& from = rule.rule;
  if (from.request_timeout_ms || from.backend_request_timeout_ms) {
    const auto milliseconds = [](const std::optional<uint32_t>& value) {
      return !value ? 0 : *value == 0 ? kNoTimeout : *value;
    };
    route.timeouts = std::make_unique<ir::TimeoutsT>();
    route.timeouts->request_ms = milliseconds(from.request_timeout_ms);
    route.timeouts->per_try_ms = milliseconds(from.backend_request_timeout_ms);
    if (route.timeouts->request_ms != 0 && route.timeouts->per_try_ms > route.timeouts->request_ms &&
        route.timeouts->per_try_ms != kNoTimeout) {
      rule.plan.problem(rule.field + ".timeouts.backendRequest", "InvalidTimeout",
                        "is longer than timeouts.request, which ends first", store::Severity::warning);
    }
  }
  if (from.retry) {
    route.retry = std::make_unique<ir::RetryT>();
    route.retry->attempts = from.retry->attempts;
    route.retry->statuses = from.retry->codes;
    std::ranges::sort(route.retry->statuses);
    const auto same = std::ranges::unique(route.retry->statuses);
    route.retry->statuses.erase(same.begin(), same.end());
    route.retry->backoff_ms = from.retry->backoff_ms;
    route.retry->on_non_idempotent = from.retry->on_non_idempotent;
  }
}

}  // namespace

std::vector<std::string> translate_upgrades(RuleContext& rule) {
  std::vector<std::string> out;
  for (size_t i = 0; i < rule.rule.upgrades.size(); ++i) {
    if (std::string problem = add_upgrade(rule.rule.upgrades[i], out); !problem.empty())
      rule.refuse(fmt::format(".upgrades[{}]", i), "InvalidValue", std::move(problem));
  }
  return out;
}

void translate_action(RuleContext& rule, ir::RouteT& route) {
  features::apply(
      {&rule.rule.filters, &rule.route.meta.annotations, rule.context.options.allow_test_filters, rule.rate_limit},
      route, [&](const features::Complaint& complaint) {
        if (complaint.filter < 0) rule.plan.problem(complaint.field, complaint.reason, complaint.text);
        else
          rule.refuse(fmt::format(".filters[{}].{}", complaint.filter, complaint.field), complaint.reason,
                      complaint.text);
      });
  const Terminal terminal = find_terminal(rule);
  if (terminal.redirect != nullptr) translate_redirect(terminal, rule, route);
  else if (terminal.direct != nullptr) translate_direct(terminal, rule, route);
  else translate_forward(rule, route);
  translate_policy(rule, route);
}

}  // namespace sluice::translate
