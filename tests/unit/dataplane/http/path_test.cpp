#include "dataplane/http/path.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace sluice::http {
namespace {

class Path : public testing::Test {
 protected:
  std::string normal(std::string_view raw) {
    const NormalPath path = normalize_path(raw, arena);
    if (path.reason != Reason::none) return std::string(describe(path.reason).word);
    return std::string(path.path) + (path.encoded_slash ? " (encoded slash)" : "");
  }
  std::string query(std::string_view raw) {
    const NormalQuery out = normalize_query(raw, arena);
    return out.reason == Reason::none ? std::string(out.query) : std::string(describe(out.reason).word);
  }
  ChunkPool pool;
  Arena arena{pool};
};

TEST_F(Path, UnchangedIsAView) {
  const std::string raw = "/a/b.c/~d;e=f,g:@!$&'()*+";
  EXPECT_EQ(normalize_path(raw, arena).path.data(), raw.data());
  EXPECT_EQ(normal(raw), raw);
  EXPECT_EQ(arena.held(), 0u);
}

TEST_F(Path, DotSegments) {
  EXPECT_EQ(normal("/."), "/");
  EXPECT_EQ(normal("/./"), "/");
  EXPECT_EQ(normal("/a/."), "/a/");
  EXPECT_EQ(normal("/a/./b"), "/a/b");
  EXPECT_EQ(normal("/a/.."), "/");
  EXPECT_EQ(normal("/a/../"), "/");
  EXPECT_EQ(normal("/a/b/../c"), "/a/c");
  EXPECT_EQ(normal("/a/b/../../c"), "/c");
  EXPECT_EQ(normal("/a//../b"), "/a/b");
  EXPECT_EQ(normal("/a/..b/.c/d./..."), "/a/..b/.c/d./...");
  EXPECT_EQ(normal("/.hidden"), "/.hidden");
  for (const char* above : {"/..", "/../", "/../a", "/a/../../b", "/./..", "/%2e%2e/a", "/.%2e", "/a/../%2E."})
    EXPECT_EQ(normal(above), "rejected_path") << above;
  EXPECT_EQ(normal("/a/%2e%2e/b"), "/b");
  EXPECT_EQ(normal("/a/%2E/b"), "/a/b");
  EXPECT_EQ(normal("/a/%252e%252e/b"), "/a/%252e%252e/b");
  for (const char* hidden :
       {"/a/..;/b", "/a/..;x=y", "/a/.;/b", "/a/%2e.;/b", "/a/..%2Fb", "/a/x%2F..%2fb", "/a/x%2f..", "/a/x%2f.;y"})
    EXPECT_EQ(normal(hidden), "rejected_path") << hidden;
}

TEST_F(Path, Escapes) {
  EXPECT_EQ(normal("/%41%7e%2D%5f"), "/A~-_");
  EXPECT_EQ(normal("/%c3%a4"), "/%C3%A4");
  EXPECT_EQ(normal("/a%2fb"), "/a%2Fb (encoded slash)");
  EXPECT_EQ(normal("/a%20b%3f%23%25"), "/a%20b%3F%23%25");
  EXPECT_EQ(normal("/%0d%0a"), "/%0D%0A");
  for (const char* broken : {"/%", "/%4", "/%zz", "/%4z", "/a%", "/%-1", "/%%41"})
    EXPECT_EQ(normal(broken), "bad_path_encoding") << broken;
  for (const char* refused : {"/a%00", "/%5c", "/%5Cx"}) EXPECT_EQ(normal(refused), "rejected_path") << refused;
  EXPECT_EQ(normal("/[a]^`{|}"), "/%5Ba%5D%5E%60%7B%7C%7D");
}

TEST_F(Path, RawBytes) {
  for (int c = 0; c < 256; ++c) {
    const std::string raw = std::string("/a") + static_cast<char>(c) + "b";
    const bool refused =
        c <= 0x20 || c >= 0x7F || std::string_view("\"#<>\\?").find(static_cast<char>(c)) != std::string_view::npos;
    EXPECT_EQ(normalize_path(raw, arena).reason != Reason::none, refused || c == '%') << c;
  }
  EXPECT_EQ(normal(""), "bad_target");
  EXPECT_EQ(normal("a"), "bad_target");
}

// RFC 3986 3.3: an empty segment is a segment. Merging would forward another path than the client asked for.
TEST_F(Path, EmptySegmentsStay) {
  EXPECT_EQ(normal("//a///b//"), "//a///b//");
  EXPECT_EQ(normal("/a//../b"), "/a/b");
}

TEST_F(Path, Query) {
  const std::string raw = "a=b&c=d";
  EXPECT_EQ(normalize_query(raw, arena).query.data(), raw.data());
  EXPECT_EQ(query(""), "");
  EXPECT_EQ(query("a=/?:@%2f%2F%00%5c"), "a=/?:@%2f%2F%00%5c");
  EXPECT_EQ(query("a[]={b}|^`\\"), "a%5B%5D=%7Bb%7D%7C%5E%60%5C");
  EXPECT_EQ(query("100%"), "100%25");
  EXPECT_EQ(query("%zz%4"), "%25zz%254");
  EXPECT_EQ(query("%u0041"), "%25u0041");
  for (const char* bad : {"a b", "a#b", "a\"b", "a<b", "a>b", "a\tb", "\xC3\xA4", "\x7F"})
    EXPECT_EQ(query(bad), "bad_target") << bad;
}

// The normal form of a normal form is itself, holds no dot segment and no byte outside the grammar.
TEST_F(Path, Idempotent) {
  std::mt19937 random(1);
  static constexpr std::string_view kPieces[] = {"/", "/",   ".", "..", "%2e", "%2F", "a",  "%41",
                                                 ";", "%25", "%", "[",  "//",  "%c3", "b.", "%2E%2e"};
  size_t good = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string raw = "/";
    for (unsigned n = random() % 12; n > 0; --n) raw += kPieces[random() % std::size(kPieces)];
    arena.reset();
    const NormalPath once = normalize_path(raw, arena);
    if (once.reason != Reason::none) continue;
    ++good;
    const std::string first(once.path);
    const NormalPath twice = normalize_path(first, arena);
    ASSERT_EQ(twice.reason, Reason::none) << raw;
    ASSERT_EQ(twice.path, first) << raw;
    ASSERT_EQ(twice.encoded_slash, once.encoded_slash) << raw;
    const std::string closed = first + "/";
    ASSERT_EQ(closed.find("/./"), std::string::npos) << raw;
    ASSERT_EQ(closed.find("/../"), std::string::npos) << raw;
  }
  EXPECT_GT(good, 5000u);
}

}  // namespace
}  // namespace sluice::http
