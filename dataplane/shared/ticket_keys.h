// Keys of TLS session tickets, common to all workers: one page in shared memory, made and rotated by the master alone,
// mapped read-only by workers. No locks: a rotation writes a slot that nobody uses and then moves the epoch, so a
// master that dies at any store leaves valid keys. Readers copy and look at the epoch again. The master puts random
// bytes in and never looks at keys otherwise.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace sluice::shared {

// What one ticket key is made of (RFC 5077 section 4): name, AES-256 key, HMAC-SHA256 key.
struct TicketKey {
  static constexpr size_t kBytes = 80;
  std::array<uint8_t, 16> name{};
  std::array<uint8_t, 32> cipher_key{};
  std::array<uint8_t, 32> mac_key{};
};
static_assert(sizeof(TicketKey) == TicketKey::kBytes);

// current encrypts, all three decrypt: previous for tickets given out before a rotation, next for those of a worker
// that saw it earlier.
struct TicketKeys {
  uint64_t epoch = 0;  // 0 = none yet
  TicketKey previous, current, next;
};

class TicketKeyPage {
 public:
  static constexpr uint64_t kMagic = 0x534c55544b450001;
  // Fresh random bytes a rotation needs; the first one fills three keys.
  static constexpr size_t kRandomBytes = 3 * TicketKey::kBytes;

  // Master only. `random` is kRandomBytes long, from getrandom. A page of zeros is a page without keys.
  void rotate(std::span<const uint8_t, kRandomBytes> random);
  [[nodiscard]] uint64_t epoch() const { return epoch_.load(std::memory_order_acquire); }
  // The keys of one moment; epoch 0 if there are none.
  [[nodiscard]] TicketKeys read() const;
  [[nodiscard]] bool valid() const { return magic_.load(std::memory_order_acquire) == kMagic; }

 private:
  static constexpr size_t kSlots = 4, kWords = TicketKey::kBytes / 8;
  using Slot = std::array<std::atomic<uint64_t>, kWords>;
  void store(uint64_t epoch, std::span<const uint8_t, TicketKey::kBytes> key);
  [[nodiscard]] TicketKey load(uint64_t epoch) const;
  std::atomic<uint64_t> magic_{0};
  std::atomic<uint64_t> epoch_{0};
  std::array<Slot, kSlots> slots_{};  // the key of epoch e lies in slot e % 4
};
static_assert(std::atomic<uint64_t>::is_always_lock_free && sizeof(TicketKeyPage) <= 4096);

}  // namespace sluice::shared
