// Weighs what a peer makes us do against what it lets us do. Frames that cost us work and carry nothing (resets, PING,
// SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA...) take points; finished streams, sent DATA and time give some back. A
// peer without points is told ENHANCE_YOUR_CALM and disconnected. docs/security.md says which attack each row answers.
#pragma once
#include <algorithm>
#include <cstdint>
#include <iterator>

namespace sluice::http::h2 {

enum class Glitch : uint8_t {
  reset_by_peer,   // RST_STREAM before our answer was out (rapid reset, CVE-2023-44487)
  reset_for_peer,  // it made us send RST_STREAM (MadeYouReset, CVE-2025-8671)
  ping,
  settings,
  priority,  // PRIORITY and PRIORITY_UPDATE
  window_update,
  empty_data,    // DATA without content and end
  large_header,  // a header section over the limit
  unknown_frame,
  continuation,
  kCount
};

struct FloodLimits {
  uint32_t points = 4000;  // at the beginning, and at most
  uint32_t points_per_second = 200;
  uint32_t header_bytes_decoded = 256 * 1024;  // of one header section, kept or not (HPACK bomb)
};

class FloodGuard {
 public:
  explicit FloodGuard(const FloodLimits& limits) : limits_(limits), points_(limits.points) {}
  // False: the peer has none left.
  [[nodiscard]] bool note(Glitch glitch, uint64_t now_ms) {
    static constexpr uint32_t kCosts[] = {20, 20, 4, 8, 2, 1, 4, 20, 2, 4};
    static_assert(std::size(kCosts) == static_cast<size_t>(Glitch::kCount));
    ++seen_;
    refill(now_ms);
    const uint32_t cost = kCosts[static_cast<size_t>(glitch)];
    if (cost > points_) return false;
    points_ -= cost;
    return true;
  }
  void stream_finished() { give(10); }
  void data_moved() { give(2); }  // a DATA frame with content, either way
  [[nodiscard]] uint64_t seen() const { return seen_; }

 private:
  void give(uint32_t points) { points_ = std::min(limits_.points, points_ + points); }
  void refill(uint64_t now_ms) {
    if (now_ms <= last_ms_) return;
    const uint64_t earned = (now_ms - last_ms_) * limits_.points_per_second / 1000;
    if (earned == 0) return;
    // What is too short for a point counts the next time.
    last_ms_ += earned * 1000 / limits_.points_per_second;
    points_ = static_cast<uint32_t>(std::min<uint64_t>(limits_.points, points_ + earned));
  }

  FloodLimits limits_;
  uint32_t points_;
  uint64_t last_ms_ = 0;
  uint64_t seen_ = 0;
};

}  // namespace sluice::http::h2
