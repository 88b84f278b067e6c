// Deadlines as intrusive list nodes in a hashed wheel of 64 ms slots: arming, re-arming and cancelling are a few
// stores, so a deadline may move at every read. Fires up to one slot late, never early. A node is in at most one wheel;
// destroying it cancels it.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace sluice::net {

class TimerNode {
 public:
  TimerNode() = default;
  TimerNode(const TimerNode&) = delete;
  TimerNode& operator=(const TimerNode&) = delete;
  virtual ~TimerNode() { cancel(); }
  virtual void on_timer() = 0;
  void cancel() {
    if (prev_ == nullptr) return;
    prev_->next_ = next_;
    if (next_ != nullptr) next_->prev_ = prev_;
    prev_ = next_ = nullptr;
  }
  [[nodiscard]] bool armed() const { return prev_ != nullptr; }
  [[nodiscard]] uint64_t deadline_ms() const { return deadline_; }

 private:
  friend class TimerWheel;
  TimerNode* prev_ = nullptr;
  TimerNode* next_ = nullptr;
  uint64_t deadline_ = 0;
};

class TimerWheel {
 public:
  static constexpr uint64_t kSlotMs = 64;
  static constexpr size_t kSlots = 1024;  // 65 s a turn; later deadlines go round again
  explicit TimerWheel(uint64_t now_ms = 0) : last_tick_(now_ms / kSlotMs) {}
  ~TimerWheel();
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;
  // Arms or re-arms.
  void arm(TimerNode& node, uint64_t deadline_ms);
  // Fires everything due at now_ms. Timers armed meanwhile fire in a later call.
  void advance(uint64_t now_ms);
  // Milliseconds until the next slot boundary that may hold something, `most_ms` at most: no slot beyond is looked at.
  // Without `most_ms` a turn of the wheel at most, -1 if the wheel is empty.
  [[nodiscard]] int next_wait_ms(uint64_t now_ms, int most_ms = -1) const;

 private:
  struct Head final : TimerNode {
    Head() = default;
    void on_timer() override {}
  };
  static void link(TimerNode& head, TimerNode& node);

  std::array<Head, kSlots> slots_;
  // A set bit: the slot may hold something (cancelled timers leave it set); a clear bit: it holds nothing.
  mutable std::array<uint64_t, kSlots / 64> occupied_{};
  uint64_t last_tick_;
};

}  // namespace sluice::net
