#include "dataplane/net/timer_wheel.h"

#include <functional>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

namespace sluice::net {
namespace {

struct Timer final : TimerNode {
  std::function<void()> action;
  int fired = 0;
  void on_timer() override {
    ++fired;
    if (action) action();
  }
};

TEST(TimerWheel, NeverEarlyAndAtMostOneSlotLate) {
  for (uint64_t start : {0u, 1u, 63u, 64u, 65u, 1000003u}) {
    for (uint64_t delay : {0u, 1u, 63u, 64u, 65u, 127u, 5000u, 65535u, 65536u, 65537u, 200000u}) {
      TimerWheel wheel(start);
      Timer timer;
      wheel.arm(timer, start + delay);
      uint64_t now = start;
      while (timer.fired == 0 && now < start + delay + 1000) wheel.advance(++now);
      EXPECT_EQ(timer.fired, 1);
      EXPECT_GE(now, start + delay);
      EXPECT_LE(now, start + delay + TimerWheel::kSlotMs) << "start " << start << " delay " << delay;
      EXPECT_FALSE(timer.armed());
    }
  }
}

TEST(TimerWheel, RearmingMovesAndCancelForgets) {
  TimerWheel wheel(0);
  Timer moved, cancelled;
  wheel.arm(moved, 100);
  wheel.arm(moved, 1000);
  wheel.arm(cancelled, 100);
  cancelled.cancel();
  wheel.advance(500);
  EXPECT_EQ(moved.fired, 0);
  EXPECT_TRUE(moved.armed());
  wheel.advance(1100);
  EXPECT_EQ(moved.fired, 1);
  EXPECT_EQ(cancelled.fired, 0);
}

TEST(TimerWheel, ADueTimerCanCancelAndDestroyOthersThatAreDue) {
  TimerWheel wheel(0);
  std::vector<std::unique_ptr<Timer>> timers;
  for (int i = 0; i < 3; ++i) timers.push_back(std::make_unique<Timer>());
  int fired = 0;
  for (auto& timer : timers) {
    timer->action = [&, self = timer.get()] {
      ++fired;
      for (auto& other : timers) {
        if (other && other.get() != self) other.reset();
      }
    };
    wheel.arm(*timer, 10);
  }
  wheel.advance(1000);
  EXPECT_EQ(fired, 1);
}

TEST(TimerWheel, ArmedInACallbackFiresInALaterCall) {
  TimerWheel wheel(0);
  Timer timer;
  timer.action = [&] {
    if (timer.fired < 3) wheel.arm(timer, 0);
  };
  wheel.arm(timer, 1);
  wheel.advance(1000);
  EXPECT_EQ(timer.fired, 1);
  wheel.advance(1064);
  EXPECT_EQ(timer.fired, 2);
  wheel.advance(200000);
  EXPECT_EQ(timer.fired, 3);
}

TEST(TimerWheel, AJumpOverMoreThanATurnFiresEverythingOnce) {
  TimerWheel wheel(0);
  std::vector<std::unique_ptr<Timer>> timers;
  for (uint64_t i = 0; i < 3000; ++i) {
    timers.push_back(std::make_unique<Timer>());
    wheel.arm(*timers.back(), i * 50);
  }
  wheel.advance(10'000'000);
  for (auto& timer : timers) EXPECT_EQ(timer->fired, 1);
  EXPECT_EQ(wheel.next_wait_ms(10'000'000), -1);
}

TEST(TimerWheel, WaitEndsAtTheSlotOfTheNextTimer) {
  TimerWheel wheel(0);
  EXPECT_EQ(wheel.next_wait_ms(0), -1);
  Timer late, soon;
  wheel.arm(late, 40000);
  EXPECT_EQ(wheel.next_wait_ms(0), 40000);
  wheel.arm(soon, 100);
  EXPECT_EQ(wheel.next_wait_ms(0), 128);
  EXPECT_EQ(wheel.next_wait_ms(120), 8);
  EXPECT_EQ(wheel.next_wait_ms(300), 0);
  soon.cancel();
  EXPECT_EQ(wheel.next_wait_ms(0), 40000);
  late.cancel();
  EXPECT_EQ(wheel.next_wait_ms(0), -1);
}

TEST(TimerWheel, NobodyLooksBeyondWhatIsAskedFor) {
  TimerWheel wheel(0);
  EXPECT_EQ(wheel.next_wait_ms(0, 250), 250) << "empty";
  Timer late, soon;
  wheel.arm(late, 40'000);
  EXPECT_EQ(wheel.next_wait_ms(0, 250), 250);
  EXPECT_EQ(wheel.next_wait_ms(39'900, 250), 100);
  wheel.arm(soon, 128);
  EXPECT_EQ(wheel.next_wait_ms(0, 250), 128);
  EXPECT_EQ(wheel.next_wait_ms(0, 128), 128);
  EXPECT_EQ(wheel.next_wait_ms(0, 127), 127);
  EXPECT_EQ(wheel.next_wait_ms(0, 0), 0);
  EXPECT_EQ(wheel.next_wait_ms(300, 0), 0) << "it is due";
  soon.cancel();
  EXPECT_EQ(wheel.next_wait_ms(0, 250), 250) << "its slot may say that it holds something";
  EXPECT_EQ(wheel.next_wait_ms(0, 100'000), 40'000);
}

TEST(TimerWheel, TimersMayOutliveTheWheel) {
  Timer timer;
  {
    TimerWheel wheel(0);
    wheel.arm(timer, 5);
  }
  EXPECT_FALSE(timer.armed());
  timer.cancel();
}

}  // namespace
}  // namespace sluice::net
