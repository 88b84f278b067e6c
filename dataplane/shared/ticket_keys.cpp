#include "dataplane/shared/ticket_keys.h"

#include <cstring>

namespace sluice::shared {

void TicketKeyPage::store(uint64_t epoch, std::span<const uint8_t, TicketKey::kBytes> key) {
  Slot& slot = slots_[epoch % kSlots];
  for (size_t i = 0; i < kWords; ++i) {
    uint64_t word;
    std::memcpy(&word, key.data() + i * 8, 8);
    slot[i].store(word, std::memory_order_release);
  }
}

TicketKey TicketKeyPage::load(uint64_t epoch) const {
  std::array<uint64_t, kWords> words;
  const Slot& slot = slots_[epoch % kSlots];
  for (size_t i = 0; i < kWords; ++i) words[i] = slot[i].load(std::memory_order_acquire);
  TicketKey key;
  std::memcpy(static_cast<void*>(&key), words.data(), sizeof key);
  explicit_bzero(words.data(), sizeof words);
  return key;
}

void TicketKeyPage::rotate(std::span<const uint8_t, kRandomBytes> random) {
  const uint64_t now = epoch_.load(std::memory_order_relaxed);
  if (now == 0) {
    // Epoch 1 would need a previous key of epoch 0: begin at 2.
    store(1, random.subspan<0, TicketKey::kBytes>());
    store(2, random.subspan<TicketKey::kBytes, TicketKey::kBytes>());
    store(3, random.subspan<2 * TicketKey::kBytes, TicketKey::kBytes>());
    epoch_.store(2, std::memory_order_release);
    magic_.store(kMagic, std::memory_order_release);
    return;
  }
  // Slots now-1, now and now+1 are in use; now+2 is the fourth. Readers that still copy the oldest see that the epoch
  // moved.
  store(now + 2, random.subspan<0, TicketKey::kBytes>());
  epoch_.store(now + 1, std::memory_order_release);
}

TicketKeys TicketKeyPage::read() const {
  TicketKeys keys;
  for (;;) {
    const uint64_t before = epoch_.load(std::memory_order_acquire);
    if (before == 0) return {};
    keys.previous = load(before - 1);
    keys.current = load(before);
    keys.next = load(before + 1);
    // Whoever saw a word of a later rotation sees the epoch before it too: words are stored with release and loaded
    // with acquire.
    if (epoch_.load(std::memory_order_relaxed) == before) {
      keys.epoch = before;
      return keys;
    }
  }
}

}  // namespace sluice::shared
