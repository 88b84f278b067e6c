// OpenSSL's blocks from lists: contents survive, what is kept is bounded, and traffic in steady state asks malloc for
// nothing, though an idle connection gives its buffers back.
#include "dataplane/net/tls_memory.h"

#include <openssl/crypto.h>

#include "tests/unit/dataplane/net/tls_fixture.h"

namespace sluice::net::test {
namespace {

// Before any test, and so before OpenSSL has memory of its own. All tests of this program use it.
const bool in_use = use_tls_memory();

#ifdef __SANITIZE_ADDRESS__
TEST(TlsMemory, SanitizersSeeEachBlock) { EXPECT_FALSE(in_use); }
#else

TEST(TlsMemory, IsInUse) { EXPECT_TRUE(in_use); }

char byte_of(size_t i) { return static_cast<char>(i * 31 + i / 256); }
void fill(char* block, size_t from, size_t size) {
  for (size_t i = from; i < size; ++i) block[i] = byte_of(i);
}
bool holds(const char* block, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    if (block[i] != byte_of(i)) return false;
  }
  return true;
}

TEST(TlsMemory, BlocksOfEachSizeAreWholeAndApart) {
  std::vector<std::pair<char*, size_t>> blocks;
  for (size_t size = 1; size <= 70'000; size += size < 1100 ? 1 : 257) {
    for (int twice = 0; twice < 2; ++twice) {
      auto* block = static_cast<char*>(OPENSSL_malloc(size));
      ASSERT_NE(block, nullptr);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % alignof(std::max_align_t), 0u);
      fill(block, 0, size);
      blocks.emplace_back(block, size);
    }
  }
  for (auto& [block, size] : blocks) {
    ASSERT_TRUE(holds(block, size)) << size;
    OPENSSL_free(block);
  }
}

TEST(TlsMemory, ABlockKeepsItsContentWhenItsSizeChanges) {
  auto* block = static_cast<char*>(OPENSSL_malloc(1));
  size_t size = 1;
  fill(block, 0, size);
  for (const size_t next :
       {16, 17, 1024, 1025, 1500, 20'000, 32'768, 32'769, 100'000, 50'000, 33'000, 32'768, 900, 3}) {
    block = static_cast<char*>(OPENSSL_realloc(block, next));
    ASSERT_NE(block, nullptr);
    ASSERT_TRUE(holds(block, std::min(size, next))) << size << " to " << next;
    fill(block, 0, next);
    size = next;
  }
  EXPECT_EQ(OPENSSL_realloc(block, 0), nullptr);
  EXPECT_EQ(OPENSSL_malloc(0), nullptr);
  OPENSSL_free(nullptr);
}

TEST(TlsMemory, AnImpossibleSizeIsRefused) {
  for (const size_t size : {SIZE_MAX, SIZE_MAX - 15, SIZE_MAX / 2}) {
    EXPECT_EQ(OPENSSL_malloc(size), nullptr);
    void* block = OPENSSL_malloc(40'000);
    EXPECT_EQ(OPENSSL_realloc(block, size), nullptr);
    OPENSSL_free(block);
  }
  ERR_clear_error();
}

TEST(TlsMemory, WhatIsKeptIsBounded) {
  std::vector<void*> blocks;
  for (int i = 0; i < 1000; ++i) blocks.push_back(OPENSSL_malloc(17'000));
  for (void* block : blocks) OPENSSL_free(block);
  EXPECT_GT(tls_memory_figures().kept, kMostTlsMemoryKept / 2);
  EXPECT_LE(tls_memory_figures().kept, kMostTlsMemoryKept + 32 * 1024);
}

class TlsMemoryTraffic : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Versions, TlsMemoryTraffic, ::testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& info) { return info.param == TLS1_2_VERSION ? "Tls12" : "Tls13"; });

TEST_P(TlsMemoryTraffic, SteadyStateAsksMallocForNothing) {
  const auto page = make_page();
  const Made made("a", "DNS:a.example");
  State state;
  TlsServer tls(*page);
  state.certificate("ns/a", made).host("a.example", "ns/a").apply(tls);
  Connection c(tls, {.name = "a.example", .version = GetParam()});
  ASSERT_TRUE(c.good);
  char request[200] = "GET /", answer[500] = "HTTP/1.1 200 OK", buffer[1000];
  auto exchange = [&] {
    ASSERT_EQ(SSL_write(c.client.get(), request, sizeof request), static_cast<int>(sizeof request));
    ASSERT_EQ(c.server->read(buffer).bytes, sizeof request);
    const iovec part{answer, sizeof answer};
    ASSERT_EQ(c.server->write({&part, 1}).bytes, sizeof answer);
    ASSERT_EQ(SSL_read(c.client.get(), buffer, sizeof buffer), static_cast<int>(sizeof answer));
  };
  for (int i = 0; i < 10; ++i) exchange();
  const TlsMemoryFigures before = tls_memory_figures();
  for (int i = 0; i < 1000; ++i) exchange();
  const TlsMemoryFigures after = tls_memory_figures();
  EXPECT_EQ(after.mallocs, before.mallocs);
  EXPECT_GE(after.blocks, before.blocks + 1000) << "buffers are given back between requests and taken again";
}

// A connection as a whole, handshake and end: the next one lives from what it gave back.
TEST_P(TlsMemoryTraffic, ANewConnectionLivesFromTheOneBefore) {
  const auto page = make_page();
  const Made made("a", "DNS:a.example");
  State state;
  TlsServer tls(*page);
  state.certificate("ns/a", made).host("a.example", "ns/a").apply(tls);
  auto connect = [&] {
    Connection c(tls, {.name = "a.example", .version = GetParam()});
    EXPECT_TRUE(c.good);
  };
  for (int i = 0; i < 50; ++i) connect();
  const TlsMemoryFigures before = tls_memory_figures();
  for (int i = 0; i < 20; ++i) connect();
  const TlsMemoryFigures after = tls_memory_figures();
  // Sizes of signatures and their numbers differ by a byte: a few may still be new.
  EXPECT_LE(after.mallocs, before.mallocs + 5);
  EXPECT_GT(after.blocks, before.blocks + 20'000);
}
#endif

}  // namespace
}  // namespace sluice::net::test
