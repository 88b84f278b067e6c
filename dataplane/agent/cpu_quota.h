// How many workers this machine, or this container, is worth.
#pragma once
#include <string>

namespace sluice::agent {

// The CPU quota of our cgroup and its parents (v2 cpu.max, v1 cpu.cfs_quota_us) rounded up, at most the CPUs we may run
// on; 1 to 128.
[[nodiscard]] unsigned default_workers();
// With another root for /sys/fs/cgroup, another /proc/self/cgroup and number of CPUs (tests).
[[nodiscard]] unsigned workers_by_quota(const std::string& cgroup_root, const std::string& proc_cgroup, unsigned cpus);

}  // namespace sluice::agent
