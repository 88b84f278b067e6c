#include "dataplane/worker/delay_probe.h"

#include <functional>

#include <gtest/gtest.h>
#include <unistd.h>

#include "common/base/clock.h"

namespace sluice::worker {
namespace {

// Always ready, and each turn of it takes so long.
struct Work final : net::EventHandler {
  net::Reactor& reactor;
  int fds[2] = {-1, -1};
  uint64_t each_ns = 0;
  explicit Work(net::Reactor& on) : reactor(on) {
    EXPECT_EQ(::pipe(fds), 0);
    EXPECT_EQ(::write(fds[1], "x", 1), 1);
    EXPECT_TRUE(reactor.add(fds[0], *this, net::kReadable));
  }
  ~Work() {
    reactor.remove(fds[0], *this);
    ::close(fds[0]);
    ::close(fds[1]);
  }
  void on_event(uint32_t) override {
    for (const uint64_t until = monotonic_ns() + each_ns; monotonic_ns() < until;) {
    }
  }
};

TEST(DelayProbe, SeesWhatIsDoneBeforeItsTurn) {
  net::Reactor reactor;
  Overload overload;
  overload.set_queue_delay(20);
  DelayProbe probe(reactor, overload);
  ASSERT_TRUE(probe.open());
  Work work(reactor);
  work.each_ns = 30'000'000;
  probe.send();
  EXPECT_TRUE(probe.under_way());
  // One reading follows the other while they are long; after half a second they count.
  for (int i = 0; i < 40 && !overload.sheds(Priority::sheddable); ++i) reactor.run_once(0);
  EXPECT_TRUE(overload.sheds(Priority::sheddable));
  EXPECT_TRUE(probe.under_way());
  // What is short ends it.
  work.each_ns = 0;
  for (int i = 0; i < 1000 && probe.under_way(); ++i) reactor.run_once(0);
  EXPECT_FALSE(probe.under_way());
  EXPECT_FALSE(overload.sheds(Priority::sheddable));
}

TEST(DelayProbe, WithoutAQueueDelayNothingIsMeasured) {
  net::Reactor reactor;
  Overload overload;
  overload.set_queue_delay(0);
  DelayProbe probe(reactor, overload);
  ASSERT_TRUE(probe.open());
  probe.send();
  EXPECT_FALSE(probe.under_way());
}

TEST(DelayProbe, OneAtATime) {
  net::Reactor reactor;
  Overload overload;
  DelayProbe probe(reactor, overload);
  probe.send();
  EXPECT_FALSE(probe.under_way()) << "not open";
  ASSERT_TRUE(probe.open());
  probe.send();
  probe.send();
  reactor.run_once(0);
  EXPECT_EQ(reactor.events(), 1);
  reactor.run_once(0);
  EXPECT_EQ(reactor.events(), 0);
}

}  // namespace
}  // namespace sluice::worker
