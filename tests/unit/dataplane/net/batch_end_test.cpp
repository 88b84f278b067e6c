// Ends of batch: once for each batch in which they were asked for.
#include <functional>
#include <string>

#include <gtest/gtest.h>

#include "common/base/clock.h"
#include "dataplane/net/reactor.h"

namespace sluice::net {
namespace {

struct End final : BatchEnd {
  std::function<void()> action;
  int calls = 0;
  void on_batch_end() override {
    ++calls;
    if (action) action();
  }
};
struct Later final : Deferred {
  std::function<void()> action;
  void destroy() override { action(); }
};
struct Timer final : TimerNode {
  std::function<void()> action;
  void on_timer() override { action(); }
};

TEST(BatchEnd, OnceForEachBatchInWhichItWasAskedFor) {
  Reactor reactor;
  End end;
  reactor.run_once(0);
  EXPECT_EQ(end.calls, 0);
  reactor.at_batch_end(end);
  reactor.at_batch_end(end);
  EXPECT_EQ(end.calls, 0);
  reactor.run_once(-1);  // does not sleep
  EXPECT_EQ(end.calls, 1);
  reactor.run_once(0);
  EXPECT_EQ(end.calls, 1);
}

TEST(BatchEnd, BehindTimersAndBeforeDestruction) {
  Reactor reactor;
  std::string order;
  End end;
  Later later;
  Timer timer;
  timer.action = [&] {
    order += "timer ";
    reactor.destroy_later(later);
    reactor.at_batch_end(end);
  };
  end.action = [&] { order += "end "; };
  later.action = [&] { order += "destroyed"; };
  reactor.timers().arm(timer, reactor.now_ms());
  const uint64_t begin = monotonic_ms();
  while (order.empty() && monotonic_ms() < begin + 60'000) reactor.run_once(10);
  EXPECT_EQ(order, "timer end destroyed");
}

TEST(BatchEnd, WhoAsksMeanwhileComesInTheSameRound) {
  Reactor reactor;
  End a, b;
  a.action = [&] { reactor.at_batch_end(b); };
  b.action = [&] {
    if (b.calls < 3) reactor.at_batch_end(a);
  };
  reactor.at_batch_end(a);
  reactor.run_once(0);
  EXPECT_EQ(a.calls, 3);
  EXPECT_EQ(b.calls, 3);
}

TEST(BatchEnd, ARoundIsBounded) {
  Reactor reactor;
  End endless;
  endless.action = [&] { reactor.at_batch_end(endless); };
  reactor.at_batch_end(endless);
  reactor.run_once(0);
  const int first = endless.calls;
  EXPECT_GT(first, 0);
  reactor.run_once(-1);
  EXPECT_EQ(endless.calls, 2 * first);
  reactor.forget_batch_end(endless);
}

TEST(BatchEnd, ForgottenAtAnyPlace) {
  Reactor reactor;
  for (int which = 0; which < 3; ++which) {
    End ends[3];
    for (End& end : ends) reactor.at_batch_end(end);
    reactor.forget_batch_end(ends[which]);
    reactor.forget_batch_end(ends[which]);
    End last;
    reactor.at_batch_end(last);
    reactor.run_once(0);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(ends[i].calls, i == which ? 0 : 1);
    EXPECT_EQ(last.calls, 1);
  }
}

}  // namespace
}  // namespace sluice::net
