// Tells a worker that hangs from one that is not given the CPU (a quota that is used up, a node with far too much to
// do). Only the first is to be replaced: a successor would be given no more, and the clients would have lost their
// connections for nothing.
#pragma once
#include <cstdint>
#include <optional>

#include <sys/types.h>

namespace sluice::master {

// A process as the kernel sees it.
struct ProcessLook {
  uint64_t cpu_ms = 0;    // that it has used
  bool runnable = false;  // it has the CPU or waits for it
};
// Nothing: there is no such process, or /proc does not say.
[[nodiscard]] std::optional<ProcessLook> look_at(pid_t pid);

// Of one worker whose heartbeat is late; made anew when it is not any more.
class HangWatch {
 public:
  // It would have got to its next heartbeat with much less.
  static constexpr uint64_t kEnoughCpuMs = 500;

  // Told at each look. True: it hangs. It was given the CPU since the first look and did not get to its heartbeat; or
  // twice in a row it was seen to wait for something else than the CPU (or to be stopped). Without a look it counts as
  // waiting.
  [[nodiscard]] bool hangs(const std::optional<ProcessLook>& look);

 private:
  std::optional<uint64_t> first_cpu_ms_;
  bool waited_ = false;  // at the look before
};

}  // namespace sluice::master
