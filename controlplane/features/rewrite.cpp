// Rewrite: host and path of the request before it goes upstream. The table's own checks (patterns, paths) are in
// path_modifier.cpp.
#include <array>

#include <fmt/format.h>

#include "controlplane/features/path_modifier.h"

namespace sluice::features {
namespace {

constexpr std::array<Row, 4> kRows = {{
    {"urlRewrite.hostname", "string", "the request's", "Host sent upstream."},
    {"urlRewrite.path.replaceFullPath", "string", "", "The whole path, without query."},
    {"urlRewrite.path.replacePrefixMatch", "string", "",
     "What replaces the prefix that the rule matched; needs a PathPrefix match."},
    {"urlRewrite.path.replaceRegexMatch", "{pattern, substitution}", "",
     "The leftmost match of the RE2 pattern in the path; \\0 to \\9 are its groups."},
}};

}  // namespace

const std::span<const Row> kRewriteRows = kRows;

void apply_rewrite(const Input& input, ir::RouteT& route, const Complain& complain) {
  if (input.filters == nullptr) return;
  bool seen = false;
  for (size_t i = 0; i < input.filters->size(); ++i) {
    const auto* rewrite = std::get_if<store::RewriteFilter>(&(*input.filters)[i]);
    if (rewrite == nullptr) continue;
    const auto report = [&](const char* field, const char* reason, std::string text) {
      complain(
          {static_cast<int>(i), fmt::format("urlRewrite{}{}", *field == 0 ? "" : ".", field), reason, std::move(text)});
    };
    if (seen) {
      report("", "DuplicateFilter", "a rule may rewrite only once");
      continue;
    }
    seen = true;
    ir::RewriteT config;
    config.host = rewrite->hostname;
    if (!rewrite->hostname.empty() && !is_plain_host(rewrite->hostname))
      report("hostname", "InvalidHost", fmt::format("\"{}\" is no DNS name", rewrite->hostname));
    if (rewrite->path) {
      const PathChange change = check_path_modifier(
          *rewrite->path, route.path_kind, [&](const char* field, const char* reason, std::string text) {
            report(fmt::format("path.{}", field).c_str(), reason, std::move(text));
          });
      config.path_kind = change.kind;
      config.path = change.path;
      config.pattern = change.pattern;
    }
    auto filter = std::make_unique<ir::FilterT>();
    filter->config.Set(std::move(config));
    route.filters.push_back(std::move(filter));
  }
}

}  // namespace sluice::features
