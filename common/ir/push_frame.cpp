#include "common/ir/push_frame.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include <xxhash.h>

namespace sluice::ir {
static_assert(std::is_trivially_copyable_v<PushFrame>);

ContentHash content_hash(std::span<const std::byte> bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.high64, hash.low64};
}

std::span<const std::byte> encode_frame(const PushFrame& frame) { return std::as_bytes(std::span(&frame, 1)); }

Result<PushFrame> decode_frame(std::span<const std::byte> packet) {
  if (packet.size() != sizeof(PushFrame))
    return fail("push frame of {} bytes, expected {}", packet.size(), sizeof(PushFrame));
  PushFrame frame;
  std::memcpy(static_cast<void*>(&frame), packet.data(), sizeof frame);
  if (frame.magic != kPushMagic) return fail("push frame: bad magic {:#x}", frame.magic);
  if (frame.version != kPushVersion) return fail("push frame: version {}, expected {}", frame.version, kPushVersion);
  const auto type = static_cast<uint16_t>(frame.type);
  if (type < static_cast<uint16_t>(FrameType::hello) || type > static_cast<uint16_t>(FrameType::report)) {
    return fail("push frame: unknown type {}", type);
  }
  if (frame.part > PartKind::shard) return fail("push frame: unknown part {}", static_cast<int>(frame.part));
  if (frame.shard >= kMaxShards) return fail("push frame: shard {}", frame.shard);
  if (frame.need_mask >> kParts != 0) return fail("push frame: need mask {:#x}", frame.need_mask);
  if (frame.reason > NackReason::internal) return fail("push frame: unknown reason {}", static_cast<int>(frame.reason));
  if (frame.text_size > sizeof frame.text) return fail("push frame: text of {} bytes", frame.text_size);
  if (frame.listeners > frame.bound.size()) return fail("push frame: {} listeners", frame.listeners);
  for (const auto& bound : frame.bound) {
    if (std::memchr(bound.name, 0, sizeof bound.name) == nullptr)
      return fail("push frame: listener name not terminated");
  }
  if (frame.workers_ready > frame.workers_total)
    return fail("push frame: {} of {} workers ready", frame.workers_ready, frame.workers_total);
  const bool too_large = std::ranges::any_of(frame.sizes, [](uint64_t size) { return size > kMaxPartBytes; });
  if (too_large) return fail("push frame: part larger than {} bytes", kMaxPartBytes);
  return frame;
}

}  // namespace sluice::ir
