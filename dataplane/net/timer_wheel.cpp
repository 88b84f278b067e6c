#include "dataplane/net/timer_wheel.h"

#include <algorithm>
#include <bit>

namespace sluice::net {
namespace {
// The tick at whose beginning a deadline has certainly passed.
uint64_t tick_of(uint64_t deadline_ms) {
  return deadline_ms / TimerWheel::kSlotMs + (deadline_ms % TimerWheel::kSlotMs != 0 ? 1 : 0);
}
}  // namespace

TimerWheel::~TimerWheel() {
  // Nodes may outlive the wheel; they must not point into it any more.
  for (Head& head : slots_) {
    while (head.next_ != nullptr) head.next_->cancel();
  }
}

void TimerWheel::link(TimerNode& head, TimerNode& node) {
  node.prev_ = &head;
  node.next_ = head.next_;
  if (head.next_ != nullptr) head.next_->prev_ = &node;
  head.next_ = &node;
}

void TimerWheel::arm(TimerNode& node, uint64_t deadline_ms) {
  node.cancel();
  node.deadline_ = deadline_ms;
  // Slots up to last_tick_ were already visited in this turn.
  const size_t slot = std::max(tick_of(deadline_ms), last_tick_ + 1) % kSlots;
  link(slots_[slot], node);
  occupied_[slot / 64] |= uint64_t{1} << (slot % 64);
}

void TimerWheel::advance(uint64_t now_ms) {
  const uint64_t tick = now_ms / kSlotMs;
  if (tick <= last_tick_) return;
  const uint64_t steps = std::min<uint64_t>(tick - last_tick_, kSlots);
  // What is due moves to a list of its own first: a callback may arm, cancel or destroy any timer, also one that is
  // due.
  Head due;
  for (uint64_t at = tick - steps + 1; at <= tick; ++at) {
    const size_t slot = at % kSlots;
    if ((occupied_[slot / 64] >> (slot % 64) & 1) == 0) continue;
    for (TimerNode* node = slots_[slot].next_; node != nullptr;) {
      TimerNode* next = node->next_;
      if (node->deadline_ <= now_ms) {
        node->cancel();
        link(due, *node);
      }
      node = next;
    }
    if (slots_[slot].next_ == nullptr) occupied_[slot / 64] &= ~(uint64_t{1} << (slot % 64));
  }
  last_tick_ = tick;
  while (due.next_ != nullptr) {
    TimerNode* node = due.next_;
    node->cancel();
    node->on_timer();
  }
}

int TimerWheel::next_wait_ms(uint64_t now_ms, int most_ms) const {
  const uint64_t first = last_tick_ + 1;
  uint64_t steps = kSlots;
  if (most_ms >= 0) {
    const uint64_t last = (now_ms + static_cast<uint64_t>(most_ms)) / kSlotMs;
    steps = last < first ? 0 : std::min<uint64_t>(last - first + 1, kSlots);
  }
  for (uint64_t step = 0; step < steps;) {
    const size_t slot = (first + step) % kSlots;
    const uint64_t bits = occupied_[slot / 64] >> (slot % 64);
    if (bits == 0) {
      step += 64 - slot % 64;
      continue;
    }
    step += static_cast<uint64_t>(std::countr_zero(bits));
    if (step >= steps) break;
    const size_t found = (first + step) % kSlots;
    if (slots_[found].next_ != nullptr) {
      const uint64_t due = (first + step) * kSlotMs;
      return due <= now_ms ? 0 : static_cast<int>(std::min<uint64_t>(due - now_ms, kSlots * kSlotMs));
    }
    // All of its timers were cancelled or moved since.
    occupied_[found / 64] &= ~(uint64_t{1} << (found % 64));
    ++step;
  }
  return most_ms;
}

}  // namespace sluice::net
