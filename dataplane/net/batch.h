// Gathers what one connection sends until it flushes, so that a head and the body bytes behind it leave in one writev.
// One per worker and side: between two flushes only one connection sends; another one that begins makes the first write
// what it has. Holds views, copies nothing but what is made in its scratch (heads, chunk framing).
#pragma once
#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include <sys/uio.h>

namespace sluice::net {

template <class Owner, size_t ScratchBytes>
class Batch {
 public:
  static constexpr size_t kParts = 64;
  static constexpr size_t kScratch = ScratchBytes;

  Owner* owner = nullptr;

  [[nodiscard]] bool has_room(size_t parts, size_t bytes) const {
    return count_ + parts <= kParts && used_ + bytes <= kScratch;
  }
  // Space for what is made here; at most kScratch - used bytes. wrote() adds what was filled.
  [[nodiscard]] std::span<char> space() { return {scratch_.get() + used_, kScratch - used_}; }
  void wrote(size_t bytes) {
    const char* from = scratch_.get() + used_;
    used_ += bytes;
    add({from, bytes});
  }
  // As wrote(), and it may still grow, until anything else is added: see open().
  void wrote_open(size_t bytes) {
    wrote(bytes);
    open_ = bytes;
  }
  // What wrote_open() added, with grown()'s bytes, if nothing came behind it; else empty. The space behind it is
  // space().
  [[nodiscard]] std::span<char> open() { return {scratch_.get() + used_ - open_, open_}; }
  void grown(size_t bytes) {
    used_ += bytes;
    open_ += bytes;
    total_ += bytes;
    parts_[count_ - 1].iov_len += bytes;
  }
  // A view that stays valid until the flush. Neighbours in memory become one part.
  void add(std::span<const char> bytes) {
    if (bytes.empty()) return;
    open_ = 0;
    total_ += bytes.size();
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
  [[nodiscard]] size_t total() const { return total_; }
  [[nodiscard]] bool empty() const { return count_ == 0; }
  void clear() {
    owner = nullptr;
    count_ = used_ = total_ = open_ = 0;
  }

 private:
  std::unique_ptr<char[]> scratch_ = std::make_unique_for_overwrite<char[]>(kScratch);
  std::array<iovec, kParts> parts_;
  size_t count_ = 0, used_ = 0, total_ = 0, open_ = 0;
};

}  // namespace sluice::net
