#include "common/base/arena.h"

#include <gtest/gtest.h>

#include <random>

namespace sluice {
namespace {

TEST(Arena, AlignsAndKeepsApart) {
  ChunkPool pool;
  Arena arena(pool);
  std::mt19937 random(7);
  struct Block {
    unsigned char* at;
    size_t size;
    unsigned char fill;
  };
  std::vector<Block> blocks;
  for (int i = 0; i < 2000; ++i) {
    const size_t size = random() % (i % 50 == 0 ? 9000 : 200);
    const size_t align = size_t{1} << (random() % 5);
    auto* at = static_cast<unsigned char*>(arena.allocate(size, align));
    ASSERT_NE(at, nullptr);
    ASSERT_EQ(reinterpret_cast<uintptr_t>(at) % align, 0u);
    std::memset(at, i & 0xFF, size);
    blocks.push_back({at, size, static_cast<unsigned char>(i)});
  }
  for (const Block& block : blocks) {
    for (size_t k = 0; k < block.size; ++k) ASSERT_EQ(block.at[k], block.fill);
  }
}

TEST(Arena, ShrinksToWhatIsKept) {
  ChunkPool pool;
  Arena arena(pool);
  for (int i = 0; i < 3; ++i) arena.allocate(3000);
  arena.allocate(10'000);
  const std::string_view before = arena.copy("kept");
  std::string_view after;
  arena.shrink_to(8, [&] { after = arena.copy(before); });
  EXPECT_EQ(after, "kept");
  EXPECT_GE(pool.idle(), 3u);
  EXPECT_LE(arena.held(), 32u);
  const size_t idle = pool.idle();
  arena.allocate(4, 1);
  EXPECT_EQ(pool.idle(), idle) << "there was room for it";
  arena.allocate(100);
  EXPECT_EQ(pool.idle(), idle - 1) << "and then a chunk";
  EXPECT_EQ(after, "kept");
  arena.reset();
  EXPECT_EQ(pool.idle(), idle);
}

TEST(Arena, SteadyStateTakesChunksFromThePool) {
  ChunkPool pool;
  Arena arena(pool);
  for (int i = 0; i < 10; ++i) arena.allocate(1000);
  arena.reset();
  const size_t idle = pool.idle();
  EXPECT_GE(idle, 3u);
  EXPECT_EQ(arena.held(), 0u);
  for (int round = 0; round < 100; ++round) {
    for (int i = 0; i < 10; ++i) arena.allocate(1000);
    arena.reset();
    ASSERT_EQ(pool.idle(), idle);
  }
}

TEST(Arena, ABigBlockDoesNotWasteTheChunk) {
  ChunkPool pool;
  Arena arena(pool);
  arena.allocate(100);
  const size_t one = arena.held();
  arena.allocate(10000);
  arena.allocate(100);
  EXPECT_EQ(arena.held() - one, 10000 + arena.held() - one - 10000);
  EXPECT_LT(arena.held(), one + 10000 + 200);
  arena.reset();
  EXPECT_EQ(pool.idle(), 1u);
}

TEST(Arena, CopyAndArray) {
  ChunkPool pool;
  Arena arena(pool);
  std::string text = "hello";
  const std::string_view copy = arena.copy(text);
  text = "xxxxx";
  EXPECT_EQ(copy, "hello");
  EXPECT_EQ(arena.copy("").size(), 0u);
  std::span<uint64_t> numbers = arena.array<uint64_t>(1000);
  numbers[999] = 5;
  EXPECT_EQ(reinterpret_cast<uintptr_t>(numbers.data()) % alignof(uint64_t), 0u);
  struct Pair {
    int a, b;
  };
  EXPECT_EQ(arena.make<Pair>(1, 2)->b, 2);
}

TEST(ChunkPool, KeepsABoundedNumber) {
  ChunkPool pool(2);
  void* chunks[4];
  for (void*& chunk : chunks) chunk = pool.take();
  for (void* chunk : chunks) pool.give(chunk);
  EXPECT_EQ(pool.idle(), 2u);
}

}  // namespace
}  // namespace sluice
