// spec.rules[].matches: any of them, each a conjunction of path, method, headers and query parameters.
#include <fmt/format.h>

#include "controlplane/features/feature.h"
#include "controlplane/features/path_modifier.h"
#include "controlplane/translate/names.h"
#include "controlplane/translate/route/rule.h"

namespace sluice::translate {
namespace {

bool translate_path(const store::PathMatch& path, const std::string& field, RuleContext& rule, Match& out) {
  const auto invalid = [&](const char* reason, const std::string& text) {
    rule.plan.problem(fmt::format("{}{}.path.value", rule.field, field), reason,
                      fmt::format("\"{}\" {}; this match is left out", path.value, text));
    return false;
  };
  if (path.type == store::PathMatchType::regular_expression) {
    if (const std::string problem = features::regex_problem(path.value); !problem.empty())
      return invalid("InvalidRegex", problem);
    out.rank = Precedence::regex;
    out.route.path_kind = ir::PathKind::Regex;
    out.route.path = path.value;
    return true;
  }
  const bool exact = path.type == store::PathMatchType::exact;
  auto normal = exact ? normalize_path(path.value) : normalize_prefix(path.value);
  if (!normal) return invalid("InvalidPath", normal.error().message);
  out.rank = exact ? Precedence::exact : Precedence::prefix;
  out.route.path_kind = exact ? ir::PathKind::Exact : ir::PathKind::Prefix;
  out.route.path = std::move(*normal);
  return true;
}

bool is_grpc_name(std::string_view text, bool dots) {
  bool first = true;
  for (const char c : text) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    if (c == '.' && dots && !first) {
      first = true;
      continue;
    }
    if (!letter && (first || c < '0' || c > '9')) return false;
    first = false;
  }
  return !first;
}

// A method of gRPC is the path /SERVICE/METHOD.
bool translate_grpc(const store::GrpcMatch& grpc, const std::string& field, RuleContext& rule, Match& out) {
  const auto invalid = [&](const char* sub, const char* reason, const std::string& name, const std::string& text) {
    rule.plan.problem(fmt::format("{}{}.grpc.{}", rule.field, field, sub), reason,
                      fmt::format("\"{}\" {}; this match is left out", name, text));
    return false;
  };
  const bool exact = grpc.type == store::GrpcMatch::Type::exact;
  for (const auto& [sub, name] : {std::pair("service", &grpc.service), std::pair("method", &grpc.method)}) {
    if (name->empty()) continue;
    if (exact && !is_grpc_name(*name, name == &grpc.service))
      return invalid(sub, "InvalidMatch", *name, fmt::format("is no name of a gRPC {}", sub));
    // By itself: what is open in one may not be closed by the other.
    if (const std::string problem = exact ? std::string() : features::regex_problem(*name); !problem.empty())
      return invalid(sub, "InvalidRegex", *name, problem);
  }
  if (exact && !grpc.service.empty()) {
    const bool whole = !grpc.method.empty();
    out.rank = whole ? Precedence::exact : Precedence::prefix;
    out.route.path_kind = whole ? ir::PathKind::Exact : ir::PathKind::Prefix;
    out.route.path = whole ? fmt::format("/{}/{}", grpc.service, grpc.method) : "/" + grpc.service;
    return true;
  }
  const auto part = [&](const std::string& name) {
    return name.empty() ? "[^/]+" : exact ? name : fmt::format("(?:{})", name);
  };
  out.rank = Precedence::regex;
  out.route.path_kind = ir::PathKind::Regex;
  out.route.path = fmt::format("/{}/{}", part(grpc.service), part(grpc.method));
  if (const std::string problem = features::regex_problem(out.route.path); !problem.empty())
    return invalid(grpc.service.empty() ? "method" : "service", "InvalidRegex", out.route.path, problem);
  return true;
}

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

// A pattern that does not compile is held against every request that has the header or parameter at all: those are
// answered with 500, since nobody can tell which of them the rule was for; other requests are not touched.
template <class T>
void translate_value(const store::ValueMatch& match, std::string name, const std::string& field, RuleContext& rule,
                     std::vector<std::unique_ptr<T>>& out) {
  for (const auto& earlier : out) {
    if (earlier->name != name) continue;
    rule.plan.problem(fmt::format("{}{}.name", rule.field, field), "DuplicateMatch",
                      fmt::format("\"{}\" is matched already; only the first counts", match.name),
                      store::Severity::warning);
    return;
  }
  auto to = std::make_unique<T>();
  to->name = std::move(name);
  switch (match.type) {
    case store::ValueMatchType::exact:
      to->kind = ir::ValueKind::Exact;
      break;
    case store::ValueMatchType::regular_expression:
      to->kind = ir::ValueKind::Regex;
      break;
    case store::ValueMatchType::present:
      to->kind = ir::ValueKind::Present;
      break;
  }
  if (to->kind == ir::ValueKind::Regex) {
    if (const std::string problem = features::regex_problem(match.value); !problem.empty()) {
      rule.refuse(field + ".value", "InvalidRegex", fmt::format("\"{}\" {}", match.value, problem));
      to->kind = ir::ValueKind::Present;
    }
  }
  if (to->kind != ir::ValueKind::Present) to->value = match.value;
  out.push_back(std::move(to));
}

bool translate_match(const store::RouteMatch& match, const std::string& field, RuleContext& rule, Match& out) {
  if (!(match.grpc ? translate_grpc(*match.grpc, field, rule, out) : translate_path(match.path, field, rule, out)))
    return false;
  const auto invalid = [&](const std::string& sub, std::string text) {
    rule.plan.problem(rule.field + field + sub, "InvalidMatch", std::move(text) + "; this match is left out");
    return false;
  };
  if (!match.method.empty()) {
    if (!features::is_token(match.method)) return invalid(".method", fmt::format("\"{}\" is no method", match.method));
    out.route.methods.push_back(match.method);
  }
  for (size_t i = 0; i < match.headers.size(); ++i) {
    const store::ValueMatch& header = match.headers[i];
    const std::string sub = fmt::format(".headers[{}]", i);
    if (!features::is_token(header.name))
      return invalid(sub + ".name", fmt::format("\"{}\" is no header name", header.name));
    if (lower(header.name) == "host") return invalid(sub + ".name", "Host is matched by hostnames");
    if (header.type == store::ValueMatchType::exact && !features::is_field_value(header.value))
      return invalid(sub + ".value", "no header can have this value");
    translate_value(header, lower(header.name), field + sub, rule, out.route.headers);
  }
  for (size_t i = 0; i < match.query_params.size(); ++i) {
    const std::string sub = fmt::format(".queryParams[{}]", i);
    if (match.query_params[i].name.empty()) return invalid(sub + ".name", "a query parameter must have a name");
    translate_value(match.query_params[i], match.query_params[i].name, field + sub, rule, out.route.query);
  }
  return true;
}

}  // namespace

std::vector<Match> translate_matches(RuleContext& rule) {
  static const std::vector<store::RouteMatch> kEverything(1);
  const auto& matches = rule.rule.matches.empty() ? kEverything : rule.rule.matches;
  std::vector<Match> out;
  for (size_t i = 0; i < matches.size(); ++i) {
    if (matches[i].invalid) continue;
    Match match{Precedence::prefix, static_cast<uint32_t>(i), {}};
    if (translate_match(matches[i], fmt::format(".matches[{}]", i), rule, match)) out.push_back(std::move(match));
  }
  return out;
}

}  // namespace sluice::translate
