// A worker's fast random numbers (xoshiro256**), seeded by getrandom: request ids and weighted choice. Never for
// secrets.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace sluice::worker {

class Random {
 public:
  Random();  // seeded by the kernel
  explicit Random(std::array<uint64_t, 4> seed) : state_(seed) {}
  uint64_t next() {
    const uint64_t result = rotate(state_[1] * 5, 7) * 9;
    const uint64_t t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = rotate(state_[3], 45);
    return result;
  }
  // 0 to n - 1.
  uint32_t below(uint32_t n) { return static_cast<uint32_t>((static_cast<unsigned __int128>(next()) * n) >> 64); }
  static constexpr size_t kId = 32;  // hexadecimal digits
  void write_id(char* out);

 private:
  static uint64_t rotate(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }
  std::array<uint64_t, 4> state_;
};

}  // namespace sluice::worker
