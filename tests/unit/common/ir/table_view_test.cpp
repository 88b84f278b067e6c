#include "common/ir/table_view.h"

#include <bit>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/common/ir/sharded.h"

namespace sluice::ir {
namespace {

TEST(ShardCount, FollowsTheLongerList) {
  EXPECT_EQ(shard_count(0, 0), 0u);
  EXPECT_EQ(shard_count(kShardAbove, kShardAbove), 0u);
  EXPECT_EQ(shard_count(kShardAbove + 1, 0), 4u);
  EXPECT_EQ(shard_count(0, kShardAbove + 1), 4u);
  EXPECT_EQ(shard_count(10'000, 10'000), 64u);
  EXPECT_EQ(shard_count(1'000'000, 1), kMaxShards);
  for (size_t hosts = 0; hosts < 100'000; hosts += 97) {
    const size_t count = shard_count(hosts, 0);
    EXPECT_TRUE(count == 0 || (std::has_single_bit(count) && count >= 4 && count <= kMaxShards)) << hosts;
  }
}

// Both planes, and the files on disk, have to agree: another function is another schema version.
TEST(ShardOf, IsAFixedFunctionOfTheName) {
  EXPECT_EQ(shard_of("a.example.com", 128), 44u);
  EXPECT_EQ(shard_of("*.example.com", 128), 27u);
  EXPECT_EQ(shard_of("ns/web/80", 128), 55u);
  EXPECT_EQ(shard_of("a.example.com", 4), 44u % 4);
  std::vector<size_t> sizes(64);
  for (int i = 0; i < 10'000; ++i) ++sizes[shard_of("host-" + std::to_string(i) + ".example.com", 64)];
  for (const size_t size : sizes) EXPECT_TRUE(size > 80 && size < 260) << size;
}

TEST(TableView, FindsInTheHeadOrInShards) {
  std::vector<std::string> names;
  for (int i = 0; i < 50; ++i) names.push_back("n" + std::to_string(i));
  for (const size_t shards : {size_t{0}, size_t{4}, size_t{16}}) {
    const Sharded table(names, shards);
    const TableView view = table.view();
    EXPECT_EQ(view.lists().size(), std::max<size_t>(shards, 1));
    EXPECT_EQ(view.host_count(), names.size());
    for (const std::string& name : names) {
      ASSERT_NE(view.host(name), nullptr) << name;
      EXPECT_EQ(view.host(name)->host()->str(), name);
      ASSERT_NE(view.cluster(name), nullptr) << name;
      EXPECT_EQ(view.cluster(name)->name()->str(), name);
      ASSERT_NE(view.tls_host(name), nullptr) << name;
      EXPECT_EQ(view.tls_host(name)->certificate()->str(), name);
    }
    for (const char* absent : {"", "n", "n500", "zz"}) {
      EXPECT_EQ(view.host(absent), nullptr) << absent;
      EXPECT_EQ(view.cluster(absent), nullptr) << absent;
      EXPECT_EQ(view.tls_host(absent), nullptr) << absent;
    }
  }
}

TEST(TableView, OfNothingHasNothing) {
  const TableView none;
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.host("a"), nullptr);
  EXPECT_EQ(none.cluster("a"), nullptr);
  EXPECT_EQ(none.tls_host("a"), nullptr);
  EXPECT_EQ(none.host_count(), 0u);
}

}  // namespace
}  // namespace sluice::ir
