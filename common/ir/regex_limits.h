// Bounds of every regular expression of a table (RE2, options never_nl, log_errors off). The control plane refuses what
// does not compile within them, the data plane compiles with the same, so both agree on what is usable.
#pragma once
#include <cstddef>
#include <cstdint>

namespace sluice::ir {

inline constexpr size_t kRegexMaxBytes = 4096;                // of the pattern
inline constexpr int64_t kRegexMaxMemory = int64_t{1} << 20;  // program and DFA cache of one expression
inline constexpr int kRegexMaxProgram =
    4096;  // instructions: bounds the time of compiling and of one byte (checked by the control plane)

}  // namespace sluice::ir
