#include <gtest/gtest.h>

#include "dataplane/http/h2/flood_guard.h"

namespace sluice::http::h2 {
namespace {

int notes_until_empty(FloodGuard& guard, Glitch glitch, uint64_t now_ms) {
  int count = 0;
  while (count < 100000 && guard.note(glitch, now_ms)) ++count;
  return count;
}

TEST(FloodGuard, WhatEachCosts) {
  struct {
    Glitch glitch;
    int cost;
  } const cases[] = {
      {Glitch::reset_by_peer, 20}, {Glitch::reset_for_peer, 20}, {Glitch::ping, 4},       {Glitch::settings, 8},
      {Glitch::priority, 2},       {Glitch::window_update, 1},   {Glitch::empty_data, 4}, {Glitch::large_header, 20},
      {Glitch::unknown_frame, 2},  {Glitch::continuation, 4},
  };
  EXPECT_EQ(std::size(cases), static_cast<size_t>(Glitch::kCount));
  for (const auto& of : cases) {
    FloodGuard guard(FloodLimits{4000, 200, 0});
    EXPECT_EQ(notes_until_empty(guard, of.glitch, 0), 4000 / of.cost) << static_cast<int>(of.glitch);
    EXPECT_EQ(guard.seen(), 4000u / static_cast<unsigned>(of.cost) + 1);
  }
}

TEST(FloodGuard, TimeGivesPointsBack) {
  FloodGuard guard(FloodLimits{100, 10, 0});
  EXPECT_EQ(notes_until_empty(guard, Glitch::reset_by_peer, 1000), 5);
  EXPECT_FALSE(guard.note(Glitch::reset_by_peer, 2999));  // 19 points
  EXPECT_TRUE(guard.note(Glitch::reset_by_peer, 3000));
  EXPECT_FALSE(guard.note(Glitch::window_update, 3000));
  // Never more than at the beginning.
  EXPECT_EQ(notes_until_empty(guard, Glitch::reset_by_peer, 1000 * 1000), 5);
}

TEST(FloodGuard, FractionsOfAPointAreNotLost) {
  FloodGuard guard(FloodLimits{1000, 200, 0});
  EXPECT_EQ(notes_until_empty(guard, Glitch::window_update, 1), 1000);
  int good = 0;
  for (uint64_t now = 1; now <= 1 + 9 * 1000; now += 9) good += guard.note(Glitch::window_update, now);
  // 9 s at 200 a second, of which 1001 were asked for.
  EXPECT_EQ(good, 1000);
  EXPECT_EQ(notes_until_empty(guard, Glitch::window_update, 9001), 800);
}

TEST(FloodGuard, AClockThatGoesBackGivesNothing) {
  FloodGuard guard(FloodLimits{100, 10, 0});
  EXPECT_EQ(notes_until_empty(guard, Glitch::reset_by_peer, 5000), 5);
  EXPECT_FALSE(guard.note(Glitch::window_update, 4000));
  EXPECT_FALSE(guard.note(Glitch::window_update, 5000));
}

TEST(FloodGuard, WorkGivesPointsBack) {
  FloodGuard guard(FloodLimits{100, 0, 0});
  EXPECT_EQ(notes_until_empty(guard, Glitch::reset_by_peer, 0), 5);
  guard.stream_finished();
  guard.stream_finished();
  EXPECT_EQ(notes_until_empty(guard, Glitch::reset_by_peer, 0), 1);
  for (int i = 0; i < 10; ++i) guard.data_moved();
  EXPECT_EQ(notes_until_empty(guard, Glitch::reset_by_peer, 0), 1);
  for (int i = 0; i < 1000; ++i) guard.stream_finished();
  EXPECT_EQ(notes_until_empty(guard, Glitch::reset_by_peer, 0), 5);
}

}  // namespace
}  // namespace sluice::http::h2
