// Bytes the kernel did not take yet: contiguous, growing by doubling, memory given back as soon as it is empty. Blocks
// come from small free lists of the thread, so that a connection that stalls now and then costs no malloc. One owner,
// one thread; never shrinks while it holds something.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace sluice::net {

class PendingBuffer {
 public:
  PendingBuffer() = default;
  PendingBuffer(PendingBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        capacity_(std::exchange(other.capacity_, 0)),
        begin_(std::exchange(other.begin_, 0)),
        end_(std::exchange(other.end_, 0)) {}
  PendingBuffer& operator=(PendingBuffer&&) = delete;
  ~PendingBuffer() { clear(); }

  void append(const char* bytes, size_t count);
  // Takes `count` bytes from the front.
  void consume(size_t count);
  void clear();
  [[nodiscard]] const char* data() const { return data_ + begin_; }
  [[nodiscard]] size_t size() const { return end_ - begin_; }
  [[nodiscard]] bool empty() const { return begin_ == end_; }

 private:
  void grow(size_t wanted);
  char* data_ = nullptr;
  size_t capacity_ = 0, begin_ = 0, end_ = 0;
};

}  // namespace sluice::net
