// RE2 behind one small class: linear time, bounded memory, nothing logged. The only place of the data plane that
// includes re2; also used by filters that rewrite. Patterns were checked by the control plane with the same limits
// (common/ir/regex_limits.h); one that still fails is never a match.
#pragma once
#include <memory>
#include <string_view>

#include "common/base/arena.h"

namespace sluice::route {

class Regex {
 public:
  ~Regex();
  Regex(const Regex&) = delete;
  Regex& operator=(const Regex&) = delete;
  // Null if the pattern does not compile within the limits.
  [[nodiscard]] static std::unique_ptr<Regex> compile(std::string_view pattern);

  // The pattern covers all of text.
  [[nodiscard]] bool full_match(std::string_view text) const;
  // Replaces the leftmost match in text by `substitution` (\0..\9: groups, \\: a backslash); the rest stays. One pass
  // to measure, one to fill, into the arena. failed: a substitution that is not well formed, or a result over
  // max_bytes. Unless done, `out` is untouched.
  enum class Replaced : uint8_t { done, no_match, failed };
  [[nodiscard]] Replaced replace(std::string_view text, std::string_view substitution, size_t max_bytes, Arena& arena,
                                 std::string_view& out) const;

 private:
  struct Impl;
  explicit Regex(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::route
