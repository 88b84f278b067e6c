// How fast a request's body comes, on average since the client may send it (settings.min_body_rate). Time in which we
// do not read does not count.
#pragma once
#include <cstddef>
#include <cstdint>

namespace sluice::worker {

class BodyRate {
 public:
  static constexpr uint64_t kGraceMs = 5000;  // a slow start, a round trip, a lost packet
  void came(size_t bytes) { bytes_ += bytes; }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }
  // Whether it is the client's turn, from now on.
  void run(bool runs, uint64_t now_ms) {
    if (runs == runs_) return;
    runs_ = runs;
    // Unsigned: while it runs this is the moment it would have begun without a break, else the time it has run.
    since_ms_ = now_ms - since_ms_;
  }
  // The moment from which on it is slower than `rate` bytes per second, unless more comes; 0 = none.
  [[nodiscard]] uint64_t deadline(uint32_t rate) const {
    if (rate == 0 || !runs_) return 0;
    return since_ms_ + kGraceMs + bytes_ / rate * 1000 + bytes_ % rate * 1000 / rate;
  }

 private:
  uint64_t bytes_ = 0;
  uint64_t since_ms_ = 0;
  bool runs_ = false;
};

}  // namespace sluice::worker
