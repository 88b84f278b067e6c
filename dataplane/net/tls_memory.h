// OpenSSL's memory from lists of freed blocks, one per size and thread: a record buffer that an idle connection gives
// back (and the 3,000 small blocks of a handshake) is taken up by the next one without malloc. Keeps at most
// kMostTlsMemoryKept a thread; what is freed beyond goes back to the system. For processes whose threads live as long
// as they do.
#pragma once
#include <cstddef>

#include "common/base/block_lists.h"

namespace sluice::net {

// For the whole process, before anything of OpenSSL: it refuses once it has memory of its own. False: malloc stays
// (also under AddressSanitizer, which has to see each block).
bool use_tls_memory();

// Of this thread.
using TlsMemoryFigures = BlockLists::Figures;
[[nodiscard]] TlsMemoryFigures tls_memory_figures();
inline constexpr size_t kMostTlsMemoryKept = size_t{4} << 20u;

}  // namespace sluice::net
