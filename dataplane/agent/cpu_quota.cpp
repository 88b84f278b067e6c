#include "dataplane/agent/cpu_quota.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <optional>
#include <sstream>

#include <sched.h>

#include "dataplane/sync/messages.h"

namespace sluice::agent {
namespace {

std::string read_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::optional<double> quota_of(const std::string& folder, bool v2) {
  double quota = 0, period = 0;
  if (v2) {
    std::istringstream line(read_line(folder + "/cpu.max"));  // "max 100000" or "150000 100000"
    if (!(line >> quota >> period)) return std::nullopt;
  } else {
    std::istringstream first(read_line(folder + "/cpu.cfs_quota_us")), second(read_line(folder + "/cpu.cfs_period_us"));
    if (!(first >> quota) || !(second >> period)) return std::nullopt;
  }
  if (quota <= 0 || period <= 0) return std::nullopt;
  return quota / period;
}

// The tightest quota from `path` up to the root; in a cgroup namespace the path is just "/".
std::optional<double> tightest(const std::string& root, std::string path, bool v2) {
  std::optional<double> least;
  for (;;) {
    const auto here = quota_of(root + path, v2);
    if (here && (!least || *here < *least)) least = here;
    if (path.empty()) return least;
    const size_t slash = path.rfind('/');
    path.resize(slash == std::string::npos ? 0 : slash);
  }
}
}  // namespace

unsigned workers_by_quota(const std::string& cgroup_root, const std::string& proc_cgroup, unsigned cpus) {
  std::optional<double> quota;
  std::ifstream file(proc_cgroup);
  for (std::string line; std::getline(file, line);) {  // "0::/path" or "4:cpu,cpuacct:/path"
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    std::optional<double> here;
    if (controllers.empty()) here = tightest(cgroup_root, path, true);
    else if (("," + controllers + ",").find(",cpu,") != std::string::npos) {
      here = tightest(cgroup_root + "/cpu", path, false);
      if (!here) here = tightest(cgroup_root + "/" + controllers, path, false);
    }
    if (here && (!quota || *here < *quota)) quota = here;
  }
  const double wanted = quota ? std::ceil(*quota) : cpus;
  return std::clamp(static_cast<unsigned>(std::min<double>(wanted, cpus)), 1u, sync::kMaxWorkers);
}

unsigned default_workers() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const unsigned cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? static_cast<unsigned>(CPU_COUNT(&set)) : 1u;
  return workers_by_quota("/sys/fs/cgroup", "/proc/self/cgroup", cpus);
}

}  // namespace sluice::agent
