#include "dataplane/shared/worker_loads.h"

#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

namespace sluice::shared {
namespace {
constexpr uint64_t kNow = 1'000'000;

struct WorkerLoadsTest : ::testing::Test {
  UniqueFd memory = WorkerLoads::make().value();
  WorkerLoads loads = WorkerLoads::map(memory.get()).value();

  void have(const std::vector<size_t>& connections, uint64_t at = kNow) {
    for (unsigned i = 0; i < connections.size(); ++i) loads.publish(i, connections[i], true, at);
  }
};

TEST_F(WorkerLoadsTest, OneIsKeptUnlessAnotherHasFewer) {
  have({3, 3, 3});
  EXPECT_EQ(loads.claim(1, 3, kNow), 1u);
  have({4, 3, 5});
  EXPECT_EQ(loads.claim(1, 3, kNow), 1u);
  EXPECT_EQ(loads.coming(0) + loads.coming(1) + loads.coming(2), 0) << "nothing is claimed of oneself";
  have({2, 3, 1});
  EXPECT_EQ(loads.claim(1, 3, kNow), 2u);
  EXPECT_EQ(loads.coming(2), 1);
  EXPECT_EQ(loads.load(2), 2u);
}

TEST_F(WorkerLoadsTest, WhatIsOnItsWayCounts) {
  have({8, 0, 0, 0});
  std::vector<unsigned> given(4, 0);
  for (int i = 0; i < 24; ++i) ++given[loads.claim(0, 4, kNow)];  // nobody has taken anything yet
  EXPECT_EQ(given, (std::vector<unsigned>{0, 8, 8, 8}));
  EXPECT_EQ(loads.claim(0, 4, kNow), 0u) << "all have eight";
  loads.publish(3, 8, true, kNow);
  for (int i = 0; i < 8; ++i) loads.release(3);
  EXPECT_EQ(loads.load(3), 8u) << "taken: neither forgotten nor counted twice";
}

TEST_F(WorkerLoadsTest, WhoTakesNothingIsPassedOver) {
  have({5, 0, 0});
  loads.publish(1, 0, false, kNow);
  EXPECT_EQ(loads.claim(0, 3, kNow), 2u);
  loads.clear(2);
  EXPECT_EQ(loads.claim(0, 3, kNow), 0u) << "the one is gone, the other does not take";
  EXPECT_EQ(loads.coming(2), 1) << "what was sent to it waits for its successor";
  EXPECT_EQ(loads.claim(0, 1, kNow), 0u) << "nobody beside";
  loads.publish(1, 0, true, kNow - WorkerLoads::kFreshMs);
  EXPECT_EQ(loads.claim(0, 3, kNow), 0u) << "it hangs";
  loads.publish(1, 0, true, kNow - WorkerLoads::kFreshMs + 1);
  EXPECT_EQ(loads.claim(0, 3, kNow), 1u);
}

TEST_F(WorkerLoadsTest, EachBeginsAtAnotherPlace) {
  have({9, 0, 9, 0});
  EXPECT_EQ(loads.claim(0, 4, kNow), 1u);
  loads.settle(1);
  EXPECT_EQ(loads.claim(2, 4, kNow), 3u);
}

TEST_F(WorkerLoadsTest, ADroppedClaimDoesNoHarm) {
  have({5, 0});
  EXPECT_EQ(loads.claim(0, 2, kNow), 1u);
  loads.settle(1);
  loads.release(1);
  EXPECT_EQ(loads.coming(1), -1);
  EXPECT_EQ(loads.load(1), 0u) << "never below nothing";
  loads.settle(1);
  EXPECT_EQ(loads.coming(1), 0);
}

// All choose at once, from mappings of their own.
TEST_F(WorkerLoadsTest, ManyWhoChooseAtOnceSpreadEvenly) {
  constexpr unsigned kWorkers = 4, kEach = 5000;
  have({kEach, kEach, kEach, kEach, 0, 0, 0, 0});
  std::vector<std::thread> threads;
  for (unsigned own = 0; own < kWorkers; ++own) {
    threads.emplace_back([&, own] {
      WorkerLoads mine = WorkerLoads::map(memory.get()).value();
      for (unsigned i = 0; i < kEach; ++i) (void)mine.claim(own, 2 * kWorkers, kNow);
    });
  }
  for (std::thread& thread : threads) thread.join();
  uint64_t sum = 0, least = UINT64_MAX, most = 0;
  for (unsigned i = kWorkers; i < 2 * kWorkers; ++i) {
    sum += loads.load(i);
    least = std::min(least, loads.load(i));
    most = std::max(most, loads.load(i));
  }
  EXPECT_LE(sum, uint64_t{kWorkers} * kEach);
  EXPECT_LE(most - least, kWorkers) << "one for each who chooses at the same moment";
}

TEST_F(WorkerLoadsTest, OtherMemoryIsRefused) {
  const UniqueFd small(memfd_create("small", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(small.get(), 64), 0);
  EXPECT_FALSE(WorkerLoads::map(small.get()));
  EXPECT_FALSE(WorkerLoads::map(-1));
  EXPECT_NE(ftruncate(memory.get(), 0), 0) << "sealed";
}

}  // namespace
}  // namespace sluice::shared
