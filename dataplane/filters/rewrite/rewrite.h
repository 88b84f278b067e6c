// Changes host and path of the request; and the path arithmetic that redirects share. See README.md.
#pragma once
#include <cstddef>
#include <expected>
#include <memory>
#include <string_view>

#include "dataplane/filters/chain.h"
#include "dataplane/http/error.h"
#include "dataplane/route/regex.h"

namespace sluice::filters {

inline constexpr size_t kMaxRewrittenPath = 8192;

[[nodiscard]] std::unique_ptr<Factory> prepare_rewrite(const ir::Filter& config, const Environment&);

// The new path in the arena (or a view of an argument), in normal form. `covered`: bytes of `path` that a prefix
// replacement replaces. `regex`: for RegexPath. A result that normalisation would understand differently (dot segments,
// broken escapes) is refused with its reason.
[[nodiscard]] std::expected<std::string_view, http::Reason> rewrite_path(ir::RewriteKind kind, std::string_view path,
                                                                         std::string_view replacement, size_t covered,
                                                                         const route::Regex* regex, Arena& arena);

}  // namespace sluice::filters
