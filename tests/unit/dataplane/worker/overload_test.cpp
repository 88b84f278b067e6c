#include "dataplane/worker/overload.h"

#include <gtest/gtest.h>

namespace sluice::worker {
namespace {

constexpr uint64_t kLimit = 1'000'000'000'000;  // a batch's share of it is nothing

// Readings a quarter of a second apart.
struct Readings {
  Overload overload;
  Load load{.now_ms = 1000, .memory = {.limit = kLimit, .used = 0, .clients = kLimit}};

  Readings() { overload.set_queue_delay(20); }
  bool read() {
    load.now_ms += 250;
    return overload.update(load);
  }
  void memory(uint64_t per_thousand) {
    load.memory.used = kLimit / 1000 * per_thousand;
    read();
  }
  // Readings of the delay, each 10 ms, and the others as ever.
  void delayed(uint64_t delay_us, int for_ms) {
    for (int i = 0; i < for_ms / 10; ++i) {
      load.now_ms += 10;
      overload.waited(load.now_ms, delay_us);
      if (i % 25 == 24) overload.update(load);
    }
  }
  [[nodiscard]] Level level(Resource resource = Resource::memory) const { return overload.level(resource); }
  [[nodiscard]] int shed_of(Priority priority, int requests) {
    int shed = 0;
    for (int i = 0; i < requests; ++i) shed += overload.sheds(priority);
    return shed;
  }
  // How many classes of requests are shed.
  [[nodiscard]] int shed() {
    return overload.sheds(Priority::sheddable) + overload.sheds(Priority::standard) +
           overload.sheds(Priority::critical);
  }
};

TEST(Overload, NothingIsDoneInQuietTimes) {
  Readings r;
  for (const uint64_t part : {0, 500, 800, 849}) {
    r.memory(part);
    EXPECT_EQ(r.level(), Level::normal) << part;
  }
  EXPECT_FALSE(r.overload.ends_keep_alive());
  EXPECT_EQ(r.shed(), 0);
  EXPECT_FALSE(r.overload.refuses());
  EXPECT_EQ(r.overload.excess(), 0u);
}

TEST(Overload, WhatCostsClientsLeastComesFirst) {
  const struct {
    uint64_t part;
    Level level;
    bool ends, refuses, resets;
    int shed;
  } kRows[] = {{850, Level::no_keep_alive, true, false, false, 0}, {880, Level::shed_sheddable, true, false, false, 1},
               {910, Level::shed_standard, true, false, false, 2}, {940, Level::refuse, true, true, false, 2},
               {970, Level::reset, true, true, true, 3},           {1000, Level::reset, true, true, true, 3}};
  Readings r;
  for (const auto& row : kRows) {
    r.memory(row.part);
    EXPECT_EQ(r.level(), row.level) << row.part;
    EXPECT_EQ(r.overload.ends_keep_alive(), row.ends) << row.part;
    EXPECT_EQ(r.overload.refuses(), row.refuses) << row.part;
    EXPECT_EQ(r.overload.excess() != 0, row.resets) << row.part;
    EXPECT_EQ(r.shed(), row.shed) << row.part;
  }
}

TEST(Overload, CriticalRequestsAreShedLast) {
  Readings r;
  r.memory(960);
  EXPECT_TRUE(r.overload.sheds(Priority::sheddable));
  EXPECT_TRUE(r.overload.sheds(Priority::standard));
  EXPECT_FALSE(r.overload.sheds(Priority::critical));
}

TEST(Overload, UpAtOnceDownOneLevelASecond) {
  Readings r;
  r.memory(975);
  EXPECT_EQ(r.level(), Level::reset) << "however far";
  std::vector<Level> seen;
  for (int i = 0; i < 40; ++i) {
    r.memory(100);
    if (seen.empty() || seen.back() != r.level()) seen.push_back(r.level());
  }
  EXPECT_EQ(seen, (std::vector{Level::reset, Level::refuse, Level::shed_standard, Level::shed_sheddable,
                               Level::no_keep_alive, Level::normal}));
}

TEST(Overload, AFigureBesideAThresholdChangesNothing) {
  Readings r;
  r.memory(912);
  ASSERT_EQ(r.level(), Level::shed_standard);
  for (int i = 0; i < 100; ++i) r.memory(i % 2 == 0 ? 905 : 915);
  EXPECT_EQ(r.level(), Level::shed_standard);
  // Below for less than a second, again and again.
  for (int i = 0; i < 100; ++i) r.memory(i % 4 == 3 ? 870 : 500);
  EXPECT_EQ(r.level(), Level::shed_standard);
  EXPECT_FALSE(r.read()) << "told only when it changes";
}

TEST(Overload, BytesToFreeLeadBelowTheLevel) {
  Readings r;
  r.memory(980);
  EXPECT_EQ(r.overload.excess(), kLimit / 1000 * 180 + Overload::kBatchBytes);
  r.memory(930);
  EXPECT_EQ(r.level(), Level::reset);
  EXPECT_EQ(r.overload.excess(), kLimit / 1000 * 130 + Overload::kBatchBytes);
  r.memory(799);
  EXPECT_EQ(r.overload.excess(), 0u) << "no more than is needed";
}

TEST(Overload, NobodyIsRefusedForLongForThoseWhoHoldMemory) {
  Readings r;
  for (int i = 0; i < 20; ++i) {
    r.memory(945);
    EXPECT_EQ(r.overload.excess(), 0u);
  }
  r.memory(945);
  EXPECT_EQ(r.level(), Level::refuse);
  EXPECT_EQ(r.overload.excess(), kLimit / 1000 * 145 + Overload::kBatchBytes);
}

TEST(Overload, ASmallLimitLeavesRoomForABatch) {
  Readings r;
  r.load.memory = {.limit = 160 << 20, .used = 128 << 20, .clients = 128 << 20};  // 80 %, and a sixteenth
  r.read();
  EXPECT_EQ(r.level(), Level::no_keep_alive);
  r.load.memory.used = 146 << 20;
  r.read();
  EXPECT_EQ(r.level(), Level::reset);
}

TEST(Overload, WithoutALimitThereIsNoPressure) {
  Readings r;
  r.load.memory = {.limit = 0, .used = kLimit, .clients = kLimit};
  r.read();
  EXPECT_EQ(r.level(), Level::normal);
}

TEST(Overload, MemoryThatOthersFillIsNotOurOverload) {
  Readings r;
  r.load.memory.clients = kLimit / 10;
  r.memory(990);
  EXPECT_EQ(r.level(), Level::normal);
  r.load.memory.clients = kLimit / 2;
  r.memory(990);
  EXPECT_EQ(r.level(), Level::reset);
}

TEST(Overload, ConnectionsOnlyEndKeepAlive) {
  Readings r;
  r.load.connections_limit = 1000;
  r.load.connections = 899;
  r.read();
  EXPECT_EQ(r.level(Resource::connections), Level::normal);
  r.load.connections = 1256;
  r.read();
  EXPECT_EQ(r.level(Resource::connections), Level::no_keep_alive);
  EXPECT_TRUE(r.overload.ends_keep_alive());
  EXPECT_EQ(r.shed(), 0);
  EXPECT_FALSE(r.overload.refuses());
  r.load.connections = 100;
  for (int i = 0; i < 8; ++i) r.read();
  EXPECT_FALSE(r.overload.ends_keep_alive());
  r.load.descriptors_limit = 100;
  r.load.descriptors = 95;
  r.read();
  EXPECT_TRUE(r.overload.ends_keep_alive()) << "descriptors, too";
}

TEST(Overload, DelayShedsAndKeepsConnections) {
  Readings r;
  r.delayed(15'000, 1000);
  EXPECT_EQ(r.level(Resource::delay), Level::shed_sheddable);
  EXPECT_EQ(r.overload.delay_ms(), 15u);
  r.delayed(500'000, 1000);
  EXPECT_EQ(r.level(Resource::delay), Level::shed_standard);
  EXPECT_EQ(r.shed(), 2);
  EXPECT_FALSE(r.overload.ends_keep_alive());
  EXPECT_FALSE(r.overload.refuses());
  EXPECT_FALSE(r.overload.sheds(Priority::critical));
  r.delayed(0, 3000);
  EXPECT_EQ(r.shed(), 0);
  EXPECT_EQ(r.level(Resource::delay), Level::normal);
}

TEST(Overload, ADelayedBurstIsNoOverload) {
  Readings r;
  for (int i = 0; i < 40; ++i) {
    r.delayed(5'000'000, 200);
    EXPECT_EQ(r.shed(), 0);
    r.delayed(1'000, 20);
  }
  EXPECT_EQ(r.level(Resource::delay), Level::normal);
  EXPECT_EQ(r.overload.delay_ms(), 0u);
}

TEST(Overload, TheWorstOfAllDecides) {
  Readings r;
  r.delayed(25'000, 1000);
  r.memory(885);
  EXPECT_EQ(r.level(), Level::shed_sheddable);
  EXPECT_EQ(r.level(Resource::delay), Level::shed_standard);
  EXPECT_EQ(r.shed_of(Priority::sheddable, 1000), 1000);
  EXPECT_NEAR(r.shed_of(Priority::standard, 1000), 1000 * 5 / 8 / 4, 1) << "a quarter of its band, by the delay alone";
}

TEST(HeldSizes, TheLargestAreFound) {
  HeldSizes sizes;
  EXPECT_EQ(sizes.at_least(1), 0u);
  sizes.note(HeldSizes::kLeast - 1);
  EXPECT_EQ(sizes.at_least(1), 0u) << "not worth it";
  for (int i = 0; i < 100; ++i) sizes.note(20'000);
  sizes.note(5'000'000);
  EXPECT_LE(sizes.at_least(1'000'000), 5'000'000u);
  EXPECT_GT(sizes.at_least(1'000'000), 1'000'000u) << "the small ones stay";
  const size_t both = sizes.at_least(6'000'000);
  EXPECT_LE(both, 20'000u);
  EXPECT_GE(both, HeldSizes::kLeast);
  EXPECT_EQ(sizes.at_least(~uint64_t{0}), both) << "as much as there is";
}

}  // namespace
}  // namespace sluice::worker
