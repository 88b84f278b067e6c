// Freed blocks kept by size, to be used again without malloc: for C libraries that let the program bring its allocator.
// Sizes are those that malloc makes anyway and each block's size is asked of malloc when it comes back, so a block
// costs nothing beside malloc's own 8 bytes. Keeps at most `most_kept` bytes; what is freed beyond goes back to malloc.
// One thread's; trivially destroyed (what is kept then is lost): for threads that live as long as their process.
#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include <malloc.h>

namespace sluice {

// The sizes that have a list.
struct BlockSizes {
  // malloc's blocks hold 16 n + 8 bytes.
  static constexpr size_t kUnit = 16, kOdd = 8, kSmall = 1024, kLargest = 32 * 1024;
  // Above kSmall eight sizes each doubling, so an eighth is lost.
  static constexpr unsigned kSmallClasses = kSmall / kUnit, kSteps = 8;
  static constexpr unsigned kClasses = kSmallClasses + 5 * kSteps;
  static constexpr unsigned kOwn = kClasses;  // larger than any list has

  // The smallest class with so much room.
  static constexpr unsigned class_of(size_t size) {
    const size_t even = size <= kOdd ? 1 : size - kOdd;
    if (even <= kSmall) return static_cast<unsigned>((even - 1) / kUnit);
    if (even > kLargest) return kOwn;
    const auto doubling = static_cast<unsigned>(std::bit_width(even - 1)) - 1;  // 10 for 1,025 to 2,048
    return kSmallClasses + (doubling - 10) * kSteps +
           static_cast<unsigned>(((even - 1) - (size_t{1} << doubling)) >> (doubling - 3));
  }
  static constexpr size_t size_of(unsigned size_class) {
    if (size_class < kSmallClasses) return (size_class + 1) * kUnit + kOdd;
    const unsigned above = size_class - kSmallClasses, doubling = 10 + above / kSteps;
    return (size_t{1} << doubling) + (size_t{above % kSteps + 1} << (doubling - 3)) + kOdd;
  }
  // The largest class that fits into a block of malloc's, which may be a unit larger than was asked for.
  static constexpr unsigned class_within(size_t room) {
    if (room > kLargest + kOdd + kUnit) return kOwn;
    const unsigned size_class = std::min(class_of(room), kClasses - 1);
    return size_of(size_class) <= room || size_class == 0 ? size_class : size_class - 1;
  }
};
static_assert(BlockSizes::size_of(0) == 24 && BlockSizes::class_of(24) == 0 && BlockSizes::class_of(25) == 1 &&
              BlockSizes::class_within(24) == 0);
static_assert(BlockSizes::class_of(BlockSizes::kLargest + BlockSizes::kOdd) == BlockSizes::kClasses - 1 &&
              BlockSizes::size_of(BlockSizes::kClasses - 1) == BlockSizes::kLargest + BlockSizes::kOdd);
static_assert(BlockSizes::class_of(2056) + 1 == BlockSizes::class_of(2057) &&
              BlockSizes::class_within(2057) == BlockSizes::class_of(2056));

class BlockLists : private BlockSizes {
 public:
  struct Figures {
    uint64_t blocks = 0;   // handed out
    uint64_t mallocs = 0;  // of them, made by malloc
    size_t kept = 0;       // bytes in the lists
  };
  constexpr explicit BlockLists(size_t most_kept) : most_kept_(most_kept) {}

  // Null: size 0, or malloc has none.
  [[nodiscard]] void* take(size_t size) {
    if (size == 0) return nullptr;
    const unsigned size_class = class_of(size);
    ++figures_.blocks;
    if (size_class != kOwn) {
      if (Freed* const found = first_[size_class]; found != nullptr) {
        first_[size_class] = found->next;
        figures_.kept -= size_of(size_class);
        return found;
      }
      size = size_of(size_class);
    }
    ++figures_.mallocs;
    return std::malloc(size);
  }
  void give(void* block) {
    if (block == nullptr) return;
    const unsigned size_class = class_within(malloc_usable_size(block));
    if (size_class == kOwn || figures_.kept >= most_kept_) {
      std::free(block);
      return;
    }
    auto* const freed = static_cast<Freed*>(block);
    freed->next = first_[size_class];
    first_[size_class] = freed;
    figures_.kept += size_of(size_class);
  }
  // As realloc: null leaves the block as it is, but size 0 frees it.
  [[nodiscard]] void* resize(void* block, size_t size) {
    if (block == nullptr) return take(size);
    if (size == 0) {
      give(block);
      return nullptr;
    }
    const size_t room = malloc_usable_size(block);
    const bool own = class_within(room) == kOwn;
    if (own && class_of(size) == kOwn) return std::realloc(block, size);
    if (!own && size <= room) return block;
    void* const moved = take(size);
    if (moved == nullptr) return nullptr;
    std::memcpy(moved, block, std::min(room, size));
    give(block);
    return moved;
  }
  [[nodiscard]] const Figures& figures() const { return figures_; }

 private:
  struct Freed {
    Freed* next;
  };

  Freed* first_[kClasses]{};
  size_t most_kept_;
  Figures figures_;
};

}  // namespace sluice
