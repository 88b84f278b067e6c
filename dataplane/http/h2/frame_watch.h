// Follows frame boundaries in what a peer sends, beside nghttp2: for frames that it drops without a word (PRIORITY
// where priorities are not spoken, unknown types, CONTINUATION), which cost work like any other. Looks at headers only;
// for PRIORITY also at what it depends on. No allocation.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>

#include "dataplane/http/stream_io.h"

namespace sluice::http::h2 {

struct FrameHeader {
  uint32_t length = 0;  // of the payload
  uint8_t type = 0, flags = 0;
  uint32_t stream = 0;
  uint32_t depends_on = 0;  // PRIORITY's
};

class FrameWatch {
 public:
  // `preface`: bytes before the first frame.
  explicit FrameWatch(uint32_t preface) : skip_(preface) {}

  // on_frame(const FrameHeader&, size_t at) for each header that is complete now; `at`: how many bytes of `in` come
  // before its last one.
  template <class OnFrame>
  void feed(Bytes in, OnFrame&& on_frame) {
    const char* const begin = in.data();
    while (!in.empty()) {
      if (skip_ != 0) {
        const size_t size = std::min<size_t>(skip_, in.size());
        skip_ -= static_cast<uint32_t>(size);
        in = in.subspan(size);
        continue;
      }
      while (have_ < wanted() && !in.empty()) {
        bytes_[have_++] = static_cast<uint8_t>(in.front());
        in = in.subspan(1);
      }
      if (have_ < wanted()) return;
      const FrameHeader frame = parse();
      skip_ = frame.length - (have_ - kHeader);
      have_ = 0;
      on_frame(frame, static_cast<size_t>(in.data() - begin) - 1);
    }
  }
  // More is to come of the frame that was told last.
  [[nodiscard]] bool in_payload() const { return skip_ != 0; }

 private:
  static constexpr uint32_t kHeader = 9, kDependency = 4;
  static constexpr uint8_t kPriority = 2;
  [[nodiscard]] uint32_t number(size_t at, size_t count) const {
    uint32_t value = 0;
    for (size_t i = at; i < at + count; ++i) value = value << 8 | bytes_[i];
    return value;
  }
  [[nodiscard]] uint32_t wanted() const {
    return have_ >= kHeader && bytes_[3] == kPriority && number(0, 3) >= kDependency ? kHeader + kDependency : kHeader;
  }
  [[nodiscard]] FrameHeader parse() const {
    FrameHeader frame{number(0, 3), bytes_[3], bytes_[4], number(5, 4) & 0x7FFFFFFFu};
    if (have_ > kHeader) frame.depends_on = number(kHeader, kDependency) & 0x7FFFFFFFu;
    return frame;
  }

  std::array<uint8_t, kHeader + kDependency> bytes_{};
  uint32_t have_ = 0;
  uint32_t skip_;
};

}  // namespace sluice::http::h2
