// Takes the figures that overload.h judges, about four times a second, and does what its levels ask for. One timer of
// the kernel; how long events wait for their turn is measured (delay_probe.h) after large batches and when the timer
// was seen late.
#pragma once
#include <cstdint>

#include "common/base/unique_fd.h"
#include "dataplane/net/reactor.h"
#include "dataplane/worker/context.h"
#include "dataplane/worker/delay_probe.h"
#include "dataplane/worker/memory_gauge.h"

namespace sluice::worker {

class OverloadMonitor final : private net::EventHandler {
 public:
  static constexpr uint64_t kPeriodMs = 250;
  // So many events in a batch, or a timer so late: somebody may be waiting.
  static constexpr int kBusyEvents = 64;
  static constexpr uint64_t kLateNs = 2'000'000;
  OverloadMonitor(Context& context, MemoryGauge gauge);
  ~OverloadMonitor();
  OverloadMonitor(const OverloadMonitor&) = delete;
  OverloadMonitor& operator=(const OverloadMonitor&) = delete;

  // False: there is no timer, and nothing is watched.
  [[nodiscard]] bool start();
  // How many workers share the memory.
  void set_workers(uint32_t workers) { workers_ = workers; }
  // After a batch of events: looks at once if much was added since the last time, and measures the delay if the batch
  // was large. Costs nothing if not.
  void after_batch() {
    if (context_.reactor.events() >= kBusyEvents) probe_.send();
    if (next_look_ != SIZE_MAX) look_if_grown();
  }
  // What happens with each reading.
  void judge(const Load& load);

 private:
  void on_event(uint32_t events) override;
  [[nodiscard]] size_t occupied() const;
  void look_if_grown();
  void look();
  void end_idle();
  void reset_largest(uint64_t wanted);

  Context& context_;
  MemoryGauge gauge_;
  DelayProbe probe_;
  UniqueFd timer_;
  uint64_t due_ns_ = 0;          // the next expiry nobody has seen
  size_t next_look_ = SIZE_MAX;  // when so much is occupied
  uint32_t workers_ = 1;
  uint32_t looks_short_ = 0;  // of the timer, while memory is short
};

}  // namespace sluice::worker
