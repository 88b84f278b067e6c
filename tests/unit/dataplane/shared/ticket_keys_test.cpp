#include "dataplane/shared/ticket_keys.h"

#include <atomic>
#include <cstring>
#include <thread>

#include <gtest/gtest.h>

namespace sluice::shared {
namespace {

using Random = std::array<uint8_t, TicketKeyPage::kRandomBytes>;
Random filled(uint8_t byte) {
  Random random;
  random.fill(byte);
  return random;
}
bool whole(const TicketKey& key) {
  uint8_t bytes[sizeof key];
  std::memcpy(bytes, &key, sizeof key);
  for (uint8_t byte : bytes) {
    if (byte != bytes[0]) return false;
  }
  return true;
}

TEST(TicketKeys, APageOfZerosHasNone) {
  TicketKeyPage page;
  EXPECT_FALSE(page.valid());
  EXPECT_EQ(page.read().epoch, 0u);
}

TEST(TicketKeys, RotationMovesNextToCurrentToPrevious) {
  TicketKeyPage page;
  Random first;
  for (size_t i = 0; i < first.size(); ++i) first[i] = static_cast<uint8_t>(i / TicketKey::kBytes + 1);
  page.rotate(first);
  ASSERT_TRUE(page.valid());
  TicketKeys keys = page.read();
  EXPECT_EQ(keys.previous.name[0], 1);
  EXPECT_EQ(keys.current.name[0], 2);
  EXPECT_EQ(keys.next.mac_key[31], 3);
  for (uint8_t turn = 4; turn < 20; ++turn) {
    const TicketKeys before = keys;
    page.rotate(filled(turn));
    keys = page.read();
    EXPECT_EQ(keys.epoch, before.epoch + 1);
    EXPECT_EQ(keys.previous.name, before.current.name);
    EXPECT_EQ(keys.current.cipher_key, before.next.cipher_key);
    EXPECT_EQ(keys.next.name[0], turn);
    EXPECT_TRUE(whole(keys.previous) && whole(keys.current) && whole(keys.next));
  }
}

TEST(TicketKeys, ReadersNeverSeeAMixedKey) {
  TicketKeyPage page;
  page.rotate(filled(0));
  std::atomic<bool> stop{false};
  std::thread master([&] {
    for (int i = 0; i < 200'000; ++i) page.rotate(filled(static_cast<uint8_t>(i)));
    stop = true;
  });
  uint64_t reads = 0;
  do {  // at least once: the writer may be done before this thread runs again
    const TicketKeys keys = page.read();
    ASSERT_TRUE(whole(keys.previous) && whole(keys.current) && whole(keys.next));
    ++reads;
  } while (!stop);
  master.join();
  EXPECT_GT(reads, 0u);
}

}  // namespace
}  // namespace sluice::shared
