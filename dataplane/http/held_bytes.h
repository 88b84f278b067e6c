// Bytes kept for later in an arena: contiguous, growing by doubling, memory reused after clear(). Views die at the next
// append. Whoever appends has checked a bound: an arena gives nothing back before its stream ends.
#pragma once
#include <algorithm>
#include <cstring>
#include <span>

#include "common/base/arena.h"

namespace sluice::http {

class HeldBytes {
 public:
  void append(std::span<const char> bytes, Arena& arena) {
    if (bytes.empty()) return;
    if (bytes.size() > capacity_ - size_) {
      const size_t capacity = std::max({capacity_ * 2, size_ + bytes.size(), size_t{1024}});
      char* data = static_cast<char*>(arena.allocate(capacity, 1));
      if (size_ != 0) std::memcpy(data, data_, size_);
      data_ = data;
      capacity_ = capacity;
    }
    // The source may be our own earlier bytes after a clear().
    std::memmove(data_ + size_, bytes.data(), bytes.size());
    size_ += bytes.size();
  }
  void clear() { size_ = 0; }
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::span<const char> view() const { return {data_, size_}; }

 private:
  char* data_ = nullptr;
  size_t size_ = 0, capacity_ = 0;
};

}  // namespace sluice::http
