// Descriptors kept back for what the master sends. A worker whose connections have used up the open-files limit could
// not receive the memory files of a new state: the kernel drops descriptors that do not fit, and the worker would be
// cut off from its master by the very load it should go on serving. So the soft limit is lowered while it works for
// clients, and raised again for the moment in which it reads from the master. Of one process, on its thread.
#pragma once
#include <algorithm>

#include <sys/resource.h>

#include "dataplane/sync/messages.h"

namespace sluice::worker {

class DescriptorReserve {
 public:
  DescriptorReserve() {
    known_ = getrlimit(RLIMIT_NOFILE, &limit_) == 0 && limit_.rlim_cur != RLIM_INFINITY;
    keep();
  }
  ~DescriptorReserve() { release(); }
  DescriptorReserve(const DescriptorReserve&) = delete;
  DescriptorReserve& operator=(const DescriptorReserve&) = delete;

  // How many there are without those kept back; 0 = no limit.
  [[nodiscard]] size_t for_clients() const { return known_ ? limit_.rlim_cur - kept() : 0; }
  // All of the limit may be used, until keep().
  void release() const {
    if (known_) (void)setrlimit(RLIMIT_NOFILE, &limit_);
  }
  void keep() const {
    if (!known_) return;
    rlimit lower = limit_;
    lower.rlim_cur -= kept();
    (void)setrlimit(RLIMIT_NOFILE, &lower);
  }

 private:
  [[nodiscard]] rlim_t kept() const { return std::min<rlim_t>(sync::kMaxFds, limit_.rlim_cur / 4); }

  rlimit limit_{};
  bool known_ = false;
};

}  // namespace sluice::worker
