// What a client of these tests says by hand over HTTP/2, in the frames of tests/lib/h2_frames.h, and what it looks for.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "tests/lib/h2_frames.h"

namespace sluice::worker::testing {

using tests::h2::frame;
using tests::h2::Frame;
using tests::h2::setting;

// The types as these tests name them.
struct FrameType {
  static constexpr uint8_t data = tests::h2::kData, headers = tests::h2::kHeaders, rst_stream = tests::h2::kRstStream,
                           settings = tests::h2::kSettings, ping = tests::h2::kPing, goaway = tests::h2::kGoaway,
                           window_update = tests::h2::kWindowUpdate;
};

inline std::string preface(std::string_view settings = {}) {
  return std::string(tests::h2::kPreface) + frame(FrameType::settings, 0, 0, settings);
}

// :method, :scheme http, :path /, :authority; nothing indexed.
inline std::string request(uint32_t stream, std::string_view host, bool post = false) {
  std::string head = post ? "\x83\x86\x84" : "\x82\x86\x84";
  head.push_back(0x01);
  head.push_back(static_cast<char>(host.size()));
  head.append(host);
  return frame(FrameType::headers, post ? 0x04 : 0x05, stream, head);
}

inline std::string ping() { return frame(FrameType::ping, 0, 0, "12345678"); }

// The whole ones.
inline std::vector<Frame> frames(std::string_view bytes) {
  std::string copy(bytes);
  return tests::h2::take_frames(copy);
}
// The last of a type on a stream; null if there is none. Of a vector that lives on.
inline const Frame* last_of(const std::vector<Frame>& list, uint8_t type, uint32_t stream) {
  const Frame* found = nullptr;
  for (const Frame& one : list) {
    if (one.type == type && one.stream == stream) found = &one;
  }
  return found;
}
inline bool has(std::string_view bytes, uint8_t type, uint32_t stream) {
  const std::vector<Frame> list = frames(bytes);
  return last_of(list, type, stream) != nullptr;
}

}  // namespace sluice::worker::testing
