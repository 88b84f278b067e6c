#include "controlplane/features/path_modifier.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include "common/ir/regex_limits.h"

namespace sluice::features {
namespace {

// A path as it is sent: visible ASCII, no query, no fragment, no backslash. `leading`: must begin with '/'.
std::string path_problem(std::string_view path, bool leading) {
  if (leading && !path.starts_with('/')) return "must begin with '/'";
  for (const char c : path) {
    if (static_cast<unsigned char>(c) <= 0x20 || static_cast<unsigned char>(c) >= 0x7f)
      return "holds a space, control or non-ASCII character; escape it with '%'";
    if (c == '?' || c == '#' || c == '\\') return fmt::format("holds '{}'", c);
  }
  return {};
}

RE2::Options re2_options() {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_never_nl(true);
  options.set_max_mem(ir::kRegexMaxMemory);
  return options;
}

}  // namespace

std::string regex_problem(const std::string& pattern) {
  if (pattern.size() > ir::kRegexMaxBytes)
    return fmt::format("has {} bytes, at most {} are allowed", pattern.size(), ir::kRegexMaxBytes);
  const RE2 regex(pattern, re2_options());
  if (!regex.ok()) return fmt::format("is no RE2 regular expression: {}", regex.error());
  if (regex.ProgramSize() > ir::kRegexMaxProgram || regex.ReverseProgramSize() > ir::kRegexMaxProgram) {
    return fmt::format("is too large once compiled: {} instructions, at most {} are allowed",
                       std::max(regex.ProgramSize(), regex.ReverseProgramSize()), ir::kRegexMaxProgram);
  }
  return {};
}

std::string substitution_problem(const std::string& pattern, const std::string& substitution) {
  const RE2 regex(pattern, re2_options());
  std::string error;
  if (!regex.CheckRewriteString(substitution, &error)) return fmt::format("does not fit the pattern: {}", error);
  return {};
}

PathChange check_path_modifier(const store::PathModifier& modifier, ir::PathKind matched,
                               const std::function<void(const char*, const char*, std::string)>& report) {
  PathChange out;
  std::string problem;
  switch (modifier.type) {
    case store::PathModifierType::replace_full_path:
      problem = path_problem(modifier.value, true);
      if (!problem.empty()) report("replaceFullPath", "InvalidPath", fmt::format("\"{}\" {}", modifier.value, problem));
      out.kind = ir::RewriteKind::FullPath;
      out.path = modifier.value;
      return out;
    case store::PathModifierType::replace_prefix_match:
      problem = path_problem(modifier.value, !modifier.value.empty());
      if (!problem.empty())
        report("replacePrefixMatch", "InvalidPath", fmt::format("\"{}\" {}", modifier.value, problem));
      if (matched != ir::PathKind::Prefix)
        report("replacePrefixMatch", "InvalidPath", "needs matches of type PathPrefix only");
      out.kind = ir::RewriteKind::PrefixPath;
      // "/foo/" and "/foo" are the same prefix; the rest of the path brings its own slash.
      out.path = modifier.value;
      if (out.path.ends_with('/')) out.path.pop_back();
      return out;
    case store::PathModifierType::replace_regex_match:
      problem = regex_problem(modifier.pattern);
      if (!problem.empty()) {
        report("replaceRegexMatch.pattern", "InvalidRegex", fmt::format("\"{}\" {}", modifier.pattern, problem));
        return out;
      }
      problem = substitution_problem(modifier.pattern, modifier.value);
      if (!problem.empty()) report("replaceRegexMatch.substitution", "InvalidRegex", problem);
      // What the data plane makes of it is normalised and checked again there; here only what can never be a path.
      for (const char c : modifier.value) {
        if (static_cast<unsigned char>(c) <= 0x20 || static_cast<unsigned char>(c) >= 0x7f || c == '?' || c == '#') {
          report("replaceRegexMatch.substitution", "InvalidPath",
                 "holds a character that cannot be in a path; escape it with '%'");
          break;
        }
      }
      out.kind = ir::RewriteKind::RegexPath;
      out.path = modifier.value;
      out.pattern = modifier.pattern;
      return out;
  }
  return out;
}

bool is_plain_host(std::string_view host) {
  if (host.empty() || host.size() > 253) return false;
  for (size_t begin = 0;;) {
    const size_t dot = host.find('.', begin);
    const std::string_view label = host.substr(begin, dot == std::string_view::npos ? dot : dot - begin);
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-') return false;
    for (const char c : label) {
      if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-') return false;
    }
    if (dot == std::string_view::npos) return true;
    begin = dot + 1;
  }
}

}  // namespace sluice::features
