// What a worker does when it has more to do than it can: a level for each thing that can run out, from figures that are
// given to it about four times a second. No clock, sockets or files here: overload_monitor.h has those, and acts.
//
//   level           memory  others            what happens from here on
//   no_keep_alive   85 %    connections 90 %  connections end with their next answer, idle ones soon
//   shed_sheddable  88 %    delay 25 ms *     new requests of class `sheddable` get 503 and Retry-After
//   shed_standard   91 %    delay 100 ms *    those of class `standard` too
//   refuse          94 %                      new connections are reset at once
//   reset           97 %                      what holds most is reset, down to 80 %; all new requests get 503
//   * timeouts.queueDelay and a quarter of it
//
// Who is refused for 5 s is not left to wait for the last level: what holds most is reset then, too.
// Of a small limit of memory earlier, by what one batch of events may add (kBatchBytes, at most a sixteenth of it). Up
// at once, however far; down one level a second, and only when the figure is 5 points (of a delay: half) lower. Memory
// goes first to what costs clients least. What is short of time only sheds, and of a class a share (delay_shedding.h):
// an ended connection would be made anew, and a handshake costs more than a request.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dataplane/worker/delay_shedding.h"

namespace sluice::worker {

enum class Level : uint8_t { normal, no_keep_alive, shed_sheddable, shed_standard, refuse, reset };
[[nodiscard]] std::string_view name_of(Level level);

// In the order of shared::CounterPage::overload_level.
enum class Resource : uint8_t { memory, connections, delay, kCount };
[[nodiscard]] std::string_view name_of(Resource resource);

// What is known of memory at one moment, in bytes.
struct MemoryFigures {
  uint64_t limit = 0;    // 0 = none
  uint64_t used = 0;     // of it, what the kernel cannot take back
  uint64_t clients = 0;  // of that, what is there because of clients
};

struct Load {
  uint64_t now_ms = 0;  // monotonic
  MemoryFigures memory;
  size_t connections = 0, connections_limit = 0;  // 0 = no limit
  size_t descriptors = 0, descriptors_limit = 0;  // 0 = no limit
};

class Overload {
 public:
  static constexpr uint64_t kBatchBytes = uint64_t{16} << 20;
  // True: a level has changed.
  bool update(const Load& load);
  // timeouts.queueDelay in milliseconds; 0: delays do not count.
  void set_queue_delay(uint32_t ms) { delay_.set_queue_delay(ms); }
  // A delay that nobody need look into; UINT64_MAX: none is worth a look.
  [[nodiscard]] uint64_t short_delay_us() const { return delay_.off() ? UINT64_MAX : delay_.bands().front().from / 2; }
  // What an event has just waited for its turn; as often as it is known.
  void waited(uint64_t now_ms, uint64_t delay_us) { delay_.reading(now_ms, delay_us); }
  [[nodiscard]] Level level(Resource resource) const { return ladders_[static_cast<size_t>(resource)].level; }

  [[nodiscard]] bool ends_keep_alive() const { return ends_keep_alive_; }
  // Of a new request; to be asked once for each.
  [[nodiscard]] bool sheds(Priority priority) {
    return static_cast<uint8_t>(priority) < shed_classes_ || delay_.sheds(priority);
  }
  // The longest delay of the last reading's time, in milliseconds; 0 while it is no overload.
  [[nodiscard]] uint64_t delay_ms() const { return delay_ms_; }
  [[nodiscard]] bool refuses() const { return level(Resource::memory) >= Level::refuse; }
  // Bytes to be given back now, of all workers together; 0 = none.
  [[nodiscard]] uint64_t excess() const { return excess_; }

 private:
  static constexpr size_t kLevels = static_cast<size_t>(Level::reset) + 1;
  struct Step {
    uint64_t enter = 0, leave = 0;  // enter 0: this resource has no such level
  };
  using Steps = std::array<Step, kLevels>;
  [[nodiscard]] Steps steps_of(Resource resource) const;
  struct Ladder {
    Level level = Level::normal;
    uint64_t calm_since_ms = 0;  // 0 = not calm
    bool update(const Steps& steps, uint64_t value, uint64_t now_ms);
  };
  static const Steps kMemorySteps, kConnectionSteps;

  std::array<Ladder, static_cast<size_t>(Resource::kCount)> ladders_;
  DelayShedding delay_;
  uint64_t delay_ms_ = 0;
  uint64_t excess_ = 0;
  uint64_t refusing_since_ms_ = 0;  // 0 = it does not
  bool ends_keep_alive_ = false;
  uint8_t shed_classes_ = 0;  // so many, from the first
};

// What clients hold, by size: finds without a list which of them are to go.
class HeldSizes {
 public:
  static constexpr size_t kLeast = 16 * 1024;  // less is not worth an answer cut
  void note(size_t bytes);
  // Resetting all that hold at least so much frees `wanted`, or as much as there is; 0 = nobody holds enough to matter.
  [[nodiscard]] size_t at_least(uint64_t wanted) const;

 private:
  std::array<uint64_t, 64> bytes_{};  // of those with 2^i to 2^(i+1) - 1
};

}  // namespace sluice::worker
