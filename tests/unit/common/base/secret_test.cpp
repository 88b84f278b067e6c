#include "common/base/secret.h"

#include <gtest/gtest.h>

#include <sstream>

namespace sluice {
namespace {

TEST(SecretBytes, NeverPrints) {
  const SecretBytes secret("hunter2");
  std::ostringstream out;
  out << secret;
  EXPECT_EQ(out.str(), "[redacted]");
  EXPECT_EQ(fmt::format("{}", secret), "[redacted]");
  EXPECT_EQ(secret.reveal(), "hunter2");
}

TEST(SecretBytes, MovedFromIsEmpty) {
  SecretBytes a("hunter2");
  SecretBytes b(std::move(a));
  EXPECT_TRUE(a.empty());  // NOLINT(bugprone-use-after-move): that is what is tested
  EXPECT_EQ(b.reveal(), "hunter2");
  SecretBytes c("other");
  c = std::move(b);
  EXPECT_TRUE(b.empty());  // NOLINT
  EXPECT_EQ(c.reveal(), "hunter2");
  SecretBytes d = c;
  EXPECT_EQ(d, c);
  EXPECT_NE(d, SecretBytes("x"));
}

TEST(SecretBytes, LongOnesAreWiped) {
  // The heap block is read before it is given back: an allocator of one's own would be needed to look after.
  SecretBytes a(std::string(100, 's'));
  const std::string_view view = a.reveal();
  EXPECT_EQ(view.size(), 100u);
  a = SecretBytes(std::string(100, 't'));
  EXPECT_EQ(a.reveal(), std::string(100, 't'));
}

}  // namespace
}  // namespace sluice
