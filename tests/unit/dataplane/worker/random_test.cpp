#include "dataplane/worker/random.h"

#include <set>
#include <string>

#include <gtest/gtest.h>

#include "dataplane/worker/date.h"

namespace sluice::worker {
namespace {

TEST(Random, IdsAreHexAndDiffer) {
  Random random;
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    char id[32];
    random.write_id(id);
    const std::string text(id, sizeof id);
    EXPECT_EQ(text.find_first_not_of("0123456789abcdef"), std::string::npos);
    seen.insert(text);
  }
  EXPECT_EQ(seen.size(), 1000u);
}

TEST(Random, BelowStaysBelowAndReachesAll) {
  Random random({1, 2, 3, 4});
  int hits[5] = {};
  for (int i = 0; i < 5000; ++i) ++hits[random.below(5)];
  for (const int count : hits) EXPECT_GT(count, 700);
}

TEST(Date, IsAnImfFixdate) {
  Date date;
  const std::string_view text = date.text(1000);
  ASSERT_EQ(text.size(), 29u);
  EXPECT_EQ(text.substr(3, 2), ", ");
  EXPECT_EQ(text.substr(25), " GMT");
  EXPECT_EQ(date.text(1001), text);
}

}  // namespace
}  // namespace sluice::worker
