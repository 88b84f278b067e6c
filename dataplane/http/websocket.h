// Where the frames of a WebSocket end (RFC 6455 5.2), one way of a connection, without keeping a byte of them: so that
// a frame of ours can be put between two of theirs. Judges nothing that it does not need: what is no length ends the
// tracking (lost).
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/http/stream_io.h"

namespace sluice::http {

class FrameTracker {
 public:
  // Goes through `bytes` to the end of the frame under way (of the first in them, if none is), or through all of them.
  // How many that were; never 0 unless there are none.
  size_t to_boundary(Bytes bytes);
  // Through all of them.
  void follow(Bytes bytes) {
    while (!bytes.empty()) bytes = bytes.subspan(to_boundary(bytes));
  }
  // No frame is half-way. A control frame may also stand between the fragments of a message (5.4).
  [[nodiscard]] bool at_boundary() const { return header_left_ == 0 && payload_left_ == 0 && !in_header_ && !lost_; }
  // A Close frame went by whole: nothing may follow it (5.5.1).
  [[nodiscard]] bool closed() const { return closed_ && at_boundary(); }
  [[nodiscard]] bool lost() const { return lost_; }

 private:
  void header_byte(unsigned char byte);

  uint64_t payload_left_ = 0;
  uint8_t header_left_ = 0;  // bytes of length and masking key still to come
  uint8_t length_left_ = 0;  // those of them that are length
  bool in_header_ = false;   // the first byte was seen, the second not
  bool closed_ = false;
  bool lost_ = false;
};

// Close frames that say 1001, going away (7.4.1). Towards a client: as it stands.
inline constexpr std::array<char, 4> kGoingAway = {'\x88', '\x02', '\x03', '\xE9'};
// Towards a server frames are masked (5.3). The key hides nothing here, for the payload is nobody's to choose; it only
// should not always be the same.
inline constexpr size_t kGoingAwayMasked = 8;
[[nodiscard]] std::array<char, kGoingAwayMasked> masked_going_away(uint32_t key);

}  // namespace sluice::http
