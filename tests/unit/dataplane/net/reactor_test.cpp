#include "dataplane/net/reactor.h"

#include <functional>

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "common/base/clock.h"

namespace sluice::net {
namespace {

struct Handler final : EventHandler {
  std::function<void(uint32_t)> action;
  int calls = 0;
  void on_event(uint32_t events) override {
    ++calls;
    if (action) action(events);
  }
};
struct Pair {
  UniqueFd a, b;
  Pair() {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    a.reset(fds[0]);
    b.reset(fds[1]);
  }
  void send() { EXPECT_EQ(::write(b.get(), "x", 1), 1); }
};
struct Timer final : TimerNode {
  int fired = 0;
  void on_timer() override { ++fired; }
};

TEST(Reactor, CountsTheEventsOfABatch) {
  Reactor reactor;
  Pair pairs[3];
  Handler handler;
  for (Pair& pair : pairs) ASSERT_TRUE(reactor.add(pair.a.get(), handler, kReadable));
  reactor.run_once(0);
  EXPECT_EQ(reactor.events(), 0);
  pairs[0].send();
  pairs[2].send();
  reactor.run_once(0);
  EXPECT_EQ(reactor.events(), 2);
  for (Pair& pair : pairs) reactor.remove(pair.a.get(), handler);
}

TEST(Reactor, ReportsWhatIsAskedFor) {
  Reactor reactor;
  Pair pair;
  Handler handler;
  uint32_t seen = 0;
  handler.action = [&](uint32_t events) { seen = events; };
  ASSERT_TRUE(reactor.add(pair.a.get(), handler, kReadable));
  reactor.run_once(0);
  EXPECT_EQ(handler.calls, 0);
  pair.send();
  reactor.run_once(1000);
  EXPECT_EQ(seen, kReadable);
  reactor.modify(pair.a.get(), handler, kReadable | kWritable);
  reactor.run_once(1000);
  EXPECT_EQ(seen, kReadable | kWritable);
  reactor.modify(pair.a.get(), handler, 0);
  reactor.run_once(0);
  EXPECT_EQ(handler.calls, 2);
  reactor.remove(pair.a.get(), handler);
}

TEST(Reactor, AFailedAddSaysSo) {
  Reactor reactor;
  Handler handler;
  EXPECT_FALSE(reactor.add(-1, handler, kReadable));
}

TEST(Reactor, RemovedHandlersGetNothingMoreFromTheSameBatch) {
  Reactor reactor;
  Pair one, two;
  Handler first, second;
  // Whichever comes first removes the other.
  first.action = [&](uint32_t) { reactor.remove(two.a.get(), second); };
  second.action = [&](uint32_t) { reactor.remove(one.a.get(), first); };
  ASSERT_TRUE(reactor.add(one.a.get(), first, kReadable));
  ASSERT_TRUE(reactor.add(two.a.get(), second, kReadable));
  one.send();
  two.send();
  reactor.run_once(1000);
  EXPECT_EQ(first.calls + second.calls, 1);
}

TEST(Reactor, ForgottenHandlersGetNothingMoreFromTheSameBatch) {
  Reactor reactor;
  Pair one, two;
  Handler first, second;
  first.action = [&](uint32_t) { reactor.forget(second), two.a.reset(); };
  second.action = [&](uint32_t) { reactor.forget(first), one.a.reset(); };
  ASSERT_TRUE(reactor.add(one.a.get(), first, kReadable));
  ASSERT_TRUE(reactor.add(two.a.get(), second, kReadable));
  one.send();
  two.send();
  reactor.run_once(1000);
  EXPECT_EQ(first.calls + second.calls, 1);
  reactor.run_once(0);
  EXPECT_EQ(first.calls + second.calls, 2);  // the survivor is still readable, the other is gone from epoll
}

TEST(Reactor, DeferredObjectsGoAfterTheBatchAndMayDeferMore) {
  struct Object final : Deferred {
    std::function<void()> action;
    int destroyed = 0;
    void destroy() override {
      ++destroyed;
      if (action) action();
    }
  };
  Reactor reactor;
  Pair pair;
  Handler handler;
  Object outer, inner;
  outer.action = [&] { reactor.destroy_later(inner); };
  handler.action = [&](uint32_t) {
    reactor.destroy_later(outer);
    EXPECT_EQ(outer.destroyed, 0);
  };
  ASSERT_TRUE(reactor.add(pair.a.get(), handler, kReadable));
  pair.send();
  reactor.run_once(1000);
  EXPECT_EQ(outer.destroyed, 1);
  EXPECT_EQ(inner.destroyed, 1);
}

TEST(Reactor, WakesForTimers) {
  Reactor reactor;
  Timer timer;
  const uint64_t start = reactor.now_ms();
  reactor.timers().arm(timer, start + 30);
  for (int i = 0; i < 100 && timer.fired == 0; ++i) reactor.run_once(10'000);
  EXPECT_EQ(timer.fired, 1);
  EXPECT_GE(monotonic_ms(), start + 30);
}

TEST(Reactor, AHangupComesWhateverTheInterestIs) {
  Reactor reactor;
  Pair pair;
  Handler handler;
  uint32_t seen = 0;
  handler.action = [&](uint32_t events) { seen = events; };
  ASSERT_TRUE(reactor.add(pair.a.get(), handler, 0));
  pair.b.reset();
  reactor.run_once(1000);
  EXPECT_NE(seen & kHangup, 0u);
}

}  // namespace
}  // namespace sluice::net
