// Which of the last streams of a peer were opened and which of them we reset: a frame on a stream that is over means
// different things (RFC 9113 5.1). One bit each for the last 256 numbers; what is older counts as opened and reset: an
// upload may outlive many short streams, and when it is reset its DATA is still under way.
#pragma once
#include <bitset>
#include <cstdint>

namespace sluice::http::h2 {

class StreamHistory {
 public:
  void opened(int32_t id) {
    const uint32_t index = index_of(id);
    if (index < next_) return;
    if (index - next_ >= kKept) {
      opened_.reset();
      reset_.reset();
    } else {
      for (uint32_t skipped = next_; skipped < index; ++skipped) {
        opened_.reset(skipped % kKept);
        reset_.reset(skipped % kKept);
      }
    }
    opened_.set(index % kKept);
    reset_.reset(index % kKept);
    next_ = index + 1;
  }
  // Also one that was never opened: refused beyond the peer's number of streams.
  void reset(int32_t id) {
    opened(id);
    if (known(id)) reset_.set(index_of(id) % kKept);
  }
  // By the peer: whatever we did before, nothing of it can still be under way.
  void ended(int32_t id) {
    if (known(id)) reset_.reset(index_of(id) % kKept);
  }
  // Not yet opened, nor passed over.
  [[nodiscard]] bool is_new(int32_t id) const { return index_of(id) >= next_; }
  // These two of what is not new.
  [[nodiscard]] bool was_opened(int32_t id) const { return !known(id) || opened_.test(index_of(id) % kKept); }
  [[nodiscard]] bool was_reset(int32_t id) const { return !known(id) || reset_.test(index_of(id) % kKept); }

 private:
  static constexpr uint32_t kKept = 256;
  static uint32_t index_of(int32_t id) { return static_cast<uint32_t>(id) >> 1; }
  [[nodiscard]] bool known(int32_t id) const { return index_of(id) < next_ && next_ - index_of(id) <= kKept; }

  std::bitset<kKept> opened_, reset_;
  uint32_t next_ = 0;
};

}  // namespace sluice::http::h2
