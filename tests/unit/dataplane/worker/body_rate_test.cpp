#include "dataplane/worker/body_rate.h"

#include <gtest/gtest.h>

namespace sluice::worker {
namespace {

constexpr uint64_t kGrace = BodyRate::kGraceMs;

TEST(BodyRate, WithoutALimitOrATurnThereIsNoDeadline) {
  BodyRate rate;
  EXPECT_EQ(rate.deadline(1000), 0u);
  rate.run(true, 10'000);
  EXPECT_EQ(rate.deadline(0), 0u);
  rate.run(false, 11'000);
  EXPECT_EQ(rate.deadline(1000), 0u);
}

TEST(BodyRate, EachByteBuysItsTime) {
  BodyRate rate;
  rate.run(true, 10'000);
  EXPECT_EQ(rate.deadline(1000), 10'000 + kGrace);
  rate.came(1);
  EXPECT_EQ(rate.deadline(1000), 10'001 + kGrace);
  rate.came(2999);
  EXPECT_EQ(rate.deadline(1000), 13'000 + kGrace);
  EXPECT_EQ(rate.deadline(1500), 12'000 + kGrace);
}

TEST(BodyRate, TimeInWhichWeDoNotReadIsNotTheClients) {
  BodyRate rate;
  rate.run(true, 10'000);
  rate.run(true, 11'000);
  rate.run(false, 12'000);
  rate.run(false, 13'000);
  rate.run(true, 100'000);
  EXPECT_EQ(rate.deadline(1000), 98'000 + kGrace) << "two seconds had gone by";
  rate.run(false, 100'500);
  rate.run(true, 200'000);
  EXPECT_EQ(rate.deadline(1000), 197'500 + kGrace);
}

TEST(BodyRate, LargeBodiesDoNotOverflow) {
  BodyRate rate;
  rate.run(true, 10'000);
  rate.came(size_t{1} << 60);
  EXPECT_GT(rate.deadline(1), uint64_t{1} << 60);
  EXPECT_GT(rate.deadline(0xffffffffu), 10'000u);
}

}  // namespace
}  // namespace sluice::worker
