#include "dataplane/http/websocket.h"

#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace sluice::http {
namespace {

Bytes bytes_of(std::string_view text) { return {text.data(), text.size()}; }

// RFC 6455 5.2. `form`: bytes of extended length (0, 2 or 8), where it is to be longer than it needs to be.
std::string frame(int opcode, size_t size, bool masked, int form = -1) {
  if (form < 0) form = size < 126 ? 0 : size < 65536 ? 2 : 8;
  std::string out(1, static_cast<char>(0x80 | opcode));
  const size_t length = form == 0 ? size : form == 2 ? 126u : 127u;
  out += static_cast<char>(length | (masked ? 0x80u : 0u));
  for (int i = form - 1; i >= 0; --i) out += static_cast<char>(static_cast<uint64_t>(size) >> (8 * i));
  if (masked) out += "\xFF\x88\x01\x7E";
  return out + std::string(size, '\x88');
}

struct Stretch {
  std::string bytes;
  std::vector<bool> boundary;  // after so many bytes
  void add(const std::string& more) {
    if (boundary.empty()) boundary.push_back(true);
    bytes += more;
    boundary.resize(bytes.size(), false);
    boundary.push_back(true);
  }
};

// Every header there is.
Stretch all_forms() {
  Stretch all;
  for (const bool masked : {false, true}) {
    for (const size_t size : {size_t{0}, size_t{1}, size_t{125}, size_t{126}, size_t{300}})
      all.add(frame(2, size, masked));
    for (const int form : {2, 8}) {
      for (const size_t size : {size_t{0}, size_t{5}}) all.add(frame(1, size, masked, form));
    }
  }
  return all;
}

TEST(FrameTracker, BeginsAtABoundary) {
  FrameTracker tracker;
  EXPECT_TRUE(tracker.at_boundary());
  EXPECT_FALSE(tracker.closed());
  EXPECT_EQ(tracker.to_boundary({}), 0u);
  EXPECT_TRUE(tracker.at_boundary());
}

TEST(FrameTracker, SplitAtEveryByte) {
  const Stretch all = all_forms();
  for (size_t split = 0; split <= all.bytes.size(); ++split) {
    FrameTracker tracker;
    tracker.follow(bytes_of(all.bytes).first(split));
    ASSERT_EQ(tracker.at_boundary(), all.boundary[split]) << split;
    tracker.follow(bytes_of(all.bytes).subspan(split));
    ASSERT_TRUE(tracker.at_boundary()) << split;
    ASSERT_FALSE(tracker.lost());
  }
}

TEST(FrameTracker, ByteByByte) {
  const Stretch all = all_forms();
  FrameTracker tracker;
  for (size_t i = 0; i < all.bytes.size(); ++i) {
    EXPECT_EQ(tracker.to_boundary(bytes_of(all.bytes).subspan(i, 1)), 1u);
    ASSERT_EQ(tracker.at_boundary(), all.boundary[i + 1]) << i;
  }
}

TEST(FrameTracker, StopsAtTheNextBoundary) {
  const Stretch all = all_forms();
  for (size_t from = 0; from < all.bytes.size(); ++from) {
    FrameTracker tracker;
    tracker.follow(bytes_of(all.bytes).first(from));
    size_t next = from + 1;
    while (!all.boundary[next]) ++next;
    ASSERT_EQ(tracker.to_boundary(bytes_of(all.bytes).subspan(from)), next - from) << from;
    ASSERT_TRUE(tracker.at_boundary());
  }
}

TEST(FrameTracker, LongFramesInPieces) {
  const uint64_t size = (uint64_t{1} << 33) + 5;
  FrameTracker tracker;
  tracker.follow(bytes_of(std::string("\x82\x7F\x00\x00\x00\x02\x00\x00\x00\x05", 10)));
  const std::string piece(1 << 20, '\x81');
  for (uint64_t left = size; left != 0;) {
    ASSERT_FALSE(tracker.at_boundary());
    const auto n = static_cast<size_t>(std::min<uint64_t>(left, piece.size()));
    tracker.follow(bytes_of(piece).first(n));
    left -= n;
  }
  EXPECT_TRUE(tracker.at_boundary());
}

TEST(FrameTracker, LengthsThatAreNoneEndIt) {
  const std::string bad("\x82\xFF\x80\x00\x00\x00\x00\x00\x00\x00", 10);
  for (size_t split = 0; split <= bad.size(); ++split) {
    FrameTracker tracker;
    tracker.follow(bytes_of(bad).first(split));
    tracker.follow(bytes_of(bad).subspan(split));
    EXPECT_TRUE(tracker.lost());
    EXPECT_FALSE(tracker.at_boundary());
    tracker.follow(bytes_of(frame(1, 3, false)));
    EXPECT_FALSE(tracker.at_boundary()) << "for good";
    EXPECT_EQ(tracker.to_boundary(bytes_of("abc")), 3u);
  }
}

TEST(FrameTracker, SeesAClose) {
  FrameTracker tracker;
  tracker.follow(bytes_of(frame(1, 3, true)));
  const std::string close = frame(8, 2, true);
  for (size_t i = 0; i < close.size(); ++i) {
    EXPECT_FALSE(tracker.closed());
    tracker.follow(bytes_of(close).subspan(i, 1));
  }
  EXPECT_TRUE(tracker.closed());
}

TEST(FrameTracker, HostileBytesAtAnySplitAreTheSame) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    std::string bytes(200, '\0');
    for (char& c : bytes) c = static_cast<char>(random() % 4 == 0 ? random() : random() % 130);
    FrameTracker whole, parts;
    whole.follow(bytes_of(bytes));
    for (size_t at = 0; at < bytes.size();) {
      const size_t n = std::min<size_t>(1 + random() % 9, bytes.size() - at);
      parts.follow(bytes_of(bytes).subspan(at, n));
      at += n;
    }
    EXPECT_EQ(whole.at_boundary(), parts.at_boundary());
    EXPECT_EQ(whole.lost(), parts.lost());
    EXPECT_EQ(whole.closed(), parts.closed());
  }
}

TEST(GoingAway, IsACloseWith1001) {
  EXPECT_EQ(std::string(kGoingAway.data(), kGoingAway.size()), "\x88\x02\x03\xE9");
  for (const uint32_t key : {0u, 0x12345678u, 0xFFFFFFFFu}) {
    const auto frame = masked_going_away(key);
    EXPECT_EQ(static_cast<unsigned char>(frame[0]), 0x88);
    EXPECT_EQ(static_cast<unsigned char>(frame[1]), 0x82);
    const auto at = [&](size_t i) { return static_cast<unsigned char>(frame[i]); };
    EXPECT_EQ(at(2) << 24 | at(3) << 16 | at(4) << 8 | at(5), static_cast<int>(key));
    EXPECT_EQ((at(6) ^ at(2)) << 8 | (at(7) ^ at(3)), 1001);
    FrameTracker tracker;
    tracker.follow(frame);
    EXPECT_TRUE(tracker.closed());
  }
}

}  // namespace
}  // namespace sluice::http
