#include "dataplane/route/regex.h"

#include <gtest/gtest.h>

#include "common/ir/regex_limits.h"

namespace sluice::route {
namespace {

struct Fixture : ::testing::Test {
  std::string replace(std::string_view pattern, std::string_view text, std::string_view substitution,
                      size_t max = 4096) {
    const auto regex = Regex::compile(pattern);
    std::string_view out = "unchanged";
    const Regex::Replaced replaced = regex->replace(text, substitution, max, arena, out);
    if (replaced == Regex::Replaced::done) return std::string(out);
    EXPECT_EQ(out, "unchanged");
    return replaced == Regex::Replaced::failed ? "(failed)" : "(no match)";
  }
  ChunkPool pool{4};
  Arena arena{pool};
};
using RegexTest = Fixture;

TEST_F(RegexTest, RefusesWhatDoesNotCompile) {
  EXPECT_EQ(Regex::compile("("), nullptr);
  EXPECT_EQ(Regex::compile("a{1000}{1000}"), nullptr);
  EXPECT_EQ(Regex::compile(std::string(ir::kRegexMaxBytes + 1, 'a')), nullptr);
  EXPECT_EQ(Regex::compile("(?=a)"), nullptr);
}

TEST_F(RegexTest, FullMatch) {
  const auto regex = Regex::compile("/a(b|c)+");
  EXPECT_TRUE(regex->full_match("/abcb"));
  EXPECT_FALSE(regex->full_match("/abcbx"));
  EXPECT_FALSE(regex->full_match("x/abcb"));
  EXPECT_FALSE(regex->full_match(""));
  EXPECT_TRUE(Regex::compile("a|ab")->full_match("ab")) << "alternatives are all tried";
}

TEST_F(RegexTest, LinearOnHostileText) {
  const auto regex = Regex::compile("(a+)+b");
  EXPECT_FALSE(regex->full_match(std::string(8000, 'a')));
}

TEST_F(RegexTest, Replace) {
  EXPECT_EQ(replace("^/api/v([0-9]+)/(.*)$", "/api/v2/x/y", "/\\2?v=\\1"), "/x/y?v=2");
  EXPECT_EQ(replace("b", "abcb", "[\\0]"), "a[b]cb") << "the leftmost match only";
  EXPECT_EQ(replace("b", "abc", "\\\\"), "a\\c");
  EXPECT_EQ(replace("(x)?b", "abc", "\\1-"), "a-c") << "a group that took no part is empty";
  EXPECT_EQ(replace("b", "abc", "\\7"), "ac") << "so is one that is not there";
  EXPECT_EQ(replace("", "abc", "-"), "-abc");
  EXPECT_EQ(replace("b", "abc", ""), "ac");
}

TEST_F(RegexTest, ReplaceFailures) {
  EXPECT_EQ(replace("x", "abc", "y"), "(no match)");
  EXPECT_EQ(replace("b", "abc", "\\"), "(failed)");
  EXPECT_EQ(replace("b", "abc", "\\n"), "(failed)");
  EXPECT_EQ(replace("(a+)", "aaaaaaaaaa", "\\1\\1\\1", 29), "(failed)");
  EXPECT_EQ(replace("(a+)", "aaaaaaaaaa", "\\1\\1\\1", 30).size(), 30u);
  EXPECT_EQ(replace("b", "abc", "", 1), "(failed)") << "what stays counts too";
}

}  // namespace
}  // namespace sluice::route
