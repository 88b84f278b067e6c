#include "common/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <unistd.h>

#include "common/base/secret.h"

namespace sluice {
namespace {

std::string escaped(std::string_view text) {
  std::string out;
  log::append_json_escaped(out, text);
  return out;
}

TEST(Log, Escapes) {
  EXPECT_EQ(escaped("plain"), "plain");
  EXPECT_EQ(escaped("a\"b\\c"), "a\\\"b\\\\c");
  EXPECT_EQ(escaped(std::string_view("\n\t\0\x7F", 4)), "\\u000a\\u0009\\u0000\\u007f");
  EXPECT_EQ(escaped("\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80"), "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80");
  // Overlong, surrogate, above U+10FFFF, cut, stray continuation.
  EXPECT_EQ(escaped("\xC0\xAF"), "\\u00c0\\u00af");
  EXPECT_EQ(escaped("\xED\xA0\x80"), "\\u00ed\\u00a0\\u0080");
  EXPECT_EQ(escaped("\xF4\x90\x80\x80"), "\\u00f4\\u0090\\u0080\\u0080");
  EXPECT_EQ(escaped("\xE2\x82"), "\\u00e2\\u0082");
  EXPECT_EQ(escaped("\x80"), "\\u0080");
}

TEST(Log, Levels) {
  log::Level level{};
  EXPECT_TRUE(log::parse_level("warning", level));
  EXPECT_EQ(level, log::Level::warning);
  EXPECT_FALSE(log::parse_level("Warning", level));
  EXPECT_FALSE(log::parse_level("", level));
}

// stderr while `run` runs.
template <class Run>
std::string stderr_of(Run run) {
  testing::internal::CaptureStderr();
  run();
  return testing::internal::GetCapturedStderr();
}

TEST(Log, OneBoundedLine) {
  const std::string line = stderr_of([] {
    log::warning("a\nb", {{"key", "v\"w"}, {"n", 5}, {"secret", SecretBytes("hunter2")}});
  });
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  EXPECT_THAT(line, testing::HasSubstr(R"("level":"warning")"));
  EXPECT_THAT(line, testing::HasSubstr(R"("msg":"a\u000ab","key":"v\"w","n":"5","secret":"[redacted]"})"));
  EXPECT_THAT(line, testing::Not(testing::HasSubstr("hunter2")));
  for (const char c : {'x', '\n', '\xFF'}) {
    const std::string big(100000, c);
    const std::string cut = stderr_of([&] { log::error("big", {{"a", big}, {"b", big}}); });
    EXPECT_LE(cut.size(), 8192u);
    EXPECT_EQ(cut.back(), '\n');
    EXPECT_EQ(cut[cut.size() - 2], '}');
  }
  for (const char c : {'x', '\n'}) {
    const std::string cut = stderr_of([&] { log::error(std::string(100000, c), {{"a", std::string(100000, c)}}); });
    EXPECT_LE(cut.size(), 8192u) << "message of " << int{c};
  }
}

TEST(Log, LevelFilters) {
  const log::Level before = log::level();
  log::set_level(log::Level::error);
  EXPECT_EQ(stderr_of([] { log::warning("no"); }), "");
  EXPECT_NE(stderr_of([] { log::error("yes"); }), "");
  log::set_level(log::Level::off);
  EXPECT_EQ(stderr_of([] { log::error("no"); }), "");
  log::set_level(before);
}

}  // namespace
}  // namespace sluice
