// Token buckets of rate limits, common to all workers of an instance: a memory file of the master's, kept over new
// tables, deaths of workers and new binaries. Each bucket is two words, its key's fingerprint and the time at which it
// will be full (GCRA's theoretical arrival time), and every change is one compare-and-swap of both, so that whoever
// dies leaves it valid and no token is counted twice or lost, whatever the number of workers. No locks, pointers or
// lists; bounded memory: a full bucket is the same as none, and when all places of a key are taken, the bucket that
// will be full soonest makes room. Times are CLOCK_MONOTONIC; wall time never enters.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "common/base/result.h"
#include "common/base/unique_fd.h"
#include "dataplane/shared/sip_hash.h"

namespace sluice::shared {

// How a bucket fills: `burst` tokens at most, `requests` in `per_ms`, evenly. Its unit of time is 1/64 ns, or as many
// doublings of it as let the time of a whole bucket fit.
struct BucketRate {
  uint64_t interval = 0;  // of one token
  uint64_t capacity = 0;  // of all
  uint8_t shift = 0;      // doublings
  // Each at least 1; any 32-bit values.
  [[nodiscard]] static BucketRate of(uint32_t requests, uint32_t per_ms, uint32_t burst);
};

struct BucketAnswer {
  bool admitted = false;
  bool evicted = false;  // another key's bucket made room
  uint32_t left = 0;     // tokens afterwards
  uint64_t next_ns = 0;  // until there is one more; 0 = full
};

class Buckets {
 public:
  static constexpr uint64_t kMagic = 0x534c554255434b01;
  static constexpr uint32_t kMinKeys = 1024, kMaxKeys = 1u << 24, kDefaultKeys = 1u << 18;
  static constexpr size_t kWays = 8;

  // Memory for so many buckets (a power of two), all free, with a fresh secret.
  [[nodiscard]] static Result<UniqueFd> make(uint32_t keys);
  // The descriptor may be closed afterwards.
  [[nodiscard]] static Result<Buckets> map(int fd);
  Buckets(Buckets&& other) noexcept;
  Buckets& operator=(Buckets&&) = delete;
  ~Buckets();

  [[nodiscard]] uint32_t keys() const { return static_cast<uint32_t>(sets_ * kWays); }
  // What keys begin with.
  [[nodiscard]] SipHash hash() const { return {secret_[0], secret_[1]}; }

  // One token of the bucket `key`, if there is one. What look() says holds only for that moment.
  BucketAnswer take(uint64_t key, const BucketRate& rate, uint64_t now_ns);
  [[nodiscard]] BucketAnswer look(uint64_t key, const BucketRate& rate, uint64_t now_ns) const;
  // A token that was taken and not used.
  void give_back(uint64_t key, const BucketRate& rate, uint64_t now_ns);

 private:
  // fingerprint: 59 bits of the key, one while the bucket is only begun, 4 of the rate's shift; 0 = free. A rate with
  // another unit is another bucket.
  struct alignas(16) Slot {
    std::atomic<uint64_t> fingerprint, full_at;
  };
  struct Entry {
    uint64_t fingerprint = 0, full_at = 0;
  };
  struct Header;
  Buckets(void* memory, size_t size);
  [[nodiscard]] Slot* set_of(uint64_t key) const;
  [[nodiscard]] static Slot* find(Slot* set, uint64_t fingerprint, Entry& seen);
  [[nodiscard]] static Slot* make_room(Slot* set, uint64_t fingerprint, uint64_t now_ns, Entry& seen, bool& evicted);
  static bool exchange(Slot& slot, Entry expected, Entry wanted);
  static bool is_alone(Slot* set, const Slot* mine, uint64_t fingerprint);

  void* memory_;
  size_t size_;
  Slot* slots_;
  size_t sets_;
  unsigned set_shift_;
  uint64_t secret_[2];
};

}  // namespace sluice::shared
