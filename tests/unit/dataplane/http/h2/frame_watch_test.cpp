#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "dataplane/http/h2/frame_watch.h"

namespace sluice::http::h2 {
namespace {

struct Seen {
  uint32_t length, type, flags, stream, depends_on;
  size_t at;  // of the whole input
  bool operator==(const Seen&) const = default;
};

std::string frame(uint32_t length, uint8_t type, uint8_t flags, uint32_t stream, std::string payload) {
  std::string out;
  for (const int shift : {16, 8, 0}) out += static_cast<char>(length >> shift);
  out += static_cast<char>(type);
  out += static_cast<char>(flags);
  for (const int shift : {24, 16, 8, 0}) out += static_cast<char>(stream >> shift);
  payload.resize(length, 'p');
  return out + payload;
}
std::string number(uint32_t value) {
  std::string out;
  for (const int shift : {24, 16, 8, 0}) out += static_cast<char>(value >> shift);
  return out;
}

// In pieces that begin at `cuts`, each from memory of exactly its size.
std::vector<Seen> watch(const std::string& input, uint32_t preface, std::vector<size_t> cuts) {
  FrameWatch watch(preface);
  std::vector<Seen> seen;
  cuts.push_back(input.size());
  size_t from = 0;
  for (const size_t to : cuts) {
    std::unique_ptr<char[]> exact(new char[to - from]);
    std::copy_n(input.data() + from, to - from, exact.get());
    watch.feed({exact.get(), to - from}, [&](const FrameHeader& head, size_t at) {
      EXPECT_LT(at, to - from);
      seen.push_back({head.length, head.type, head.flags, head.stream, head.depends_on, from + at});
    });
    from = to;
  }
  return seen;
}

// Each kind of length that matters: none, less than a dependency, exactly, more; a reserved bit; a type above 127.
std::string every_kind() {
  return "PREFACE" + frame(0, 4, 0, 0, "") + frame(5, 2, 0, 3, number(0x80000001) + "w") + frame(0, 0, 1, 3, "") +
         frame(4, 2, 0, 5, number(5)) + frame(3, 2, 0, 7, "abc") + frame(300, 0, 0x29, 0x80000009, "") +
         frame(0, 2, 0, 0, "") + frame(1, 9, 4, 1, "") + frame(20, 0xF0, 0xFF, 0x7FFFFFFF, "") +
         frame(9, 2, 0, 1, number(2)) + frame(8, 6, 1, 0, "");
}
const std::vector<Seen>& expected() {
  static const std::vector<Seen> all = {
      {0, 4, 0, 0, 0, 15},  {5, 2, 0, 3, 1, 28},  {0, 0, 1, 3, 0, 38},
      {4, 2, 0, 5, 5, 51},  {3, 2, 0, 7, 0, 60},  {300, 0, 0x29, 9, 0, 72},
      {0, 2, 0, 0, 0, 381}, {1, 9, 4, 1, 0, 390}, {20, 0xF0, 0xFF, 0x7FFFFFFF, 0, 400},
      {9, 2, 0, 1, 2, 433}, {8, 6, 1, 0, 0, 447},
  };
  return all;
}

TEST(FrameWatch, InOnePiece) { EXPECT_EQ(watch(every_kind(), 7, {}), expected()); }

TEST(FrameWatch, CutAtEveryByte) {
  const std::string input = every_kind();
  for (size_t cut = 0; cut <= input.size(); ++cut) ASSERT_EQ(watch(input, 7, {cut}), expected()) << cut;
}

TEST(FrameWatch, CutTwiceAtEveryPairOfBytes) {
  const std::string input = every_kind().substr(0, 80);
  const std::vector<Seen> all = watch(input, 7, {});
  ASSERT_EQ(all.size(), 6u);
  for (size_t one = 0; one <= input.size(); ++one) {
    for (size_t two = one; two <= input.size(); ++two) ASSERT_EQ(watch(input, 7, {one, two}), all) << one << ' ' << two;
  }
}

TEST(FrameWatch, ByteByByte) {
  const std::string input = every_kind();
  std::vector<size_t> cuts;
  for (size_t i = 1; i < input.size(); ++i) cuts.push_back(i);
  EXPECT_EQ(watch(input, 7, cuts), expected());
}

TEST(FrameWatch, TheLongestFrame) {
  const std::string input = frame(0xFFFFFF, 1, 0, 1, "") + frame(0, 6, 0, 0, "");
  const std::vector<Seen> all = {{0xFFFFFF, 1, 0, 1, 0, 8}, {0, 6, 0, 0, 0, 9 + 0xFFFFFF + 8}};
  EXPECT_EQ(watch(input, 0, {}), all);
  EXPECT_EQ(watch(input, 0, {5, 100, 0xFFFFFF}), all);
}

TEST(FrameWatch, NothingBeforeAHeaderIsWhole) {
  const std::string input = frame(2, 0, 0, 1, "ab");
  for (size_t size = 0; size < 9; ++size) EXPECT_TRUE(watch(input.substr(0, size), 0, {}).empty());
  EXPECT_EQ(watch(input.substr(0, 9), 0, {}).size(), 1u);
  // PRIORITY: with what it depends on, if that is there at all.
  const std::string priority = frame(5, 2, 0, 1, "");
  for (size_t size = 0; size < 13; ++size) EXPECT_TRUE(watch(priority.substr(0, size), 0, {}).empty());
  EXPECT_EQ(watch(priority.substr(0, 13), 0, {}).size(), 1u);
}

}  // namespace
}  // namespace sluice::http::h2
