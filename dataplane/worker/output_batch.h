// Gathers what one client connection sends until it flushes, so that a head and the body bytes behind it leave in one
// writev. One per worker: another connection that begins makes the first write what it has. Holds views, copies nothing
// but heads and chunk framing.
#pragma once
#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include <sys/uio.h>

namespace sluice::worker {

class ClientConnection;

class OutputBatch {
 public:
  static constexpr size_t kParts = 64;
  static constexpr size_t kScratch = 32 * 1024;

  ClientConnection* owner = nullptr;

  [[nodiscard]] bool has_room(size_t parts, size_t bytes) const {
    return count_ + parts <= kParts && used_ + bytes <= kScratch;
  }
  [[nodiscard]] std::span<char> space() { return {scratch_.get() + used_, kScratch - used_}; }
  // `bytes` of space() were filled.
  void wrote(size_t bytes) {
    const char* from = scratch_.get() + used_;
    used_ += bytes;
    add({from, bytes});
  }
  // A view that stays valid until the flush; neighbours in memory become one part.
  void add(std::span<const char> bytes) {
    if (bytes.empty()) return;
    if (count_ > 0) {
      iovec& last = parts_[count_ - 1];
      if (static_cast<const char*>(last.iov_base) + last.iov_len == bytes.data()) {
        last.iov_len += bytes.size();
        return;
      }
    }
    parts_[count_++] = {const_cast<char*>(bytes.data()), bytes.size()};
  }
  [[nodiscard]] std::span<const iovec> parts() const { return {parts_.data(), count_}; }
  [[nodiscard]] bool empty() const { return count_ == 0; }
  void clear() {
    owner = nullptr;
    count_ = used_ = 0;
  }

 private:
  std::unique_ptr<char[]> scratch_ = std::make_unique_for_overwrite<char[]>(kScratch);
  std::array<iovec, kParts> parts_;
  size_t count_ = 0, used_ = 0;
};

}  // namespace sluice::worker
