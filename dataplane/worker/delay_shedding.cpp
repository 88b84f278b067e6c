#include "dataplane/worker/delay_shedding.h"

#include <algorithm>
#include <utility>

namespace sluice::worker {
namespace {
constexpr bool are_in_order(const ShedBands& bands) {
  for (size_t i = 0; i < bands.size(); ++i) {
    const ShedBand& band = bands[i];
    if (band.from >= band.most_at || band.most_at > band.more_from || band.more_from > band.whole) return false;
  }
  return bands[1].from >= bands[0].whole && bands[2].from >= bands[1].whole;
}
static_assert(are_in_order(DelayShedding::kBands));

constexpr uint64_t between(uint64_t value, uint64_t from, uint64_t to, uint64_t parts) {
  return (value - from) * parts / (to - from);
}

constexpr uint32_t share_of(const ShedBand& band, uint64_t delay_us) {
  if (delay_us <= band.from) return 0;
  if (delay_us < band.most_at) return static_cast<uint32_t>(between(delay_us, band.from, band.most_at, band.most));
  if (delay_us <= band.more_from) return band.most;
  if (delay_us >= band.whole) return kWholeShare;
  return band.most + static_cast<uint32_t>(between(delay_us, band.more_from, band.whole, kWholeShare - band.most));
}
}  // namespace

void DelayShedding::set_queue_delay(uint32_t ms) {
  bands_ = shed_bands(ms);
  if (!off()) return;
  shares_ = {};
  standing_ = false;
  longest_us_ = 0;
}

void DelayShedding::reading(uint64_t now_ms, uint64_t delay_us) {
  if (off()) return;
  // A reading tells of the time that it took: only what lies before it was without one.
  const uint64_t begin_ms = std::max(now_ms - std::min(now_ms, delay_us / 1000), last_ms_);
  pass(begin_ms);
  if (begin_ms - last_ms_ >= kGapMs) {
    long_since_ms_ = 0;
    long_readings_ = 0;
  }
  last_ms_ = now_ms;
  if (delay_us <= bands_.front().from) {
    long_since_ms_ = 0;
    long_readings_ = 0;
  } else {
    last_long_ms_ = now_ms;
    if (long_since_ms_ == 0) long_since_ms_ = now_ms;
    ++long_readings_;
    standing_ = standing_ || (long_readings_ >= kLeastReadings && now_ms - long_since_ms_ >= kStandingMs);
  }
  if (!standing_) {
    shares_ = {};
    return;
  }
  longest_us_ = std::max(longest_us_, delay_us);
  for (size_t i = 0; i < kPriorities; ++i) shares_[i] = share_of(bands_[i], delay_us);
}

void DelayShedding::pass(uint64_t now_ms) {
  if (now_ms - last_ms_ >= kSilentMs) shares_ = {};
  if (now_ms - last_long_ms_ >= kCalmMs) standing_ = false;
}

uint64_t DelayShedding::take_longest_ms() { return std::exchange(longest_us_, 0) / 1000; }

}  // namespace sluice::worker
