// What share of the new requests a worker sheds because events wait too long for their turn, from readings of that wait
// (delay_probe.h takes them while there is much to do). No clock here.
//
// The share of a class grows with the delay over the class's band, so that the delay comes to rest where what is
// admitted is what can be done. Lower classes have lower bands: nothing of the next is shed before all of them is. A
// delay counts only when it has been standing: each reading of half a second, four at least, was that long, else it is
// a burst that is worked off. From then on each reading sets the shares at once, until a second goes by without a long
// one.
//
// Which request of a class is shed is a matter of counting, not of chance: of N in a row it is share x N, evenly
// spread.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace sluice::worker {

// Of a route (RouteTable's Priority).
enum class Priority : uint8_t { sheddable, standard, critical };

inline constexpr size_t kPriorityCount = static_cast<size_t>(Priority::critical) + 1;

// Of a class, in microseconds: nothing is shed up to `from`, a growing share up to `most` at `most_at`, no more until
// `more_from`, all at `whole`.
struct ShedBand {
  uint64_t from = 0, most_at = 0;
  uint32_t most = 0;  // in parts of kWholeShare
  uint64_t more_from = 0, whole = 0;
};
inline constexpr uint32_t kWholeShare = 1024;
using ShedBands = std::array<ShedBand, kPriorityCount>;

// Around the delay from which `standard` requests are shed. Twice the delay is about the longest wait of a request.
// Five of eight of them are shed at first, enough for twice what can be done. More are shed only when the delay has
// become much longer: where a refusal costs half of an answer (both small), shedding all of what is too much would
// leave no time to serve. Critical requests wait rather than fail, up to what clients bear.
[[nodiscard]] constexpr ShedBands shed_bands(uint32_t queue_delay_ms) {
  const uint64_t us = uint64_t{queue_delay_ms} * 1000;
  return {ShedBand{us / 4, us, kWholeShare, us, us}, ShedBand{us, 2 * us, kWholeShare * 5 / 8, 10 * us, 25 * us},
          ShedBand{25 * us, 100 * us, kWholeShare, 100 * us, 100 * us}};
}

class DelayShedding {
 public:
  static constexpr size_t kPriorities = kPriorityCount;
  using Bands = ShedBands;
  static constexpr uint32_t kWhole = kWholeShare;
  static constexpr uint64_t kStandingMs = 500, kCalmMs = 1000;
  static constexpr Bands kBands = shed_bands(100);

  // Milliseconds; 0: nothing is ever shed.
  void set_queue_delay(uint32_t ms);
  [[nodiscard]] const Bands& bands() const { return bands_; }
  [[nodiscard]] bool off() const { return bands_.back().whole == 0; }
  // An event has waited so long. `now_ms`: monotonic.
  void reading(uint64_t now_ms, uint64_t delay_us);
  // Time goes on, perhaps without readings: they are as far apart as the delay is long. After five seconds without any
  // nothing is shed.
  void pass(uint64_t now_ms);
  // Of new requests of the class, in parts of kWhole.
  [[nodiscard]] uint32_t share(Priority priority) const { return shares_[static_cast<size_t>(priority)]; }
  // Whether the next request of the class is one of its share.
  [[nodiscard]] bool sheds(Priority priority) {
    const auto at = static_cast<size_t>(priority);
    if (shares_[at] == 0) return false;
    owed_[at] += shares_[at];
    if (owed_[at] < kWhole) return false;
    owed_[at] -= kWhole;
    return true;
  }
  // The longest reading since this was last asked; 0 while delays do not count.
  [[nodiscard]] uint64_t take_longest_ms();

 private:
  static constexpr uint32_t kLeastReadings = 4;
  static constexpr uint64_t kGapMs = 500, kSilentMs = 5000;

  Bands bands_ = kBands;
  std::array<uint32_t, kPriorities> shares_{}, owed_{};
  uint64_t long_since_ms_ = 0;  // of the readings in a row that are long; 0 = the last one was not
  uint64_t last_long_ms_ = 0, last_ms_ = 0;
  uint64_t longest_us_ = 0;
  uint32_t long_readings_ = 0;
  bool standing_ = false;
};

}  // namespace sluice::worker
