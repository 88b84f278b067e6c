// Bump allocation for what lives as long as one stream. Chunks come from a per-worker pool and go back to it whole, so
// steady state allocates nothing. Nothing in an arena is destroyed: only trivially destructible things, or objects
// whose owner runs their destructor. Not thread-safe; the pool outlives its arenas.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice {

// Free list of fixed-size chunks, kept up to `max_idle` of them.
class ChunkPool {
 public:
  static constexpr size_t kChunkSize = 4096;
  explicit ChunkPool(size_t max_idle = 4096) : max_idle_(max_idle) { free_.reserve(max_idle); }
  ChunkPool(const ChunkPool&) = delete;
  ChunkPool& operator=(const ChunkPool&) = delete;
  ~ChunkPool() {
    for (void* chunk : free_) ::operator delete(chunk);
  }
  void* take() {
    if (free_.empty()) return ::operator new(kChunkSize);
    void* chunk = free_.back();
    free_.pop_back();
    return chunk;
  }
  void give(void* chunk) {
    if (free_.size() < max_idle_) free_.push_back(chunk);
    else ::operator delete(chunk);
  }
  [[nodiscard]] size_t idle() const { return free_.size(); }

 private:
  size_t max_idle_;
  std::vector<void*> free_;
};

class Arena {
 public:
  explicit Arena(ChunkPool& pool) : pool_(&pool) {}
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() { reset(); }

  // Never null; more than a chunk is a plain allocation that reset() frees.
  void* allocate(size_t size, size_t align = alignof(std::max_align_t)) {
    uintptr_t at = (reinterpret_cast<uintptr_t>(next_) + align - 1) & ~(static_cast<uintptr_t>(align) - 1);
    if (next_ == nullptr || at + size > reinterpret_cast<uintptr_t>(end_)) return grow(size, align);
    next_ = reinterpret_cast<char*>(at + size);
    return reinterpret_cast<void*>(at);
  }
  template <class T, class... Args>
  T* make(Args&&... args) {
    return new (allocate(sizeof(T), alignof(T))) T(std::forward<Args>(args)...);
  }
  template <class T>
  std::span<T> array(size_t count) {
    T* first = static_cast<T*>(allocate(sizeof(T) * count, alignof(T)));
    std::uninitialized_default_construct_n(first, count);
    return {first, count};
  }
  std::string_view copy(std::string_view text) {
    if (text.empty()) return {};
    char* to = static_cast<char*>(allocate(text.size(), 1));
    std::memcpy(to, text.data(), text.size());
    return {to, text.size()};
  }
  // Gives everything back. Views into the arena are dead.
  void reset() {
    give_back(std::exchange(head_, nullptr));
    next_ = end_ = nullptr;
    used_ = 0;
  }
  // For what lives much longer than the rest: `fill` copies it here, into a block of its own of `size` bytes (what
  // alignment needs included), then all that was allocated before is given back. Later allocations take chunks again.
  template <class Fill>
  void shrink_to(size_t size, Fill&& fill) {
    Header* const before = std::exchange(head_, nullptr);
    used_ = sizeof(Header) + size;
    head_ = static_cast<Header*>(::operator new(used_));
    head_->next = nullptr;
    head_->pooled = false;
    next_ = reinterpret_cast<char*>(head_ + 1);
    end_ = next_ + size;
    fill();
    give_back(before);
  }
  // Bytes held (whole chunks), for limits and dumps.
  [[nodiscard]] size_t held() const { return used_; }

 private:
  struct Header {
    Header* next;
    bool pooled;
  };
  void give_back(Header* at) {
    while (at != nullptr) {
      Header* const next = at->next;
      if (at->pooled) pool_->give(at);
      else ::operator delete(at);
      at = next;
    }
  }
  void* grow(size_t size, size_t align) {
    const size_t need = sizeof(Header) + size + align;
    const bool pooled = need <= ChunkPool::kChunkSize;
    const size_t total = pooled ? ChunkPool::kChunkSize : need;
    auto* header = static_cast<Header*>(pooled ? pool_->take() : ::operator new(need));
    header->next = head_;
    header->pooled = pooled;
    head_ = header;
    used_ += total;
    char* begin = reinterpret_cast<char*>(header + 1);
    uintptr_t at = (reinterpret_cast<uintptr_t>(begin) + align - 1) & ~(static_cast<uintptr_t>(align) - 1);
    char* after = reinterpret_cast<char*>(at + size);
    char* end = reinterpret_cast<char*>(header) + total;
    // A big block of its own must not throw away the rest of the current chunk.
    if (pooled || next_ == nullptr) {
      next_ = after;
      end_ = end;
    }
    return reinterpret_cast<void*>(at);
  }
  ChunkPool* pool_;
  Header* head_ = nullptr;
  char* next_ = nullptr;
  char* end_ = nullptr;
  size_t used_ = 0;
};

}  // namespace sluice
