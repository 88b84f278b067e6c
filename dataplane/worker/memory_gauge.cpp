#include "dataplane/worker/memory_gauge.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>

#include <fcntl.h>
#include <unistd.h>

namespace sluice::worker {
namespace {

constexpr size_t kMostStat = 8192;
// v1 says "no limit" by the largest number of whole pages.
constexpr uint64_t kNoLimit = uint64_t{1} << 60;

UniqueFd open_file(const std::string& path) { return UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)); }

std::string_view read_file(const UniqueFd& fd, char* buffer, size_t size) {
  const ssize_t n = fd ? ::pread(fd.get(), buffer, size, 0) : -1;
  return {buffer, n > 0 ? static_cast<size_t>(n) : 0};
}

// The number at the beginning; nothing for "max" and what is none.
std::optional<uint64_t> number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end == text.data()) return std::nullopt;
  return value;
}

std::optional<uint64_t> read_number(const UniqueFd& fd) {
  char buffer[32];
  return number(read_file(fd, buffer, sizeof buffer));
}

// "NAME 123" on a line of its own; 0 if it is not there.
uint64_t line_of(std::string_view text, std::string_view name) {
  for (size_t at = 0; at < text.size();) {
    const std::string_view line = text.substr(at, text.find('\n', at) - at);
    if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == ' ')
      return number(line.substr(name.size() + 1)).value_or(0);
    at += line.size() + 1;
  }
  return 0;
}

}  // namespace

MemoryGauge::MemoryGauge(const std::string& root, const std::string& proc_cgroup, const std::string& statm) {
  static constexpr Files kV1 = {"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
                                "total_active_file", ""};
  static constexpr Files kV2 = {"memory.max", "memory.current", "inactive_file", "active_file", "sock"};
  std::ifstream file(proc_cgroup);
  for (std::string line; limit_.get() < 0 && std::getline(file, line);) {  // "0::/path" or "4:memory:/path"
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (controllers.empty()) open_tightest(root, line.substr(second + 1), kV2);
    else if (("," + controllers + ",").find(",memory,") != std::string::npos)
      open_tightest(root + "/memory", line.substr(second + 1), kV1);
  }
  if (limit_) statm_ = open_file(statm);
}

MemoryGauge MemoryGauge::of_this_process() { return {"/sys/fs/cgroup", "/proc/self/cgroup", "/proc/self/statm"}; }

// From `path` up to the root; in a cgroup namespace the path is just "/".
void MemoryGauge::open_tightest(const std::string& root, std::string path, const Files& files) {
  uint64_t least = kNoLimit;
  for (;;) {
    const std::string folder = root + path + "/";
    UniqueFd limit = open_file(folder + files.limit), used = open_file(folder + files.used);
    const std::optional<uint64_t> here = read_number(limit);
    if (here && *here < least && used) {
      least = *here;
      limit_ = std::move(limit);
      used_ = std::move(used);
      stat_ = open_file(folder + "memory.stat");
      files_ = &files;
    }
    if (path.empty()) return;
    const size_t slash = path.rfind('/');
    path.resize(slash == std::string::npos ? 0 : slash);
  }
}

MemoryFigures MemoryGauge::read(uint32_t workers) const {
  MemoryFigures figures;
  const std::optional<uint64_t> limit = read_number(limit_), used = read_number(used_);
  if (!limit || !used || *limit == 0 || *limit >= kNoLimit) return figures;
  figures.limit = *limit;
  figures.used = *used;
  if (*used < *limit / 100 * kLookCloser) return figures;
  char buffer[kMostStat];
  const std::string_view stat = read_file(stat_, buffer, sizeof buffer);
  figures.used -= std::min(*used, line_of(stat, files_->inactive_file) + line_of(stat, files_->active_file));
  const uint64_t sockets = line_of(stat, files_->sockets);
  // "SIZE RESIDENT SHARED ..." in pages: what is ours alone is what clients make grow.
  char pages[128];
  const std::string_view statm = read_file(statm_, pages, sizeof pages);
  uint64_t resident = 0, shared = 0;
  if (const size_t second = statm.find(' '); second != statm.npos) {
    resident = number(statm.substr(second + 1)).value_or(0);
    if (const size_t third = statm.find(' ', second + 1); third != statm.npos)
      shared = number(statm.substr(third + 1)).value_or(0);
  }
  const uint64_t own = resident > shared ? (resident - shared) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)) : 0;
  figures.clients = sockets + own * std::max(workers, 1u);
  return figures;
}

}  // namespace sluice::worker
