#include "dataplane/worker/random.h"

#include <sys/random.h>

#include "common/base/clock.h"

namespace sluice::worker {

Random::Random() {
  state_.fill(0);
  const ssize_t got = getrandom(state_.data(), sizeof state_, 0);
  // Without the kernel's word (a seccomp profile that forbids it) ids are at least not all alike.
  if (got != static_cast<ssize_t>(sizeof state_))
    state_ = {monotonic_ns(), static_cast<uint64_t>(wall_us()), 0x9E3779B97F4A7C15u, 1};
}

void Random::write_id(char* out) {
  static constexpr char kDigits[] = "0123456789abcdef";
  for (int half = 0; half < 2; ++half) {
    uint64_t bits = next();
    for (int i = 0; i < 16; ++i, bits >>= 4) *out++ = kDigits[bits & 15];
  }
}

}  // namespace sluice::worker
