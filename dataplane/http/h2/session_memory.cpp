#include "dataplane/http/h2/session_memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#include "common/base/block_lists.h"

namespace sluice::http::h2 {
namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

constexpr size_t kPage = 4096, kPlacePages = 6, kPlace = kPlacePages * kPage;
struct Extent {
  size_t at, least, most;  // where in a place; what sizes are put there
};
// The session is about 3 KB; its frame buffer is one of 16 KiB with a header and a pad byte; the table of streams has
// 256 entries of 16 bytes.
constexpr Extent kSessionAt{0, 2048, 3008}, kFramesAt{3008, 8192, 17'000}, kTableAt{5 * kPage, kPage, kPage};
constexpr Extent kExtents[] = {kSessionAt, kFramesAt, kTableAt};
static_assert(kFramesAt.at >= kSessionAt.most && kFramesAt.at + kFramesAt.most <= kTableAt.at &&
              kFramesAt.at % 16 == 0);
static_assert(kTableAt.at % kPage == 0 && kTableAt.at + kTableAt.most == kPlace);

constexpr bool fits(const Extent& extent, size_t size) { return size >= extent.least && size <= extent.most; }

constinit thread_local BlockLists lists{SessionMemory::kMostKept};
constinit thread_local uint64_t placed = 0;

// Addresses of one thread for its sessions. Pages come when they are touched.
class Places {
 public:
  Places() {
    if (::sysconf(_SC_PAGESIZE) != static_cast<long>(kPage)) return;
    void* const got = ::mmap(nullptr, SessionMemory::kPlaces * kPlace, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (got == MAP_FAILED) return;
    // A huge page would make all that is not touched memory.
    ::madvise(got, SessionMemory::kPlaces * kPlace, MADV_NOHUGEPAGE);
    base_ = static_cast<char*>(got);
    warm_.reserve(SessionMemory::kMostWarm);
  }
  ~Places() {
    if (base_ != nullptr) ::munmap(base_, SessionMemory::kPlaces * kPlace);
  }
  Places(const Places&) = delete;
  Places& operator=(const Places&) = delete;

  // Null: none is left.
  [[nodiscard]] char* take(bool& cold) {
    cold = warm_.empty();
    std::vector<char*>& from = cold ? cold_ : warm_;
    if (!from.empty()) {
      char* const place = from.back();
      from.pop_back();
      return place;
    }
    return base_ == nullptr || begun_ == SessionMemory::kPlaces ? nullptr : base_ + kPlace * begun_++;
  }
  void give(char* place) {
    if (warm_.size() < SessionMemory::kMostWarm) return warm_.push_back(place);
    // Cold places are zeros: one whose pages cannot be given back is not used again.
    if (::madvise(place, kPlace, MADV_DONTNEED) == 0) cold_.push_back(place);
  }
  [[nodiscard]] size_t warm() const { return warm_.size(); }

 private:
  char* base_ = nullptr;
  size_t begun_ = 0;  // so many were taken at least once
  std::vector<char*> warm_, cold_;
};
Places& places() {
  thread_local Places all;
  return all;
}

}  // namespace

SessionMemory::SessionMemory() {
  if (kSanitized) return;
  bool cold = false;
  place_ = places().take(cold);
  std::fill(std::begin(zero_), std::end(zero_), cold);
}

SessionMemory::~SessionMemory() {
  if (place_ != nullptr) places().give(place_);
}

void* SessionMemory::part(Part which) {
  used_[which] = true;
  ++placed;
  return place_ + kExtents[which].at;
}

SessionMemory::Part SessionMemory::part_of(const void* block) const {
  if (place_ == nullptr) return kParts;
  for (const Part which : {kSession, kFrames, kTable}) {
    if (block == place_ + kExtents[which].at) return which;
  }
  return kParts;
}

void* SessionMemory::on_malloc(size_t size, void* self) {
  if (kSanitized) return std::malloc(size);
  auto& own = *static_cast<SessionMemory*>(self);
  if (own.place_ == nullptr || own.used_[kFrames] || !fits(kFramesAt, size)) return lists.take(size);
  return own.part(kFrames);
}

void* SessionMemory::on_calloc(size_t count, size_t size, void* self) {
  if (kSanitized) return std::calloc(count, size);
  auto& own = *static_cast<SessionMemory*>(self);
  size_t bytes = 0;
  if (__builtin_mul_overflow(count, size, &bytes)) return nullptr;
  for (const Part which : {kSession, kTable}) {
    if (own.place_ == nullptr || own.used_[which] || !fits(kExtents[which], bytes)) continue;
    void* const block = own.part(which);
    if (!std::exchange(own.zero_[which], false)) std::memset(block, 0, bytes);
    return block;
  }
  void* const block = lists.take(bytes);
  if (block != nullptr) std::memset(block, 0, bytes);
  return block;
}

void SessionMemory::on_free(void* block, void* self) {
  if (kSanitized) return std::free(block);
  auto& own = *static_cast<SessionMemory*>(self);
  if (const Part which = own.part_of(block); which != kParts) own.used_[which] = false;
  else lists.give(block);
}

void* SessionMemory::on_realloc(void* block, size_t size, void* self) {
  if (kSanitized) return std::realloc(block, size);
  if (block == nullptr) return on_malloc(size, self);
  auto& own = *static_cast<SessionMemory*>(self);
  const Part which = own.part_of(block);
  if (which == kParts) return lists.resize(block, size);
  const size_t room = kExtents[which].most;
  if (size != 0 && size <= room) return block;
  void* const moved = lists.take(size);
  if (moved != nullptr) std::memcpy(moved, block, room);
  if (moved != nullptr || size == 0) own.used_[which] = false;
  return moved;
}

// A page of zeros and one that the kernel has taken back read the same, whatever the library keeps in it.
void SessionMemory::rest() {
  if (!used_[kTable]) return;
  char* const table = place_ + kTableAt.at;
  if (table[0] != 0 || std::memcmp(table, table + 1, kPage - 1) != 0) return;
  ::madvise(table, kPage, MADV_DONTNEED);
}

SessionMemory::Figures SessionMemory::figures() {
  const BlockLists::Figures& of = lists.figures();
  return {of.blocks, of.mallocs, of.kept, places().warm(), placed};
}

}  // namespace sluice::http::h2
