#include "dataplane/route/regex.h"

#include <array>
#include <cstring>

#include <re2/re2.h>

#include "common/ir/regex_limits.h"

namespace sluice::route {

struct Regex::Impl {
  explicit Impl(std::string_view pattern, const RE2::Options& options)
      : re({pattern.data(), pattern.size()}, options) {}
  RE2 re;
};

Regex::Regex(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Regex::~Regex() = default;

std::unique_ptr<Regex> Regex::compile(std::string_view pattern) {
  if (pattern.size() > ir::kRegexMaxBytes) return nullptr;
  RE2::Options options;
  options.set_log_errors(false);
  options.set_never_nl(true);
  options.set_max_mem(ir::kRegexMaxMemory);
  auto impl = std::make_unique<Impl>(pattern, options);
  if (!impl->re.ok()) return nullptr;
  return std::unique_ptr<Regex>(new Regex(std::move(impl)));
}

bool Regex::full_match(std::string_view text) const {
  return impl_->re.Match({text.data(), text.size()}, 0, text.size(), RE2::ANCHOR_BOTH, nullptr, 0);
}

namespace {

using Groups = std::array<re2::StringPiece, 10>;

// One piece of a substitution at `at`: a literal byte or a group. False: malformed.
bool next_piece(std::string_view substitution, size_t& at, const Groups& groups, std::string_view& piece) {
  if (substitution[at] != '\\') {
    piece = substitution.substr(at, 1);
    ++at;
    return true;
  }
  if (at + 1 >= substitution.size()) return false;
  const char next = substitution[at + 1];
  if (next >= '0' && next <= '9') {
    const re2::StringPiece& group = groups[static_cast<size_t>(next - '0')];
    piece = {group.data(), group.size()};
  } else if (next == '\\') {
    piece = substitution.substr(at + 1, 1);
  } else {
    return false;
  }
  at += 2;
  return true;
}

}  // namespace

Regex::Replaced Regex::replace(std::string_view text, std::string_view substitution, size_t max_bytes, Arena& arena,
                               std::string_view& out) const {
  Groups groups;
  const int wanted = std::min<int>(1 + impl_->re.NumberOfCapturingGroups(), static_cast<int>(groups.size()));
  if (!impl_->re.Match({text.data(), text.size()}, 0, text.size(), RE2::UNANCHORED, groups.data(), wanted))
    return Replaced::no_match;
  const std::string_view before = text.substr(0, static_cast<size_t>(groups[0].data() - text.data()));
  const std::string_view after = text.substr(before.size() + groups[0].size());
  size_t total = before.size() + after.size();
  for (size_t at = 0; at < substitution.size();) {
    std::string_view piece;
    if (!next_piece(substitution, at, groups, piece)) return Replaced::failed;
    total += piece.size();
    if (total > max_bytes) return Replaced::failed;
  }
  if (total > max_bytes) return Replaced::failed;
  char* const begin = static_cast<char*>(arena.allocate(total + 1, 1));
  char* to = begin;
  const auto put = [&to](std::string_view piece) {
    if (!piece.empty()) std::memcpy(to, piece.data(), piece.size());
    to += piece.size();
  };
  put(before);
  for (size_t at = 0; at < substitution.size();) {
    std::string_view piece;
    (void)next_piece(substitution, at, groups, piece);
    put(piece);
  }
  put(after);
  out = {begin, total};
  return Replaced::done;
}

}  // namespace sluice::route
