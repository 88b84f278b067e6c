#include "dataplane/worker/delay_shedding.h"

#include <gtest/gtest.h>

namespace sluice::worker {
namespace {

constexpr uint32_t kQueueDelayMs = 20;
constexpr ShedBands kBands = shed_bands(kQueueDelayMs);
constexpr ShedBand kSheddable = kBands[0], kStandard = kBands[1], kCritical = kBands[2];

struct Delays {
  DelayShedding shedding;
  Delays() { shedding.set_queue_delay(kQueueDelayMs); }
  uint64_t now_ms = 1'000'000;

  void read(uint64_t delay_us, int for_ms = 10) {
    for (int i = 0; i < for_ms / 10; ++i) shedding.reading(now_ms += 10, delay_us);
  }
  // So that each reading counts.
  void stand() { read(kSheddable.from + 1, 2 * DelayShedding::kStandingMs); }
  [[nodiscard]] std::array<uint32_t, 3> shares() const {
    return {shedding.share(Priority::sheddable), shedding.share(Priority::standard),
            shedding.share(Priority::critical)};
  }
};
using Shares = std::array<uint32_t, 3>;
constexpr uint32_t kAll = DelayShedding::kWhole, kMost = kAll * 5 / 8;  // of standard ones at first

TEST(DelayShedding, TheShareFollowsTheDelayClassByClass) {
  Delays d;
  d.stand();
  d.read((kSheddable.from + kSheddable.whole) / 2);
  EXPECT_EQ(d.shares(), (Shares{kAll / 2, 0, 0}));
  d.read(kSheddable.whole);
  EXPECT_EQ(d.shares(), (Shares{kAll, 0, 0}));
  d.read(kStandard.from + (kStandard.most_at - kStandard.from) / 4);
  EXPECT_EQ(d.shares(), (Shares{kAll, kMost / 4, 0}));
  d.read(kStandard.most_at);
  EXPECT_EQ(d.shares(), (Shares{kAll, kMost, 0}));
  d.read(kStandard.more_from);
  EXPECT_EQ(d.shares(), (Shares{kAll, kMost, 0})) << "refusing more would leave no time to serve";
  d.read((kStandard.more_from + kStandard.whole) / 2);
  EXPECT_EQ(d.shares(), (Shares{kAll, (kMost + kAll) / 2, 0}));
  d.read(kStandard.whole);
  EXPECT_EQ(d.shares(), (Shares{kAll, kAll, 0}));
  d.read(kCritical.from);
  EXPECT_EQ(d.shares(), (Shares{kAll, kAll, 0}));
  d.read((kCritical.from + kCritical.whole) / 2);
  EXPECT_EQ(d.shares(), (Shares{kAll, kAll, kAll / 2}));
  d.read(uint64_t{3600} * 1'000'000);
  EXPECT_EQ(d.shares(), (Shares{kAll, kAll, kAll}));
  d.read(kSheddable.from);
  EXPECT_EQ(d.shares(), (Shares{0, 0, 0})) << "at once";
}

TEST(DelayShedding, OnlyAStandingDelayCounts) {
  Delays d;
  d.read(kStandard.whole, DelayShedding::kStandingMs);
  EXPECT_EQ(d.shares(), (Shares{0, 0, 0})) << "not yet for long";
  d.read(kStandard.whole);
  EXPECT_EQ(d.shares(), (Shares{kAll, kAll, 0}));
}

TEST(DelayShedding, OneShortReadingEndsABurst) {
  Delays d;
  for (int i = 0; i < 100; ++i) {
    d.read(1'000'000, 200);
    d.read(kSheddable.from);
    EXPECT_EQ(d.shares(), (Shares{0, 0, 0}));
    EXPECT_EQ(d.shedding.take_longest_ms(), 0u);
  }
}

// Long ones that are seldom: each came after a stall of the machine, and nobody waited between them.
TEST(DelayShedding, AFewLongReadingsFarApartAreNoOverload) {
  Delays d;
  for (int i = 0; i < 20; ++i) {
    d.read(100'000);
    d.now_ms += 600;
  }
  EXPECT_EQ(d.shares(), (Shares{0, 0, 0}));
  d.now_ms += 10'000;
  d.read(100'000, 20);
  EXPECT_EQ(d.shares(), (Shares{0, 0, 0})) << "two in a row";
}

TEST(DelayShedding, WithoutReadingsItIsOver) {
  Delays d;
  d.stand();
  d.read(kStandard.whole);
  d.shedding.pass(d.now_ms + 4000);
  EXPECT_EQ(d.shares(), (Shares{kAll, kAll, 0})) << "the next one takes long";
  d.shedding.pass(d.now_ms + 5000);
  EXPECT_EQ(d.shares(), (Shares{0, 0, 0}));
}

TEST(DelayShedding, AfterASecondOfCalmADelayHasToStandAnew) {
  Delays d;
  d.stand();
  d.read(0, 900);
  d.read(kStandard.whole);
  EXPECT_EQ(d.shares(), (Shares{kAll, kAll, 0})) << "the same overload";
  d.read(0, 1000);
  d.read(kStandard.whole, 100);
  EXPECT_EQ(d.shares(), (Shares{0, 0, 0}));
}

TEST(DelayShedding, RequestsAreShedEvenly) {
  Delays d;
  d.stand();
  for (const uint32_t percent : {1u, 20u, 50u, 71u, 99u, 100u}) {
    d.read(kStandard.more_from + (kStandard.whole - kStandard.more_from) * percent / 100);
    const uint32_t share = d.shedding.share(Priority::standard);
    uint32_t shed = 0;
    for (uint32_t i = 1; i <= 10 * kAll; ++i) {
      shed += d.shedding.sheds(Priority::standard);
      // At no moment more than one off.
      ASSERT_NEAR(shed, static_cast<double>(share) * i / kAll, 1.0) << percent;
    }
    EXPECT_NEAR(shed, 10 * share, 1) << percent;
    EXPECT_FALSE(d.shedding.sheds(Priority::critical));
  }
}

TEST(DelayShedding, TheLongestIsToldOnce) {
  Delays d;
  d.stand();
  (void)d.shedding.take_longest_ms();
  d.read(30'000);
  d.read(90'999);
  d.read(7'000);
  EXPECT_EQ(d.shedding.take_longest_ms(), 90u);
  EXPECT_EQ(d.shedding.take_longest_ms(), 0u);
}

TEST(DelayShedding, TheBandsFollowTheQueueDelay) {
  Delays d;
  d.shedding.set_queue_delay(200);
  d.read(50'001, DelayShedding::kStandingMs + 100);
  d.read(200'000);
  EXPECT_EQ(d.shares(), (Shares{kAll, 0, 0}));
  d.read(300'000);
  EXPECT_EQ(d.shares(), (Shares{kAll, kMost / 2, 0}));
  d.read(10'000'000);
  EXPECT_EQ(d.shares(), (Shares{kAll, kAll, kAll / 3}));
}

TEST(DelayShedding, WithoutAQueueDelayNothingIsShed) {
  Delays d;
  d.stand();
  d.read(1'000'000);
  EXPECT_EQ(d.shares(), (Shares{kAll, kAll, kAll / 3}));
  d.shedding.set_queue_delay(0);
  EXPECT_EQ(d.shares(), (Shares{0, 0, 0})) << "at once";
  d.read(3'600'000'000, 1000);
  EXPECT_EQ(d.shares(), (Shares{0, 0, 0}));
  EXPECT_EQ(d.shedding.take_longest_ms(), 0u);
}

// Readings are as far apart as the delay is long, also of seconds.
TEST(DelayShedding, ADelayOfSecondsCounts) {
  Delays d;
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(d.shares(), (Shares{0, 0, 0})) << i;
    for (int timer = 0; timer < 8; ++timer) d.shedding.pass(d.now_ms += 250);
    d.shedding.reading(d.now_ms, 2'000'000);
  }
  EXPECT_EQ(d.shares(), (Shares{kAll, kAll, kAll}));
  for (int timer = 0; timer < 8; ++timer) d.shedding.pass(d.now_ms += 250);
  EXPECT_EQ(d.shares(), (Shares{kAll, kAll, kAll})) << "while the next one is under way";
  d.shedding.reading(d.now_ms, 2'000'000);
  d.shedding.reading(d.now_ms += 30, 30'000);
  EXPECT_EQ(d.shares(), (Shares{kAll, kMost / 2, 0}));
}

// Work comes at `load` times what can be done; a cycle of the loop does what came during the one before. Part of what
// can be done that is served, and the longest cycle, when it has come to rest.
struct Rest {
  double served, longest_us;
};
Rest come_to_rest(double load, double refusal_costs) {
  Delays d;
  double cycle_us = 1000, now_us = 1e9, served = 0, longest = 0, begun = 0;
  while (now_us < 1e9 + 40e6) {
    now_us += cycle_us;
    d.shedding.reading(static_cast<uint64_t>(now_us / 1000), static_cast<uint64_t>(cycle_us));
    const double came = load * cycle_us, share = static_cast<double>(d.shedding.share(Priority::standard)) / kAll;
    if (now_us > 1e9 + 10e6) {
      if (begun == 0) begun = now_us;
      served += came * (1 - share);
      longest = std::max(longest, cycle_us);
    }
    cycle_us = std::max(1000.0, came * ((1 - share) + share * refusal_costs));
  }
  return {served / (now_us - begun), longest};
}

TEST(DelayShedding, TwiceWhatCanBeDoneRestsWithinTheFirstBand) {
  for (const double costs : {0.02, 0.1, 0.15}) {
    for (const double load : {1.2, 1.6, 2.0}) {
      const Rest rest = come_to_rest(load, costs);
      EXPECT_GT(rest.served, 0.95 * (1 - load * costs) / (1 - costs)) << load << ' ' << costs;
      EXPECT_LT(rest.longest_us, load * static_cast<double>(kStandard.most_at)) << load << ' ' << costs;
    }
  }
}

TEST(DelayShedding, MuchMoreIsShedAtLongerDelays) {
  for (const double load : {4.0, 8.0}) {
    const Rest rest = come_to_rest(load, 0.05);
    EXPECT_GT(rest.served, 0.7 * (1 - load * 0.05) / 0.95) << load;
    EXPECT_LT(rest.longest_us, load * static_cast<double>(kStandard.whole)) << load;
  }
}

}  // namespace
}  // namespace sluice::worker
