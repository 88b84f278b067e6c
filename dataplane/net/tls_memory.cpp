#include "dataplane/net/tls_memory.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>

#include <openssl/crypto.h>

namespace sluice::net {
namespace {

constexpr size_t kUnit = 16, kSmall = 1024, kLargest = 32 * 1024;
constexpr unsigned kSmallClasses = kSmall / kUnit,
                   kSteps = 8;  // above: eight sizes each doubling, so an eighth is lost
constexpr unsigned kClasses = kSmallClasses + 5 * kSteps;
constexpr unsigned kOwn = kClasses;  // larger than any list has

#ifdef __SANITIZE_ADDRESS__
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// In front of each block; as large as malloc's alignment.
struct alignas(kUnit) Header {
  unsigned size_class;
};
struct Freed {
  Freed* next;
};
struct Lists {
  Freed* first[kClasses];
  TlsMemoryFigures figures;
};
constinit thread_local Lists lists{};

constexpr unsigned class_of(size_t size) {
  if (size <= kSmall) return static_cast<unsigned>((size - 1) / kUnit);
  if (size > kLargest) return kOwn;
  const auto doubling = static_cast<unsigned>(std::bit_width(size - 1)) - 1;  // 10 for 1,025 to 2,048
  return kSmallClasses + (doubling - 10) * kSteps +
         static_cast<unsigned>(((size - 1) - (size_t{1} << doubling)) >> (doubling - 3));
}
constexpr size_t size_of(unsigned size_class) {
  if (size_class < kSmallClasses) return (size_class + 1) * kUnit;
  const unsigned above = size_class - kSmallClasses, doubling = 10 + above / kSteps;
  return (size_t{1} << doubling) + (size_t{above % kSteps + 1} << (doubling - 3));
}
static_assert(class_of(1) == 0 && class_of(kSmall) == kSmallClasses - 1 && class_of(kSmall + 1) == kSmallClasses);
static_assert(class_of(kLargest) == kClasses - 1 && size_of(kClasses - 1) == kLargest &&
              class_of(2048) + 1 == class_of(2049));

Header* header_of(void* block) { return static_cast<Header*>(block) - 1; }

void* take(size_t size, const char*, int) {
  if (size == 0) return nullptr;
  const unsigned size_class = class_of(size);
  Lists& mine = lists;
  ++mine.figures.blocks;
  if (size_class != kOwn) {
    if (Freed* found = mine.first[size_class]; found != nullptr) {
      mine.first[size_class] = found->next;
      mine.figures.kept -= size_of(size_class);
      return found;
    }
    size = size_of(size_class);
  }
  ++mine.figures.mallocs;
  auto* header = size > SIZE_MAX - sizeof(Header) ? nullptr : static_cast<Header*>(std::malloc(sizeof(Header) + size));
  if (header == nullptr) return nullptr;
  header->size_class = size_class;
  return header + 1;
}

void give(void* block, const char*, int) {
  if (block == nullptr) return;
  Header* header = header_of(block);
  Lists& mine = lists;
  if (header->size_class == kOwn || mine.figures.kept >= kMostTlsMemoryKept) {
    std::free(header);
    return;
  }
  auto* freed = static_cast<Freed*>(block);
  freed->next = mine.first[header->size_class];
  mine.first[header->size_class] = freed;
  mine.figures.kept += size_of(header->size_class);
}

void* resize(void* block, size_t size, const char* file, int line) {
  if (block == nullptr) return take(size, file, line);
  if (size == 0) {
    give(block, file, line);
    return nullptr;
  }
  Header* header = header_of(block);
  if (header->size_class == kOwn && class_of(size) == kOwn) {
    auto* moved =
        size > SIZE_MAX - sizeof(Header) ? nullptr : static_cast<Header*>(std::realloc(header, sizeof(Header) + size));
    return moved == nullptr ? nullptr : moved + 1;
  }
  // One of its own is larger than any that has a list.
  const size_t old = header->size_class == kOwn ? size : size_of(header->size_class);
  if (header->size_class != kOwn && size <= old) return block;
  void* moved = take(size, file, line);
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, block, std::min(old, size));
  give(block, file, line);
  return moved;
}

}  // namespace

bool use_tls_memory() { return !kSanitized && CRYPTO_set_mem_functions(take, resize, give) == 1; }

TlsMemoryFigures tls_memory_figures() { return lists.figures; }

}  // namespace sluice::net
