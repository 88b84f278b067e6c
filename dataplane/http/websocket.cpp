#include "dataplane/http/websocket.h"

#include <algorithm>

namespace sluice::http {
namespace {
constexpr unsigned char kOpcode = 0x0F, kOpcodeClose = 0x8, kMasked = 0x80, kLength = 0x7F;
constexpr unsigned char kLength16 = 126, kLength64 = 127;
constexpr uint8_t kKeyBytes = 4;
}  // namespace

// After the first byte: the second says how many more the header has; those behind it are length, then key.
void FrameTracker::header_byte(unsigned char byte) {
  if (header_left_ != 0) {
    --header_left_;
    if (length_left_ == 0) return;
    // 5.2: the most significant bit of a length of 64 bits is 0.
    lost_ = length_left_ == 8 && (byte & 0x80) != 0;
    --length_left_;
    payload_left_ = payload_left_ << 8 | byte;
    return;
  }
  if (!in_header_) {
    in_header_ = true;
    closed_ = closed_ || (byte & kOpcode) == kOpcodeClose;
    return;
  }
  in_header_ = false;
  const unsigned char length = byte & kLength;
  length_left_ = length == kLength16 ? 2 : length == kLength64 ? 8 : 0;
  header_left_ = static_cast<uint8_t>(length_left_ + ((byte & kMasked) != 0 ? kKeyBytes : 0));
  payload_left_ = length_left_ != 0 ? 0 : length;
}

size_t FrameTracker::to_boundary(Bytes bytes) {
  size_t at = 0;
  while (at < bytes.size() && !lost_) {
    if (!in_header_ && header_left_ == 0 && payload_left_ != 0) {
      const size_t taken = static_cast<size_t>(std::min<uint64_t>(payload_left_, bytes.size() - at));
      payload_left_ -= taken;
      at += taken;
    } else {
      header_byte(static_cast<unsigned char>(bytes[at++]));
    }
    if (at_boundary()) return at;
  }
  return lost_ ? bytes.size() : at;
}

std::array<char, kGoingAwayMasked> masked_going_away(uint32_t key) {
  const std::array<char, 4> mask = {static_cast<char>(key >> 24), static_cast<char>(key >> 16),
                                    static_cast<char>(key >> 8), static_cast<char>(key)};
  return {kGoingAway[0],
          static_cast<char>(static_cast<unsigned char>(kGoingAway[1]) | kMasked),
          mask[0],
          mask[1],
          mask[2],
          mask[3],
          static_cast<char>(kGoingAway[2] ^ mask[0]),
          static_cast<char>(kGoingAway[3] ^ mask[1])};
}

}  // namespace sluice::http
