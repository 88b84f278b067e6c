#include "dataplane/net/pending_buffer.h"

#include <array>
#include <bit>
#include <cstring>
#include <new>
#include <vector>

#include "dataplane/net/pending_bytes.h"

namespace sluice::net {
namespace {
constexpr size_t kSmallest = 1024;
constexpr size_t kClasses = 9;                // 1 KiB .. 256 KiB
constexpr size_t kIdlePerClass = 512 * 1024;  // bytes kept per size

size_t class_of(size_t capacity) { return static_cast<size_t>(std::countr_zero(capacity / kSmallest)); }

// Blocks are powers of two from kSmallest; larger ones than the last class are not kept.
struct Blocks {
  std::array<std::vector<char*>, kClasses> idle;
  size_t occupied = 0;
  ~Blocks() {
    for (auto& list : idle) {
      for (char* block : list) ::operator delete(block);
    }
  }
  char* take(size_t capacity) {
    const size_t at = class_of(capacity);
    occupied += capacity;
    if (at >= kClasses || idle[at].empty()) return static_cast<char*>(::operator new(capacity));
    char* block = idle[at].back();
    idle[at].pop_back();
    return block;
  }
  void give(char* block, size_t capacity) {
    const size_t at = class_of(capacity);
    occupied -= capacity;
    if (at < kClasses && idle[at].size() * capacity < kIdlePerClass) idle[at].push_back(block);
    else ::operator delete(block);
  }
};
Blocks& blocks() {
  thread_local Blocks pool;
  return pool;
}
}  // namespace

size_t pending_bytes() { return blocks().occupied; }

void PendingBuffer::append(const char* bytes, size_t count) {
  if (count == 0) return;
  if (count > capacity_ - end_) grow(size() + count);
  std::memcpy(data_ + end_, bytes, count);
  end_ += count;
}

void PendingBuffer::consume(size_t count) {
  begin_ += count;
  if (begin_ == end_) clear();
}

void PendingBuffer::clear() {
  if (data_ != nullptr) blocks().give(data_, capacity_);
  data_ = nullptr;
  capacity_ = begin_ = end_ = 0;
}

void PendingBuffer::grow(size_t wanted) {
  const size_t held = size();
  // Moving to the front is enough if at least half of the block is free there: then each byte is moved at most once per
  // byte taken.
  if (wanted <= capacity_ / 2) {
    std::memmove(data_, data_ + begin_, held);
  } else {
    const size_t capacity = std::bit_ceil(wanted < kSmallest ? kSmallest : wanted);
    char* block = blocks().take(capacity);
    if (held != 0) std::memcpy(block, data_ + begin_, held);
    if (data_ != nullptr) blocks().give(data_, capacity_);
    data_ = block;
    capacity_ = capacity;
  }
  begin_ = 0;
  end_ = held;
}

}  // namespace sluice::net
