// Two clocks, never mixed: monotonic milliseconds for every deadline, wall time for logs and certificates only.
#pragma once
#include <cstdint>

#include <time.h>

namespace sluice {

inline uint64_t monotonic_ns() {
  timespec ts{};
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return static_cast<uint64_t>(ts.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(ts.tv_nsec);
}
inline uint64_t monotonic_ms() { return monotonic_ns() / 1'000'000u; }

// Microseconds since the Unix epoch.
inline int64_t wall_us() {
  timespec ts{};
  clock_gettime(CLOCK_REALTIME, &ts);
  return static_cast<int64_t>(ts.tv_sec) * 1'000'000 + ts.tv_nsec / 1'000;
}

}  // namespace sluice
