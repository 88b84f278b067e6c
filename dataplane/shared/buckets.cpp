#include "dataplane/shared/buckets.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sluice::shared {
namespace {

constexpr size_t kHeaderBytes = 4096;
constexpr unsigned kUnitBits = 6;  // 1/64 ns
constexpr unsigned kShiftBits = 4;
constexpr uint64_t kShiftMask = (1u << kShiftBits) - 1;
constexpr uint64_t kBegun = kShiftMask + 1;
// A whole bucket's time: differences of times up to it are told from times long past, with words that wrap around.
constexpr uint64_t kMaxCapacity = uint64_t{1} << 61;

__extension__ typedef unsigned __int128 Wide;

uint64_t to_units(uint64_t ns, unsigned shift) {
  return shift <= kUnitBits ? ns << (kUnitBits - shift) : ns >> (shift - kUnitBits);
}
// Rounded up; of at most one token's time, which fits.
uint64_t to_ns(uint64_t units, unsigned shift) {
  if (shift > kUnitBits) return units << (shift - kUnitBits);
  const unsigned bits = kUnitBits - shift;
  return (units + (uint64_t{1} << bits) - 1) >> bits;
}

uint64_t fingerprint_of(uint64_t key, const BucketRate& rate) {
  const uint64_t bits = key & ~(kBegun | kShiftMask);
  return (bits == 0 ? kBegun << 1 : bits) | rate.shift;
}

// Time that a bucket lacks. More than it can lack (its rate was changed, or the memory is damaged) is an empty one.
uint64_t debt_of(uint64_t full_at, uint64_t now, const BucketRate& rate) {
  const uint64_t ahead = full_at - now;
  return static_cast<int64_t>(ahead) <= 0 ? 0 : std::min(ahead, rate.capacity);
}

BucketAnswer judge(uint64_t debt, const BucketRate& rate) {
  BucketAnswer answer;
  answer.admitted = debt + rate.interval <= rate.capacity;
  const uint64_t after = answer.admitted ? debt + rate.interval : debt;
  answer.left = static_cast<uint32_t>((rate.capacity - after) / rate.interval);
  // One more is there when the debt has come down to all but left + 1 tokens.
  answer.next_ns = to_ns(after - (rate.capacity - (answer.left + uint64_t{1}) * rate.interval), rate.shift);
  return answer;
}

}  // namespace

struct Buckets::Header {
  uint64_t magic;
  uint64_t secret[2];
};

BucketRate BucketRate::of(uint32_t requests, uint32_t per_ms, uint32_t burst) {
  BucketRate rate;
  const Wide time = static_cast<Wide>(per_ms) * 1'000'000u << kUnitBits;
  for (;; ++rate.shift) {
    const Wide divisor = static_cast<Wide>(requests) << rate.shift;
    const Wide interval = std::max<Wide>((time + divisor / 2) / divisor, 1);
    const Wide capacity = interval * burst;
    if (capacity > kMaxCapacity && rate.shift < kShiftMask) continue;
    rate.interval = static_cast<uint64_t>(interval);
    // Only values far outside what a table may hold reach the bound here.
    rate.capacity = static_cast<uint64_t>(std::min<Wide>(capacity, kMaxCapacity));
    return rate;
  }
}

Result<UniqueFd> Buckets::make(uint32_t keys) {
  if (keys < kMinKeys || keys > kMaxKeys || !std::has_single_bit(keys))
    return fail("{} rate limit keys: a power of two from {} to {} is needed", keys, kMinKeys, kMaxKeys);
  Header header{kMagic, {}};
  if (getrandom(header.secret, sizeof header.secret, 0) != static_cast<ssize_t>(sizeof header.secret))
    return fail("getrandom: {}", std::strerror(errno));
  UniqueFd fd(memfd_create("sluice-buckets", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  // Sparse: what no key has used costs nothing.
  if (!fd || ftruncate(fd.get(), static_cast<off_t>(kHeaderBytes + keys * sizeof(Slot))) != 0 ||
      pwrite(fd.get(), &header, sizeof header, 0) != static_cast<ssize_t>(sizeof header))
    return fail("rate limit buckets: {}", std::strerror(errno));
  // No worker can pull it from under the others (SIGBUS).
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return fail("seal rate limit buckets: {}", std::strerror(errno));
  return fd;
}

Result<Buckets> Buckets::map(int fd) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return fail("rate limit buckets: {}", std::strerror(errno));
  const auto size = static_cast<size_t>(info.st_size);
  const size_t keys = size < kHeaderBytes ? 0 : (size - kHeaderBytes) / sizeof(Slot);
  if (keys < kMinKeys || keys > kMaxKeys || !std::has_single_bit(keys) || size != kHeaderBytes + keys * sizeof(Slot))
    return fail("rate limit buckets: memory of {} bytes", size);
  void* const memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return fail("mmap of rate limit buckets: {}", std::strerror(errno));
  Buckets buckets(memory, size);
  if (static_cast<const Header*>(memory)->magic != kMagic) return fail("rate limit buckets of another version");
  return buckets;
}

Buckets::Buckets(void* memory, size_t size)
    : memory_(memory),
      size_(size),
      slots_(reinterpret_cast<Slot*>(static_cast<char*>(memory) + kHeaderBytes)),
      sets_((size - kHeaderBytes) / sizeof(Slot) / kWays),
      set_shift_(64 - static_cast<unsigned>(std::countr_zero(sets_))),
      secret_{static_cast<const Header*>(memory)->secret[0], static_cast<const Header*>(memory)->secret[1]} {
  static_assert(sizeof(Slot) == 16 && std::atomic<uint64_t>::is_always_lock_free);
}

Buckets::Buckets(Buckets&& other) noexcept
    : memory_(std::exchange(other.memory_, nullptr)),
      size_(other.size_),
      slots_(other.slots_),
      sets_(other.sets_),
      set_shift_(other.set_shift_),
      secret_{other.secret_[0], other.secret_[1]} {}

Buckets::~Buckets() {
  if (memory_ != nullptr) munmap(memory_, size_);
}

Buckets::Slot* Buckets::set_of(uint64_t key) const { return slots_ + (key >> set_shift_) * kWays; }

// Both words or none, in the one order that all processes see.
bool Buckets::exchange(Slot& slot, Entry expected, Entry wanted) {
#if defined(__x86_64__)
  bool done;
  // Not through libatomic, whose locks (where it needs them) know one process only.
  asm volatile("lock cmpxchg16b %1"
               : "=@ccz"(done), "+m"(slot), "+a"(expected.fingerprint), "+d"(expected.full_at)
               : "b"(wanted.fingerprint), "c"(wanted.full_at)
               : "memory");
  return done;
#else
  static_assert(std::endian::native == std::endian::little);
  auto both = [](Entry entry) { return static_cast<Wide>(entry.full_at) << 64 | entry.fingerprint; };
  return __sync_bool_compare_and_swap(reinterpret_cast<Wide*>(&slot), both(expected), both(wanted));
#endif
}

// Null if the set has none. `seen` is of one moment: the fingerprint is looked at before and after.
Buckets::Slot* Buckets::find(Slot* set, uint64_t fingerprint, Entry& seen) {
  for (size_t i = 0; i < kWays;) {
    if (set[i].fingerprint.load(std::memory_order_acquire) != fingerprint) {
      ++i;
      continue;
    }
    seen = {fingerprint, set[i].full_at.load(std::memory_order_acquire)};
    if (set[i].fingerprint.load(std::memory_order_acquire) == fingerprint) return &set[i];
  }
  return nullptr;
}

// A free or full bucket's place, else that of the one which will be full soonest. Null: the bucket that needs room is
// here by now, made by somebody else.
Buckets::Slot* Buckets::make_room(Slot* set, uint64_t fingerprint, uint64_t now_ns, Entry& seen, bool& evicted) {
  Slot* soonest = nullptr;
  double soonest_time = 0;
  evicted = false;
  for (size_t i = 0; i < kWays; ++i) {
    const Entry here{set[i].fingerprint.load(std::memory_order_acquire),
                     set[i].full_at.load(std::memory_order_acquire)};
    if (here.fingerprint == fingerprint) return nullptr;
    const unsigned shift = here.fingerprint & kShiftMask;
    const uint64_t ahead = here.full_at - to_units(now_ns, shift);
    // What no bucket can lack was never one: that memory heals.
    if (here.fingerprint == 0 || static_cast<int64_t>(ahead) <= 0 || ahead > kMaxCapacity) {
      seen = here;
      return &set[i];
    }
    const double time = std::ldexp(static_cast<double>(ahead), static_cast<int>(shift));
    if (soonest != nullptr && time >= soonest_time) continue;
    soonest = &set[i];
    soonest_time = time;
    seen = here;
  }
  evicted = true;
  return soonest;
}

// Workers that need the same new bucket at the same time may choose different places, and must not both have it. So it
// is begun first, seen by nobody as a bucket, and made good by a second exchange, for which it must still be there:
// whoever begins one removes what others have begun, and gives up where one has been made good. Of two, the later to
// look sees the earlier. What a dying worker has begun, the next one removes.
BucketAnswer Buckets::take(uint64_t key, const BucketRate& rate, uint64_t now_ns) {
  Slot* const set = set_of(key);
  const uint64_t fingerprint = fingerprint_of(key, rate), now = to_units(now_ns, rate.shift);
  bool evicted = false;
  // Whoever is in our way has got on, or lets us.
  for (;;) {
    Entry seen;
    if (Slot* const slot = find(set, fingerprint, seen); slot != nullptr) {
      const uint64_t debt = debt_of(seen.full_at, now, rate);
      BucketAnswer answer = judge(debt, rate);
      if (answer.admitted && !exchange(*slot, seen, {fingerprint, now + debt + rate.interval})) continue;
      answer.evicted = evicted;
      return answer;
    }
    const Entry begun{fingerprint | kBegun, now + rate.interval};
    bool live = false;
    Slot* const slot = make_room(set, fingerprint, now_ns, seen, live);
    if (slot == nullptr || !exchange(*slot, seen, begun)) continue;
    evicted |= live;
    if (is_alone(set, slot, fingerprint) && exchange(*slot, begun, {fingerprint, begun.full_at})) {
      BucketAnswer answer = judge(0, rate);
      answer.evicted = evicted;
      return answer;
    }
    exchange(*slot, begun, {});
  }
}

// Whether no other place has the bucket; what others have begun is gone afterwards.
bool Buckets::is_alone(Slot* set, const Slot* mine, uint64_t fingerprint) {
  for (size_t i = 0; i < kWays; ++i) {
    if (&set[i] == mine) continue;
    for (;;) {
      const Entry seen{set[i].fingerprint.load(std::memory_order_acquire),
                       set[i].full_at.load(std::memory_order_acquire)};
      if (seen.fingerprint == fingerprint) return false;
      if (seen.fingerprint != (fingerprint | kBegun) || exchange(set[i], seen, {})) break;
    }
  }
  return true;
}

BucketAnswer Buckets::look(uint64_t key, const BucketRate& rate, uint64_t now_ns) const {
  Entry seen;
  if (find(set_of(key), fingerprint_of(key, rate), seen) == nullptr) return judge(0, rate);
  return judge(debt_of(seen.full_at, to_units(now_ns, rate.shift), rate), rate);
}

void Buckets::give_back(uint64_t key, const BucketRate& rate, uint64_t now_ns) {
  Slot* const set = set_of(key);
  const uint64_t fingerprint = fingerprint_of(key, rate), now = to_units(now_ns, rate.shift);
  Entry seen;
  // Gone: it was full, or it had to make room; both end with a full one.
  while (Slot* const slot = find(set, fingerprint, seen)) {
    const uint64_t debt = debt_of(seen.full_at, now, rate);
    if (exchange(*slot, seen, {fingerprint, now + (debt > rate.interval ? debt - rate.interval : 0)})) return;
  }
}

}  // namespace sluice::shared
