#include <gtest/gtest.h>

#include "dataplane/http/h2/stream_history.h"

namespace sluice::http::h2 {
namespace {

TEST(StreamHistory, NothingYet) {
  const StreamHistory history;
  EXPECT_TRUE(history.is_new(1));
  EXPECT_TRUE(history.is_new(INT32_MAX));
}

TEST(StreamHistory, OpenedAndPassedOver) {
  StreamHistory history;
  history.opened(1);
  history.opened(7);
  for (const int32_t id : {1, 7}) {
    EXPECT_FALSE(history.is_new(id)) << id;
    EXPECT_TRUE(history.was_opened(id)) << id;
    EXPECT_FALSE(history.was_reset(id)) << id;
  }
  for (const int32_t id : {3, 5}) {
    EXPECT_FALSE(history.is_new(id)) << id;
    EXPECT_FALSE(history.was_opened(id)) << id;
    EXPECT_FALSE(history.was_reset(id)) << id;
  }
  EXPECT_TRUE(history.is_new(9));
}

TEST(StreamHistory, Reset) {
  StreamHistory history;
  history.opened(1);
  history.opened(3);
  history.reset(1);
  EXPECT_TRUE(history.was_reset(1));
  EXPECT_FALSE(history.was_reset(3));
  history.opened(5);
  EXPECT_TRUE(history.was_reset(1));
  EXPECT_FALSE(history.was_reset(5));
}

// Refused before it was opened, as beyond the peer's number of streams: later ones do not make that forgotten.
TEST(StreamHistory, ResetWithoutHavingBeenOpened) {
  StreamHistory history;
  history.opened(1);
  history.reset(5);
  EXPECT_FALSE(history.is_new(5));
  EXPECT_TRUE(history.was_reset(5));
  EXPECT_FALSE(history.was_opened(3));
  history.opened(9);
  EXPECT_TRUE(history.was_reset(5));
  EXPECT_FALSE(history.was_reset(7));
  EXPECT_FALSE(history.was_reset(9));
}

TEST(StreamHistory, AgainIsNotNew) {
  StreamHistory history;
  history.opened(5);
  history.reset(5);
  history.opened(3);
  history.opened(5);
  EXPECT_TRUE(history.was_reset(5));
  EXPECT_FALSE(history.was_opened(3));
}

// What is too old for a bit: nobody can say whether we ended it, so frames on it are taken as still under way.
TEST(StreamHistory, TheOldest) {
  StreamHistory history;
  for (int32_t id = 1; id <= 2 * 256 - 1; id += 2) history.opened(id);
  EXPECT_TRUE(history.was_opened(1));
  EXPECT_FALSE(history.was_reset(1));
  history.opened(513);
  EXPECT_TRUE(history.was_opened(1));
  EXPECT_TRUE(history.was_reset(1));
  EXPECT_FALSE(history.was_reset(3));
  history.reset(1);  // its bit is another stream's by now
  EXPECT_FALSE(history.was_reset(513));
}

TEST(StreamHistory, AStepOverAllThatIsKept) {
  for (const int32_t step : {2 * 255, 2 * 256, 2 * 257, 2 * 1000}) {
    StreamHistory history;
    for (int32_t id = 1; id < 600; id += 2) {
      history.opened(id);
      history.reset(id);
    }
    const int32_t last = 599 + step;
    history.opened(last);
    for (int32_t id = last - 2 * 255; id < last; id += 2) {
      EXPECT_EQ(history.was_opened(id), id <= 599) << step << ' ' << id;
      EXPECT_EQ(history.was_reset(id), id <= 599) << step << ' ' << id;
    }
    EXPECT_FALSE(history.was_reset(last));
  }
}

TEST(StreamHistory, TheLastNumber) {
  StreamHistory history;
  history.opened(INT32_MAX);
  EXPECT_FALSE(history.is_new(INT32_MAX));
  EXPECT_FALSE(history.was_opened(INT32_MAX - 2));
  history.reset(INT32_MAX);
  EXPECT_TRUE(history.was_reset(INT32_MAX));
}

}  // namespace
}  // namespace sluice::http::h2
