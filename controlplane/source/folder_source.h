// A folder of manifests as a store::Source: *.yaml, *.yml and *.json in it and below it, many documents a file, Lists.
// Watched by inotify; a file is read when its writer has closed it or it was moved in. A file that does not parse keeps
// its last good objects and its error is logged with file and line; one that is gone or empty must stay so for a moment
// before it is believed, because editors write that way: half-written files do no harm. One object in two files: the
// first file by name has it. Names that begin with a dot or end with `~` are not read; symbolic links are followed
// (mounted ConfigMaps).
#pragma once
#include <memory>
#include <string>

#include "common/base/result.h"
#include "controlplane/store/source.h"

namespace boost::asio {
class io_context;
}

namespace sluice::source {

inline constexpr size_t kMaxFileBytes = size_t{64} << 20;
inline constexpr size_t kMaxFiles = 100'000;
inline constexpr size_t kMaxDepth = 32;    // of folders
inline constexpr uint64_t kDoubtMs = 100;  // how long a file must be gone or empty
inline constexpr uint64_t kSweepMs =
    2'000;  // how often what inotify does not tell is looked at: targets of links, the folder itself

[[nodiscard]] Result<std::unique_ptr<store::Source>> make_folder_source(boost::asio::io_context& io,
                                                                        const std::string& folder);

}  // namespace sluice::source
