// How many client connections each worker has, for connections.balance: a memory file of the master's with one cache
// line for each worker index. A worker says of itself what it has and that it takes more; whoever has accepted a
// connection reads all lines and claims a place with the worker that has the fewest. Beside what the worker says
// stands what is on its way to it, which all of them count, so that many who choose at once do not choose the same. No
// locks or pointers: whoever dies leaves at most a claim behind, which the worker that it was made on drops.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "common/base/result.h"
#include "common/base/unique_fd.h"
#include "dataplane/shared/counters.h"

namespace sluice::shared {

class WorkerLoads {
 public:
  static constexpr unsigned kMaxWorkers = 128;
  // A worker that has not said so for this long takes nothing: it hangs. One at rest says it each 250 ms.
  static constexpr uint64_t kFreshMs = 1000;

  // The master's: a sealed memory file of 8 KiB, in which nobody takes connections.
  [[nodiscard]] static Result<UniqueFd> make();
  [[nodiscard]] static Result<WorkerLoads> map(int fd);
  WorkerLoads(WorkerLoads&& other) noexcept;
  WorkerLoads& operator=(WorkerLoads&&) = delete;
  ~WorkerLoads();

  // What worker `index` says of itself. `now_ms`: monotonic, not 0.
  void publish(unsigned index, size_t connections, bool takes, uint64_t now_ms);
  // The worker is gone; what is on its way to it waits for its successor (the master's word).
  void clear(unsigned index);
  // Connections of a worker, those on their way included.
  [[nodiscard]] uint64_t load(unsigned index) const;
  // On their way, as far as known: below 0 after a claim was dropped that was none.
  [[nodiscard]] int64_t coming(unsigned index) const;

  // Who of the workers 0 to count - 1 is to serve one more that `own` has accepted: `own`, unless another takes
  // connections and has fewer. The place of another is claimed: it counts as on its way until release().
  [[nodiscard]] unsigned claim(unsigned own, unsigned count, uint64_t now_ms);
  // It has come, or was not sent.
  void release(unsigned index);
  // Nothing is on its way: claims of workers that died before they sent.
  void settle(unsigned index);

 private:
  struct alignas(64) Line {
    Cell connections;
    Cell takes_ms;  // when it last said that it takes connections; 0 = it does not
    std::atomic<int64_t> coming{0};
  };
  struct Memory;
  explicit WorkerLoads(Memory* memory) : memory_(memory) {}
  [[nodiscard]] Line& line(unsigned index) const;

  Memory* memory_;
};

}  // namespace sluice::shared
