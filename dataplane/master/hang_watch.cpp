#include "dataplane/master/hang_watch.h"

#include <array>
#include <ctime>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "common/base/unique_fd.h"

namespace sluice::master {

std::optional<ProcessLook> look_at(pid_t pid) {
  clockid_t clock{};
  timespec used{};
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0) return std::nullopt;
  const UniqueFd fd(::open(fmt::format("/proc/{}/stat", pid).c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 512> bytes{};
  const ssize_t size = fd ? ::read(fd.get(), bytes.data(), bytes.size()) : -1;
  if (size <= 0) return std::nullopt;
  // proc(5): pid (name) state ...; the name may hold anything.
  const std::string_view text(bytes.data(), static_cast<size_t>(size));
  const size_t name_end = text.rfind(')');
  if (name_end == std::string_view::npos || name_end + 2 >= text.size()) return std::nullopt;
  return ProcessLook{static_cast<uint64_t>(used.tv_sec) * 1000 + static_cast<uint64_t>(used.tv_nsec) / 1'000'000,
                     text[name_end + 2] == 'R'};
}

bool HangWatch::hangs(const std::optional<ProcessLook>& look) {
  const bool waits = !look || !look->runnable;
  const bool waited = std::exchange(waited_, waits);
  if (waits) return waited;
  if (!first_cpu_ms_) first_cpu_ms_ = look->cpu_ms;
  return look->cpu_ms >= *first_cpu_ms_ + kEnoughCpuMs;
}

}  // namespace sluice::master
