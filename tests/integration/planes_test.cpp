// From publish() to a worker's answer and back, over real sockets and processes.
#include <filesystem>
#include <set>

#include "dataplane/master/child.h"
#include "tests/integration/planes_fixture.h"
#include "tests/integration/stand_in_worker.h"

namespace sluice::test {
int run_worker(unsigned index) { return run_stand_in_worker(master::kFirstChildFd, master::kFirstChildFd + 1, index); }

namespace {
using ::testing::Test;

TEST_F(PlanesTest, StateReachesWorkersAndIsAcknowledged) {
  start_control();
  start_data();
  const ir::StateId id = publish({.marker = "one"});
  ASSERT_TRUE(wait_ack(id));
  EXPECT_EQ(heard().report.workers_total, 2u);
  ASSERT_NE(port("http"), 0);
  EXPECT_NE(ask(port("http")).find("sequence 1 marker one"), std::string::npos);
  const ir::StateId next = publish({.marker = "two"});
  ASSERT_TRUE(wait_ack(next));
  const uint16_t kept = port("http");
  for (int i = 0; i < 20; ++i) EXPECT_NE(ask(kept).find("sequence 2 marker two"), std::string::npos);
  EXPECT_EQ(stop_data(), 0);
}

// A large table: workers have all of its shards, and a change of one reaches them.
TEST_F(PlanesTest, ShardsReachWorkers) {
  start_control();
  start_data();
  for (const char* marker : {"one", "two"}) {
    ASSERT_TRUE(wait_ack(publish({.shards = ir::kMaxShards, .shard_marker = marker})));
    EXPECT_NE(ask(port("http")).find(fmt::format("marker m shard {}", marker)), std::string::npos);
  }
  ASSERT_TRUE(wait_ack(publish({.shards = 4, .shard_marker = "fewer"})));
  EXPECT_NE(ask(port("http")).find("marker m shard fewer"), std::string::npos);
  // A worker, an agent and a data plane that begin now have them from who holds them.
  for (const std::string role : {"worker 1", "agent"}) {
    const pid_t before = child(role);
    kill(before, SIGKILL);
    ASSERT_TRUE(eventually([&] { return child(role) != 0 && child(role) != before; })) << role;
  }
  ASSERT_TRUE(wait_ack(publish({.shards = 4, .shard_marker = "after"})));
  for (int i = 0; i < 10; ++i) EXPECT_NE(ask(port("http")).find("marker m shard after"), std::string::npos);
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(state_dir_ + "/manifest"); }));
  stop_data();
  stop_control();
  start_control();
  start_data({"--admin-port=0"});
  ASSERT_TRUE(wait_for([&](const Heard& heard) { return heard.report.workers_ready == 2; }));
  EXPECT_NE(ask(port("http")).find("marker m shard after"), std::string::npos);
}

TEST_F(PlanesTest, SameContentIsNotPushedAgain) {
  start_control();
  start_data();
  const ir::StateId id = publish({.marker = "one"});
  EXPECT_EQ(publish({.marker = "one"}), id);
  ASSERT_TRUE(wait_ack(id));
}

TEST_F(PlanesTest, RefusedStateLeavesTheOldOne) {
  start_control();
  start_data();
  ASSERT_TRUE(wait_ack(publish({.marker = "good"})));
  const ir::StateId bad = publish({.marker = "refuse"});
  ASSERT_TRUE(wait_for([&](const Heard& heard) { return !heard.nacks.empty() && heard.nacks.back().first == bad; }));
  EXPECT_NE(ask(port("http")).find("marker good"), std::string::npos);
  ASSERT_TRUE(wait_ack(publish({.marker = "better"})));
  EXPECT_NE(ask(port("http")).find("marker better"), std::string::npos);
}

}  // namespace
}  // namespace sluice::test
