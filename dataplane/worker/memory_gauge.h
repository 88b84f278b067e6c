// How full the memory is that this container may use: the tightest limit of our control group and those above it (v2
// memory.max, v1 memory.limit_in_bytes), and what the group uses. The group's figure, not this process's: the limit is
// the group's, at which the kernel ends all of it, and most of what slow clients hold lies in socket buffers, which are
// charged to the group and to no process. Pages of files are not counted, the kernel takes those back.
//
// Files are opened once. While there is room a reading is two pread(2) of a few bytes; memory.stat, which the kernel
// has to sum up, is read only above kLookCloser.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/unique_fd.h"
#include "dataplane/worker/overload.h"

namespace sluice::worker {

class MemoryGauge {
 public:
  static constexpr uint64_t kLookCloser = 75;  // percent of the limit
  // Knows of no limit.
  MemoryGauge() = default;
  // With another root than /sys/fs/cgroup, another /proc/self/cgroup and /proc/self/statm (tests).
  MemoryGauge(const std::string& root, const std::string& proc_cgroup, const std::string& statm);
  [[nodiscard]] static MemoryGauge of_this_process();

  // `workers`: how many processes like this one are in the group. limit 0: there is none, or it cannot be read.
  [[nodiscard]] MemoryFigures read(uint32_t workers) const;

 private:
  struct Files {
    const char *limit, *used, *inactive_file, *active_file, *sockets;
  };
  void open_tightest(const std::string& root, std::string path, const Files& files);

  UniqueFd limit_, used_, stat_, statm_;
  const Files* files_ = nullptr;
};

}  // namespace sluice::worker
