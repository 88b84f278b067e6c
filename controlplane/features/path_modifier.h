// Checks of what rewrites and redirects say about paths, hosts and patterns.
#pragma once
#include <functional>
#include <string>

#include "controlplane/features/feature.h"

namespace sluice::features {

struct PathChange {
  ir::RewriteKind kind = ir::RewriteKind::None;
  std::string path, pattern;
};
// `report(field, reason, text)`: field is relative to the modifier ("replaceFullPath"). What was reported is not in the
// answer.
[[nodiscard]] PathChange check_path_modifier(const store::PathModifier& modifier, ir::PathKind matched,
                                             const std::function<void(const char*, const char*, std::string)>& report);

// A DNS name without wildcard.
[[nodiscard]] bool is_plain_host(std::string_view host);

// Empty = good. Patterns are bounded in length, memory and program size, so that no worker spends long on one; the data
// plane compiles them with the same limits (common/ir/regex_limits.h).
[[nodiscard]] std::string regex_problem(const std::string& pattern);
// Empty = good: only \0 to \9 up to the pattern's groups, and "\\\\".
[[nodiscard]] std::string substitution_problem(const std::string& pattern, const std::string& substitution);

}  // namespace sluice::features
