#include "dataplane/worker/descriptor_reserve.h"

#include <cerrno>
#include <vector>

#include <fcntl.h>

#include <gtest/gtest.h>

#include "common/base/unique_fd.h"

namespace sluice::worker {
namespace {

rlim_t soft_limit() {
  rlimit limit{};
  EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  return limit.rlim_cur;
}

// Opens until nothing is left, or `most` are open.
std::vector<UniqueFd> use_up(size_t most) {
  std::vector<UniqueFd> out;
  while (out.size() < most) {
    UniqueFd fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!fd) {
      EXPECT_EQ(errno, EMFILE);
      break;
    }
    out.push_back(std::move(fd));
  }
  return out;
}

struct DescriptorReserveTest : ::testing::Test {
  void SetUp() override {
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    rlimit limit = before;
    limit.rlim_cur = std::min<rlim_t>(1024, before.rlim_max);
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  }
  void TearDown() override { setrlimit(RLIMIT_NOFILE, &before); }
  rlimit before{};
};

TEST_F(DescriptorReserveTest, AStateFitsWhenClientsHaveUsedUpTheRest) {
  const DescriptorReserve reserve;
  const std::vector<UniqueFd> clients = use_up(4096);
  ASSERT_GT(clients.size(), 500u);
  EXPECT_TRUE(use_up(1).empty());
  reserve.release();
  EXPECT_EQ(use_up(sync::kMaxFds).size(), sync::kMaxFds);
  reserve.keep();
  EXPECT_TRUE(use_up(1).empty());
}

TEST_F(DescriptorReserveTest, ASmallLimitKeepsMostForClients) {
  rlimit limit = before;
  limit.rlim_cur = 200;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  {
    const DescriptorReserve reserve;
    EXPECT_EQ(soft_limit(), 150u);
  }
  EXPECT_EQ(soft_limit(), 200u) << "as it was";
}

}  // namespace
}  // namespace sluice::worker
