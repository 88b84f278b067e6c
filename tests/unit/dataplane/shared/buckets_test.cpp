#include "dataplane/shared/buckets.h"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"

namespace sluice::shared {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kStart = 1000 * kSecond;
constexpr uint32_t kDayMs = 86'400'000;
// Nothing comes back within a test.
BucketRate fixed(uint32_t burst) { return BucketRate::of(1, kDayMs, burst); }
// 1,024 keys are 128 sets: the top seven bits of a key say which.
uint64_t key_in(uint64_t set, uint64_t n) { return set << 57 | n << 8; }

struct BucketsTest : ::testing::Test {
  UniqueFd fd = Buckets::make(Buckets::kMinKeys).value();
  Buckets buckets = Buckets::map(fd.get()).value();
};

// The bucket of the textbook, in exact fractions: it has `level` / `per_ns` tokens.
struct Model {
  uint64_t requests, per_ns, burst;
  unsigned __int128 level;
  uint64_t at;
  Model(uint32_t requests_, uint32_t per_ms, uint32_t burst_, uint64_t now)
      : requests(requests_), per_ns(per_ms * 1'000'000ull), burst(burst_), at(now) {
    level = static_cast<unsigned __int128>(burst) * per_ns;
  }
  bool take(uint64_t now) {
    level = std::min(level + static_cast<unsigned __int128>(now - at) * requests,
                     static_cast<unsigned __int128>(burst) * per_ns);
    at = now;
    if (level < per_ns) return false;
    level -= per_ns;
    return true;
  }
  [[nodiscard]] uint32_t left() const { return static_cast<uint32_t>(level / per_ns); }
};

TEST_F(BucketsTest, IsATokenBucket) {
  std::mt19937_64 random(1);
  struct {
    uint32_t requests, per_ms, burst;
  } rates[] = {{1, 1000, 1},         {10, 1000, 10},       {100, 1000, 1},       {1'000'000, 1000, 1'000'000},
               {5, 60'000, 3},       {64, 1000, 7},        {1000, 3'600'000, 1}, {1, kDayMs, 1'000'000},
               {1, 1000, 1'000'000}, {625, 86'400'000, 40}};
  uint64_t key = 0;
  for (const auto& one : rates) {
    const BucketRate rate = BucketRate::of(one.requests, one.per_ms, one.burst);
    key += 1 << 20;
    uint64_t now = kStart;
    Model model(one.requests, one.per_ms, one.burst, now);
    const uint64_t token_ns = model.per_ns / one.requests;
    uint64_t admitted = 0;
    for (int i = 0; i < 50'000; ++i) {
      // Bursts, steps about as long as a token takes, and long pauses.
      const uint64_t kind = random() % 10;
      now += kind < 6 ? random() % 3 : kind < 9 ? random() % (2 * token_ns) : random() % (token_ns * 20);
      const bool expected = model.take(now);
      const BucketAnswer answer = buckets.take(key, rate, now);
      ASSERT_EQ(answer.admitted, expected) << one.requests << " in " << one.per_ms << " ms, step " << i;
      ASSERT_EQ(answer.left, model.left());
      admitted += answer.admitted;
      // It says when the next token comes: never before it is there.
      if (i % 100 == 0) {
        Model later = model;
        ASSERT_GT(answer.next_ns, 0u);
        // (Coarse units know the time to a few nanoseconds.)
        const uint64_t then = now + answer.next_ns + (rate.shift > 6 ? uint64_t{1} << (rate.shift - 6) : 0);
        later.level = std::min(later.level + static_cast<unsigned __int128>(then - now) * later.requests,
                               static_cast<unsigned __int128>(later.burst) * later.per_ns);
        ASSERT_EQ(later.left(), model.left() + 1);
      }
    }
    EXPECT_GT(admitted, 100u);
  }
}

// A token's time that is no whole number of units: rounded once, so no error adds up to a token within 100,000 of them.
TEST_F(BucketsTest, OddRatesAreExactToTheToken) {
  std::mt19937_64 random(2);
  for (int round = 0; round < 40; ++round) {
    const auto requests = static_cast<uint32_t>(1 + random() % 3000), burst = static_cast<uint32_t>(1 + random() % 500);
    const auto per_ms = static_cast<uint32_t>(1000 + random() % 100'000);
    const BucketRate rate = BucketRate::of(requests, per_ms, burst);
    const uint64_t key = random();
    uint64_t now = kStart + random() % kSecond;
    Model model(requests, per_ms, burst, now);
    int64_t difference = 0;
    const uint64_t step = std::max<uint64_t>(model.per_ns / requests / 2, 1);
    for (int i = 0; i < 20'000; ++i) {
      now += random() % (2 * step);
      difference += buckets.take(key, rate, now).admitted;
      difference -= model.take(now);
      ASSERT_LE(std::abs(difference), 1) << requests << " in " << per_ms << " ms, burst " << burst;
    }
  }
}

TEST_F(BucketsTest, TheLargestBucketHoldsAllOfItsTokens) {
  const BucketRate rate = fixed(1'000'000);
  for (uint32_t i = 0; i < 1'000'000; ++i) ASSERT_TRUE(buckets.take(7, rate, kStart).admitted) << i;
  BucketAnswer answer = buckets.take(7, rate, kStart);
  EXPECT_FALSE(answer.admitted);
  EXPECT_EQ(answer.next_ns, 86'400 * kSecond);
  EXPECT_FALSE(buckets.take(7, rate, kStart + 86'399 * kSecond).admitted);
  EXPECT_TRUE(buckets.take(7, rate, kStart + 86'400 * kSecond).admitted);
  EXPECT_FALSE(buckets.take(7, rate, kStart + 86'400 * kSecond).admitted);
}

TEST_F(BucketsTest, LookingTakesNothingAndGivingBackUndoes) {
  const BucketRate rate = fixed(3);
  EXPECT_EQ(buckets.look(1, rate, kStart).left, 2u) << "what a take would leave";
  EXPECT_EQ(buckets.look(1, rate, kStart).left, 2u);
  buckets.give_back(1, rate, kStart);
  for (uint32_t left : {2u, 1u, 0u}) EXPECT_EQ(buckets.take(1, rate, kStart).left, left);
  EXPECT_FALSE(buckets.look(1, rate, kStart).admitted);
  buckets.give_back(1, rate, kStart);
  EXPECT_TRUE(buckets.look(1, rate, kStart).admitted);
  EXPECT_TRUE(buckets.take(1, rate, kStart).admitted);
  EXPECT_FALSE(buckets.take(1, rate, kStart).admitted);
  // More than was taken makes no bucket larger.
  for (int i = 0; i < 10; ++i) buckets.give_back(1, rate, kStart);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(buckets.take(1, rate, kStart).admitted);
  EXPECT_FALSE(buckets.take(1, rate, kStart).admitted);
}

TEST_F(BucketsTest, AChangedRateKeepsTheBucketButNotMoreDebtThanItHolds) {
  for (int i = 0; i < 100; ++i) buckets.take(1, BucketRate::of(1, 1000, 100), kStart);
  // The same bucket with a smaller burst: empty, not a hundred seconds behind.
  const BucketRate smaller = BucketRate::of(1, 1000, 2);
  EXPECT_FALSE(buckets.take(1, smaller, kStart).admitted);
  EXPECT_EQ(buckets.look(1, smaller, kStart).next_ns, kSecond);
}

TEST_F(BucketsTest, MemoryIsChecked) {
  EXPECT_FALSE(Buckets::make(1023));
  EXPECT_FALSE(Buckets::make(3000));
  EXPECT_FALSE(Buckets::make(1u << 25));
  EXPECT_EQ(buckets.keys(), Buckets::kMinKeys);
  EXPECT_NE(ftruncate(fd.get(), 100), 0) << "sealed";
  UniqueFd other(memfd_create("x", MFD_CLOEXEC));
  for (const off_t size : {0, 100, 4096, 4096 + 1024 * 16 + 1, 4096 + 1500 * 16}) {
    ASSERT_EQ(ftruncate(other.get(), size), 0);
    EXPECT_FALSE(Buckets::map(other.get())) << size;
  }
  ASSERT_EQ(ftruncate(other.get(), 4096 + 1024 * 16), 0);
  EXPECT_FALSE(Buckets::map(other.get())) << "no magic";
  EXPECT_FALSE(Buckets::map(-1));
  // Another memory has another secret.
  const UniqueFd second = Buckets::make(Buckets::kMinKeys).value();
  EXPECT_NE(Buckets::map(second.get())->hash().finish(), buckets.hash().finish());
  EXPECT_EQ(Buckets::map(fd.get())->hash().finish(), buckets.hash().finish());
}

TEST_F(BucketsTest, WhoMapsTheMemoryAgainFindsTheBuckets) {
  const BucketRate rate = fixed(2);
  EXPECT_TRUE(buckets.take(5, rate, kStart).admitted);
  Buckets again = Buckets::map(fd.get()).value();
  EXPECT_TRUE(again.take(5, rate, kStart).admitted);
  EXPECT_FALSE(again.take(5, rate, kStart).admitted);
  EXPECT_FALSE(buckets.take(5, rate, kStart).admitted);
}

TEST_F(BucketsTest, TheFullestMakesRoomAndThatIsTold) {
  const BucketRate rate = fixed(10);
  // By key; key 3 is the fullest.
  const uint64_t taken[] = {5, 4, 3, 1, 2, 6, 7, 8};
  for (uint64_t n = 0; n < 8; ++n) {
    for (uint64_t i = 0; i < taken[n]; ++i) EXPECT_FALSE(buckets.take(key_in(3, n), rate, kStart).evicted);
  }
  EXPECT_FALSE(buckets.look(key_in(3, 100), rate, kStart).evicted);
  EXPECT_TRUE(buckets.take(key_in(3, 100), rate, kStart).evicted);
  for (uint64_t n = 0; n < 8; ++n)
    EXPECT_EQ(buckets.look(key_in(3, n), rate, kStart).left, n == 3 ? 9u : 10 - taken[n] - 1) << n;
  // The newcomer is the fullest now, and nobody else has to go for the next one.
  EXPECT_TRUE(buckets.take(key_in(3, 101), rate, kStart).evicted);
  EXPECT_EQ(buckets.look(key_in(3, 100), rate, kStart).left, 9u);
  EXPECT_EQ(buckets.look(key_in(3, 4), rate, kStart).left, 7u);
  // Another set is not asked.
  EXPECT_FALSE(buckets.take(key_in(4, 0), rate, kStart).evicted);
}

TEST_F(BucketsTest, FullBucketsAreReusedBeforeOthersAreEvicted) {
  const BucketRate slow = fixed(10), fast = BucketRate::of(1, 1000, 10);
  for (uint64_t n = 0; n < 8; ++n) buckets.take(key_in(3, n), n == 5 ? fast : slow, kStart);
  EXPECT_FALSE(buckets.take(key_in(3, 100), slow, kStart + kSecond).evicted) << "key 5 is full after a second";
  for (uint64_t n = 0; n < 8; ++n) {
    if (n == 5) continue;
    EXPECT_EQ(buckets.look(key_in(3, n), slow, kStart + kSecond).left, 8u) << n;
  }
}

TEST_F(BucketsTest, TheFullestIsTheOneFullSoonestWhateverItsUnit) {
  const BucketRate coarse = fixed(1'000'000), fine = fixed(10);
  ASSERT_GT(coarse.shift, fine.shift);
  // A coarse unit makes small numbers of long times.
  for (uint64_t n = 0; n < 8; ++n) {
    for (int i = 0; i < 2; ++i) buckets.take(key_in(3, n), coarse, kStart);
  }
  for (uint64_t n = 20; n < 28; ++n) EXPECT_TRUE(buckets.take(key_in(3, n), fine, kStart).evicted);
  for (uint64_t n = 1; n < 8; ++n) EXPECT_EQ(buckets.look(key_in(3, n), coarse, kStart).left, 999'997u) << n;
}

// Tens of thousands of keys on a memory for a thousand: bounded, told, and nobody gets more than a fresh bucket.
TEST_F(BucketsTest, MoreKeysThanPlaces) {
  const BucketRate rate = fixed(5);
  std::mt19937_64 random(3);
  uint64_t evicted = 0;
  for (int i = 0; i < 100'000; ++i) {
    const uint64_t key = random();
    for (uint32_t left = 5; left-- > 0;) {
      const BucketAnswer answer = buckets.take(key, rate, kStart);
      ASSERT_TRUE(answer.admitted);
      ASSERT_EQ(answer.left, left);
      evicted += answer.evicted;
    }
    ASSERT_FALSE(buckets.take(key, rate, kStart).admitted);
  }
  EXPECT_GE(evicted, 100'000u - Buckets::kMinKeys);
  EXPECT_LE(evicted, 100'000u);
}

struct Shared {
  std::atomic<uint64_t> go{0}, counted[64]{};
};
Shared* shared_memory() {
  void* at = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  EXPECT_NE(at, MAP_FAILED);
  return new (at) Shared();
}

TEST_F(BucketsTest, ProcessesTogetherAreExact) {
  constexpr uint64_t kKeys = 16;
  constexpr uint32_t kBurst = 20'000;
  Shared& sum = *shared_memory();
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    const pid_t pid = fork();
    ASSERT_GE(pid, 0);
    if (pid != 0) {
      children.push_back(pid);
      continue;
    }
    auto own = Buckets::map(fd.get());
    const BucketRate rate = fixed(kBurst);
    while (sum.go == 0) {
    }
    for (uint32_t n = 0; n < kBurst; ++n) {
      for (uint64_t key = 0; key < kKeys; ++key) {
        if (own->take(key_in(key * 8, 1), rate, kStart).admitted) ++sum.counted[key];
      }
    }
    _exit(0);
  }
  sum.go = 1;
  for (const pid_t pid : children) {
    int status = 0;
    waitpid(pid, &status, 0);
    EXPECT_EQ(status, 0);
  }
  for (uint64_t key = 0; key < kKeys; ++key) EXPECT_EQ(sum.counted[key], kBurst) << key;
  munmap(&sum, sizeof sum);
}

// Each round a bucket that nobody has yet, taken from by all at the same moment. Their clocks differ a little, so they
// do not agree on which places are free.
TEST_F(BucketsTest, BucketsMadeAtTheSameMomentAreOne) {
  constexpr int kThreads = 3, kRounds = 20'000;
  std::atomic<int> ready{0}, round{-1};
  std::vector<std::atomic<uint32_t>> admitted(kRounds);
  std::vector<std::thread> threads;
  auto rate_of = [](int n) { return BucketRate::of(1, 1000, static_cast<uint32_t>(1 + n % 3)); };
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int n = 0; n < kRounds; ++n) {
        ++ready;
        while (round < n) std::this_thread::yield();
        // Buckets are full again after five rounds or more; which ones, we disagree.
        const uint64_t now = kStart + static_cast<uint64_t>(n) * 200'000'000 + static_cast<uint64_t>(t) * 100'000'000;
        for (int i = 0; i < 3; ++i)
          admitted[static_cast<size_t>(n)] += buckets.take(key_in(9, 1 + n), rate_of(n), now).admitted;
      }
    });
  }
  for (int n = 0; n < kRounds; ++n) {
    while (ready < kThreads * (n + 1)) std::this_thread::yield();
    round = n;
  }
  for (std::thread& thread : threads) thread.join();
  for (int n = 0; n < kRounds; ++n) ASSERT_EQ(admitted[static_cast<size_t>(n)], 1u + n % 3) << n;
}

TEST_F(BucketsTest, KilledAtAnyStoreLeavesTheBucketsValid) {
  constexpr int kKills = 200;
  constexpr uint32_t kBurst = 50'000;
  const BucketRate rate = fixed(kBurst);
  Shared& sum = *shared_memory();
  std::mt19937_64 random(4);
  for (int i = 0; i < kKills; ++i) {
    const uint64_t seed = random();
    const pid_t pid = fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      std::mt19937_64 own(seed);
      for (sum.go = 1;;) {
        // A set of its own for each key that counts; the other sets are full of keys that push each other out.
        const uint64_t key = own() % 64;
        if (buckets.take(key_in(key, 1), rate, kStart).admitted) ++sum.counted[key];
        buckets.take(key_in(64 + own() % 64, own() % 100'000), rate, kStart);
      }
    }
    while (sum.go == 0) usleep(50);
    usleep(static_cast<useconds_t>(random() % 1500));
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    sum.go = 0;
  }
  uint64_t lost = 0;
  for (uint64_t key = 0; key < 64; ++key) {
    uint64_t admitted = sum.counted[key];
    EXPECT_GT(admitted, 0u);
    while (buckets.take(key_in(key, 1), rate, kStart).admitted) ++admitted;
    ASSERT_LE(admitted, kBurst);
    lost += kBurst - admitted;
  }
  EXPECT_LE(lost, static_cast<uint64_t>(kKills)) << "at most the token that each had taken and not counted yet";
  for (uint64_t n = 0; n < 1000; ++n)
    EXPECT_TRUE(buckets.take(key_in(64 + n % 64, 200'000 + n), rate, kStart).admitted);
  munmap(&sum, sizeof sum);
}

struct Scribbled : BucketsTest {
  void scribble(uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<uint64_t> words(Buckets::kMinKeys * 2);
    for (uint64_t& word : words) word = random();
    ASSERT_EQ(pwrite(fd.get(), words.data(), words.size() * 8, 4096), static_cast<ssize_t>(words.size() * 8));
  }
};

TEST_F(Scribbled, GarbageHeals) {
  const BucketRate rate = fixed(5);
  for (uint64_t seed = 0; seed < 50; ++seed) {
    scribble(seed);
    std::mt19937_64 random(seed + 1000);
    for (int i = 0; i < 2000; ++i) {
      const uint64_t key = random();
      for (int n = 0; n < 5; ++n) ASSERT_TRUE(buckets.take(key, rate, kStart).admitted);
      ASSERT_FALSE(buckets.take(key, rate, kStart).admitted);
      buckets.give_back(key, rate, kStart);
      ASSERT_TRUE(buckets.look(key, rate, kStart).admitted);
    }
  }
}

TEST_F(Scribbled, ABucketOfGarbageIsAnEmptyOneAtMost) {
  const BucketRate rate = BucketRate::of(10, 1000, 5);
  uint64_t place[2] = {0, 0};
  for (const uint64_t full_at :
       {uint64_t{0}, ~uint64_t{0}, uint64_t{1} << 63, kStart << 6, (kStart + 1'000'000 * kSecond) << 6}) {
    const uint64_t key = key_in(0, 1);
    buckets.take(key, rate, kStart);
    ASSERT_EQ(pread(fd.get(), place, sizeof place, 4096), 16);
    place[1] = full_at;
    ASSERT_EQ(pwrite(fd.get(), place, sizeof place, 4096), 16);
    const BucketAnswer answer = buckets.look(key, rate, kStart);
    EXPECT_LE(answer.next_ns, kSecond / 10);
    int admitted = 0;
    for (int i = 0; i < 10; ++i) admitted += buckets.take(key, rate, kStart + kSecond).admitted;
    EXPECT_LE(admitted, 5);
  }
}

TEST_F(Scribbled, GarbageWhileInUseIsSurvived) {
  std::atomic<bool> stop{false};
  std::thread scribbler([&] {
    for (uint64_t seed = 0; !stop; ++seed) scribble(seed);
  });
  std::mt19937_64 random(5);
  const BucketRate rate = fixed(5);
  for (int i = 0; i < 200'000; ++i) {
    const uint64_t key = random() % 3000 << 50 | 1 << 10;
    buckets.take(key, rate, kStart);
    buckets.give_back(key, rate, kStart);
  }
  stop = true;
  scribbler.join();
  scribble(1);
  EXPECT_TRUE(buckets.take(random(), rate, kStart).admitted);
}

// ns per decision; --gtest_also_run_disabled_tests --gtest_filter='*DISABLED_Cost'
TEST(BucketsScale, DISABLED_Cost) {
  Buckets buckets = Buckets::map(Buckets::make(Buckets::kDefaultKeys).value().get()).value();
  const BucketRate rate = BucketRate::of(1'000'000, 1000, 1'000'000);
  for (const uint64_t keys : {1u, 1000u, 100'000u}) {
    for (int pass = 0; pass < 2; ++pass) {
      std::mt19937_64 random(6);
      std::vector<uint64_t> list(keys);
      for (uint64_t& key : list) key = random();
      std::vector<uint32_t> order(1'000'000);
      for (uint32_t& at : order) at = static_cast<uint32_t>(random() % keys);
      uint64_t admitted = 0, now = kStart + static_cast<uint64_t>(pass) * 100 * kSecond;
      const uint64_t begin = monotonic_ns();
      for (const uint32_t at : order) admitted += buckets.take(list[at], rate, now += 1000).admitted;
      const uint64_t ns = monotonic_ns() - begin;
      if (pass == 1)
        printf("%llu keys: %.1f ns a take, %llu admitted\n", static_cast<unsigned long long>(keys),
               static_cast<double>(ns) / static_cast<double>(order.size()), static_cast<unsigned long long>(admitted));
    }
  }
}

}  // namespace
}  // namespace sluice::shared
