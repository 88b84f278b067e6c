#include "dataplane/filters/rewrite/rewrite.h"

#include <algorithm>
#include <cstring>

#include "dataplane/filters/header_edits.h"
#include "dataplane/http/authority.h"
#include "dataplane/http/path.h"

namespace sluice::filters {
namespace {

std::string_view join(std::string_view a, std::string_view b, Arena& arena) {
  if (b.empty()) return a;
  if (a.empty()) return b;
  char* to = static_cast<char*>(arena.allocate(a.size() + b.size(), 1));
  std::memcpy(to, a.data(), a.size());
  std::memcpy(to + a.size(), b.data(), b.size());
  return {to, a.size() + b.size()};
}

std::string_view replace_prefix(std::string_view path, std::string_view replacement, size_t covered, Arena& arena) {
  std::string_view rest = path.substr(std::min(covered, path.size()));
  // "/foo" -> "/" makes "/bar" of "/foo/bar", never "//bar", which some clients and servers read as a host.
  if (rest.starts_with('/')) {
    while (replacement.ends_with('/')) replacement.remove_suffix(1);
    while (replacement.empty() && rest.starts_with("//")) rest.remove_prefix(1);
  }
  const std::string_view result = join(replacement, rest, arena);
  return result.empty() ? std::string_view("/") : result;
}

class Rewrite final : public http::Filter {
 public:
  Rewrite(const ir::Rewrite& config, const route::Regex* regex, size_t covered)
      : config_(config), regex_(regex), covered_(covered) {}

  Status on_request_head(http::FilterContext& context, bool) override {
    http::RequestHead& head = context.request();
    if (config_.path_kind() != ir::RewriteKind::None && head.path != "*") {
      const auto path =
          rewrite_path(config_.path_kind(), head.path, view_of(config_.path()), covered_, regex_, context.arena());
      if (!path) {
        context.reply({.reason = path.error()});
        return Status::proceed;
      }
      head.path = *path;
    }
    if (config_.host() != nullptr && config_.host()->size() != 0) {
      const http::Authority authority = http::parse_authority(view_of(config_.host()), context.arena());
      if (authority.reason != http::Reason::none) {
        context.reply({.reason = http::Reason::filter_failed});
        return Status::proceed;
      }
      head.host = authority.host;
      head.port = authority.port;
    }
    return Status::proceed;
  }

 private:
  const ir::Rewrite& config_;
  const route::Regex* regex_;
  size_t covered_;
};

class RewriteFactory final : public Factory {
 public:
  RewriteFactory(const ir::Rewrite& config, std::unique_ptr<route::Regex> regex)
      : config_(config), regex_(std::move(regex)) {}
  [[nodiscard]] http::Filter* make(Arena& arena, const MatchFacts& facts) const override {
    return arena.make<Rewrite>(config_, regex_.get(), facts.covered);
  }

 private:
  const ir::Rewrite& config_;
  std::unique_ptr<route::Regex> regex_;
};

}  // namespace

std::expected<std::string_view, http::Reason> rewrite_path(ir::RewriteKind kind, std::string_view path,
                                                           std::string_view replacement, size_t covered,
                                                           const route::Regex* regex, Arena& arena) {
  std::string_view result = path;
  switch (kind) {
    case ir::RewriteKind::None:
      return path;
    case ir::RewriteKind::FullPath:
      result = replacement;
      break;
    case ir::RewriteKind::PrefixPath:
      result = replace_prefix(path, replacement, covered, arena);
      break;
    case ir::RewriteKind::RegexPath:
      if (regex == nullptr) return std::unexpected(http::Reason::filter_failed);
      switch (regex->replace(path, replacement, kMaxRewrittenPath, arena, result)) {
        case route::Regex::Replaced::no_match:
          return path;  // what the pattern does not meet stays as it is
        case route::Regex::Replaced::failed:
          return std::unexpected(http::Reason::rejected_path);  // not what was asked for, and not unchanged either
        case route::Regex::Replaced::done:
          break;
      }
      break;
  }
  if (result.empty() || result.front() != '/') result = join("/", result, arena);
  if (result.size() > kMaxRewrittenPath) return std::unexpected(http::Reason::rejected_path);
  const http::NormalPath normal = http::normalize_path(result, arena);
  if (normal.reason != http::Reason::none) return std::unexpected(http::Reason::rejected_path);
  // Escapes may be spelt anew; a segment more or less means that dot segments appeared: what was authorised is not what
  // would be asked for.
  if (std::count(normal.path.begin(), normal.path.end(), '/') != std::count(result.begin(), result.end(), '/')) {
    return std::unexpected(http::Reason::rejected_path);
  }
  return normal.path;
}

std::unique_ptr<Factory> prepare_rewrite(const ir::Filter& config, const Environment&) {
  const auto* rewrite = config.config_as_Rewrite();
  if (rewrite == nullptr) return nullptr;
  std::unique_ptr<route::Regex> regex;
  if (rewrite->path_kind() == ir::RewriteKind::RegexPath) {
    regex = route::Regex::compile(view_of(rewrite->pattern()));
    if (regex == nullptr) return nullptr;
  }
  return std::make_unique<RewriteFactory>(*rewrite, std::move(regex));
}

}  // namespace sluice::filters
