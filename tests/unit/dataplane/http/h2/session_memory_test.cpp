// nghttp2's memory: where the parts of a session lie, what is given back and when, and that the rest is malloc's.
#include "dataplane/http/h2/session_memory.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include <sys/mman.h>

#include "session_pair.h"

namespace sluice::http::h2 {
namespace {

#ifdef __SANITIZE_ADDRESS__
TEST(SessionMemory, SanitizersSeeEachBlock) {
  const auto before = SessionMemory::figures();
  Link link;
  EXPECT_EQ(SessionMemory::figures().blocks, before.blocks);
  EXPECT_EQ(SessionMemory::figures().placed, before.placed);
}
#else

constexpr size_t kPage = 4096;
constexpr size_t kSession = 2928, kFrames = 16'394, kEntries = 256, kEntry = 16;  // of nghttp2 1.52

bool in_memory(void* page) {
  unsigned char there = 0;
  EXPECT_EQ(::mincore(page, kPage, &there), 0);
  return (there & 1) != 0;
}
bool is_zero(const void* block, size_t size) {
  const auto* const bytes = static_cast<const char*>(block);
  return std::all_of(bytes, bytes + size, [](char byte) { return byte == 0; });
}
template <class T>
uintptr_t number(T* pointer) {
  return reinterpret_cast<uintptr_t>(pointer);
}

struct Parts {
  SessionMemory memory;
  nghttp2_mem hooks = memory.hooks();
  void* session = hooks.calloc(1, kSession, hooks.mem_user_data);
  void* frames = hooks.malloc(kFrames, hooks.mem_user_data);
  void* table = hooks.calloc(kEntries, kEntry, hooks.mem_user_data);
};

TEST(SessionMemory, ASessionTouchesOnePageAndItsTable) {
  Parts parts;
  EXPECT_EQ(number(parts.session) % kPage, 0u);
  EXPECT_EQ(number(parts.table) % kPage, 0u);
  EXPECT_EQ(number(parts.frames) / kPage, number(parts.session) / kPage) << "the buffer begins behind the session";
  EXPECT_GE(number(parts.frames), number(parts.session) + kSession);
  EXPECT_LE(number(parts.frames) + kFrames, number(parts.table));
  EXPECT_TRUE(is_zero(parts.session, kSession));
  EXPECT_TRUE(is_zero(parts.table, kEntries * kEntry));
  std::memset(parts.frames, 'f', kFrames);
  EXPECT_TRUE(is_zero(parts.session, kSession));
  EXPECT_TRUE(is_zero(parts.table, kEntries * kEntry));
}

// The library that is here asks for what has a place: with another one memory would only cost more.
TEST(SessionMemory, HasPlacesForWhatTheLibraryAsksFor) {
  const auto before = SessionMemory::figures();
  const End server(Role::server);
  EXPECT_EQ(SessionMemory::figures().placed, before.placed + 3);
}

TEST(SessionMemory, ZerosAreZerosEachTime) {
  Parts parts;
  void* const user = parts.hooks.mem_user_data;
  for (void** part : {&parts.session, &parts.table}) {
    const size_t size = part == &parts.session ? kSession : kEntries * kEntry;
    std::memset(*part, 'x', size);
    parts.hooks.free(*part, user);
    void* const again = parts.hooks.calloc(1, size, user);
    EXPECT_EQ(again, *part);
    EXPECT_TRUE(is_zero(again, size));
  }
  void* small = parts.hooks.malloc(100, user);
  std::memset(small, 'x', 100);
  parts.hooks.free(small, user);
  small = parts.hooks.calloc(10, 10, user);
  EXPECT_TRUE(is_zero(small, 100));
  parts.hooks.free(small, user);
  EXPECT_EQ(parts.hooks.calloc(SIZE_MAX / 2, 3, user), nullptr) << "more than there can be";
  EXPECT_EQ(parts.hooks.malloc(SIZE_MAX - 10, user), nullptr);
}

TEST(SessionMemory, ATableWithoutStreamsIsGivenBack) {
  Parts parts;
  auto* const table = static_cast<char*>(parts.table);
  table[4000] = 1;
  parts.memory.rest();
  EXPECT_TRUE(in_memory(table));
  EXPECT_EQ(table[4000], 1) << "a stream is in it";
  table[4000] = 0;
  EXPECT_TRUE(in_memory(table));
  parts.memory.rest();
  EXPECT_FALSE(in_memory(table));
  EXPECT_TRUE(is_zero(table, kPage));
  table[7] = 1;
  parts.memory.rest();
  EXPECT_EQ(table[7], 1);
  parts.hooks.free(parts.table, parts.hooks.mem_user_data);
  parts.memory.rest();
  EXPECT_EQ(table[7], 1) << "nobody's table: left alone";
}

TEST(SessionMemory, SecondPartsComeFromTheLists) {
  Parts parts;
  void* const user = parts.hooks.mem_user_data;
  void* const session = parts.hooks.calloc(1, kSession, user);
  void* const frames = parts.hooks.malloc(kFrames, user);
  void* const table = parts.hooks.calloc(kEntries, kEntry, user);
  for (void* block : {session, frames, table}) EXPECT_NE(number(block) / kPage, number(parts.session) / kPage);
  std::memset(frames, 'f', kFrames);
  std::memset(parts.frames, 'g', kFrames);
  EXPECT_EQ(static_cast<char*>(frames)[kFrames - 1], 'f');
  for (void* block : {session, frames, table}) parts.hooks.free(block, user);
}

TEST(SessionMemory, SizesChangeAndContentsStay) {
  Parts parts;
  void* const user = parts.hooks.mem_user_data;
  auto* const frames = static_cast<char*>(parts.frames);
  frames[0] = 'a';
  frames[kFrames - 1] = 'z';
  EXPECT_EQ(parts.hooks.realloc(frames, 100, user), frames);
  auto* const larger = static_cast<char*>(parts.hooks.realloc(frames, 40'000, user));
  ASSERT_NE(larger, nullptr);
  EXPECT_NE(larger, frames);
  EXPECT_EQ(larger[0], 'a');
  EXPECT_EQ(larger[kFrames - 1], 'z');
  EXPECT_EQ(parts.hooks.realloc(nullptr, kFrames, user), frames) << "its place is free; so the library asks for it";
  EXPECT_EQ(parts.hooks.realloc(parts.hooks.realloc(larger, 50, user), 0, user), nullptr);
  EXPECT_EQ(parts.hooks.realloc(frames, 0, user), nullptr);
}

// A burst of connections: what is kept for the next ones has bounds, pages and blocks.
TEST(SessionMemory, WhatIsKeptAfterABurstIsBounded) {
  std::vector<std::unique_ptr<Link>> links;
  for (int i = 0; i < 500; ++i) {
    links.push_back(std::make_unique<Link>());
    links.back()->client.request();
    links.back()->run();
  }
  links.clear();
  EXPECT_EQ(SessionMemory::figures().warm, SessionMemory::kMostWarm);
  EXPECT_LE(SessionMemory::figures().kept, SessionMemory::kMostKept + 32 * 1024);
  EXPECT_GT(SessionMemory::figures().kept, 0u);
  // Cold places are zeros, though sessions were there.
  std::vector<std::unique_ptr<Parts>> parts;
  for (size_t i = 0; i < SessionMemory::kMostWarm + 50; ++i) {
    parts.push_back(std::make_unique<Parts>());
    EXPECT_TRUE(is_zero(parts.back()->session, kSession)) << i;
    EXPECT_TRUE(is_zero(parts.back()->table, kEntries * kEntry)) << i;
  }
  EXPECT_EQ(SessionMemory::figures().warm, 0u);
}

TEST(SessionMemory, SteadyStateAsksMallocForNothing) {
  Link link;
  auto turn = [&] {
    TestStream& request = link.client.request();
    link.run();
    ASSERT_TRUE(request.attached());
    link.server.answer(*link.server.streams.back());
    link.run();
    ASSERT_TRUE(request.is_over()) << request.events();
  };
  for (int i = 0; i < 100; ++i) turn();
  const auto before = SessionMemory::figures();
  for (int i = 0; i < 1000; ++i) turn();
  const auto after = SessionMemory::figures();
  EXPECT_EQ(after.mallocs, before.mallocs);
  EXPECT_GE(after.blocks, before.blocks + 4000);
}

TEST(SessionMemory, ASessionThatRestedServesOn) {
  Link link;
  for (int i = 0; i < 5; ++i) {
    TestStream& request = link.client.request();
    link.run();
    link.server.session.rest();  // with a stream: nothing
    link.server.answer(*link.server.streams.back());
    link.run();
    EXPECT_TRUE(request.is_over()) << request.events();
    link.server.session.rest();
    link.client.session.rest();
  }
}
#endif

}  // namespace
}  // namespace sluice::http::h2
