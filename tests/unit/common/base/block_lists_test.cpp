// Freed blocks by size: whole, apart, used again, given back beyond the bound.
#include "common/base/block_lists.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace sluice {
namespace {

TEST(BlockLists, EachSizeHasAClassThatHoldsIt) {
  for (size_t size = 1; size <= BlockSizes::kLargest + BlockSizes::kOdd; ++size) {
    const unsigned size_class = BlockSizes::class_of(size);
    ASSERT_LT(size_class, BlockSizes::kOwn) << size;
    ASSERT_GE(BlockSizes::size_of(size_class), size);
    ASSERT_TRUE(size_class == 0 || BlockSizes::size_of(size_class - 1) < size) << size << ": the smallest";
    if (size < BlockSizes::size_of(0)) continue;  // malloc makes none so small
    const unsigned within = BlockSizes::class_within(size);
    ASSERT_LE(BlockSizes::size_of(within), size) << "what comes back is never taken for more than it is";
    ASSERT_TRUE(within == size_class || within + 1 == size_class) << size;
  }
  EXPECT_EQ(BlockSizes::class_of(BlockSizes::kLargest + BlockSizes::kOdd + 1), BlockSizes::kOwn);
  EXPECT_EQ(BlockSizes::class_of(SIZE_MAX), BlockSizes::kOwn);
  EXPECT_EQ(BlockSizes::class_within(1'000'000), BlockSizes::kOwn);
}

// What is kept at the end is lost, and sanitizers say so: nothing uses the lists under them.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(BlockLists, WhatIsGivenBackIsTakenAgain) {
  BlockLists lists(size_t{64} << 20u);
  std::set<void*> blocks;
  for (size_t size = 1; size < 40'000; size += 97) {
    void* const block = lists.take(size);
    ASSERT_NE(block, nullptr);
    std::memset(block, 'x', size);
    EXPECT_TRUE(blocks.insert(block).second);
  }
  EXPECT_EQ(lists.figures().mallocs, blocks.size());
  for (void* block : blocks) lists.give(block);
  const size_t kept = lists.figures().kept;
  EXPECT_GT(kept, 0u);
  const uint64_t mallocs = lists.figures().mallocs;
  void* const again = lists.take(971);
  EXPECT_EQ(lists.figures().mallocs, mallocs);
  EXPECT_LT(lists.figures().kept, kept);
  EXPECT_TRUE(blocks.contains(again));
  lists.give(again);
  EXPECT_EQ(lists.figures().kept, kept);
  lists.give(nullptr);
  EXPECT_EQ(lists.take(0), nullptr);
}

TEST(BlockLists, KeepsNoMoreThanItsBound) {
  BlockLists lists(100'000);
  std::vector<void*> blocks;
  for (int i = 0; i < 1000; ++i) blocks.push_back(lists.take(1000));
  for (void* block : blocks) lists.give(block);
  EXPECT_GE(lists.figures().kept, 100'000u);
  EXPECT_LT(lists.figures().kept, 102'000u);
  void* const own = lists.take(100'000);
  lists.give(own);
  EXPECT_LT(lists.figures().kept, 102'000u) << "larger than any list has";
}

TEST(BlockLists, SizesChangeAndContentsStay) {
  BlockLists lists(1 << 20);
  auto* block = static_cast<char*>(lists.resize(nullptr, 10));
  size_t size = 10;
  std::memset(block, 'a', size);
  for (const size_t next : {11, 500, 40'000, 90'000, 33'000, 20'000, 10}) {
    block = static_cast<char*>(lists.resize(block, next));
    ASSERT_NE(block, nullptr);
    for (size_t i = 0; i < std::min(size, next); ++i) ASSERT_EQ(block[i], 'a') << size << " to " << next;
    std::memset(block, 'a', next);
    size = next;
  }
  EXPECT_EQ(lists.resize(block, SIZE_MAX - 100), nullptr);
  EXPECT_EQ(block[9], 'a') << "and the block is still there";
  EXPECT_EQ(lists.resize(block, 0), nullptr);
}
#endif

}  // namespace
}  // namespace sluice
