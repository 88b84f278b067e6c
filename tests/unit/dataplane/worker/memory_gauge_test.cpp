#include "dataplane/worker/memory_gauge.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <unistd.h>

namespace sluice::worker {
namespace {

constexpr uint64_t kMiB = 1024 * 1024;

struct MemoryGaugeTest : ::testing::Test {
  std::string root;
  void SetUp() override {
    char name[] = "/tmp/sluice-gauge.XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    root = name;
    write("statm", "9000 3000 1000 5 0 2000 0\n");  // 2,000 pages are ours alone
  }
  void TearDown() override { std::filesystem::remove_all(root); }
  void write(const std::string& path, const std::string& text) const {
    const std::filesystem::path file = root + "/" + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  [[nodiscard]] MemoryGauge gauge(const std::string& proc_cgroup) const {
    write("cgroup", proc_cgroup);
    return {root + "/fs", root + "/cgroup", root + "/statm"};
  }
};

TEST_F(MemoryGaugeTest, ACgroupOfVersion2) {
  write("fs/memory.max", "104857600\n");
  write("fs/memory.current", "94371840\n");
  write("fs/memory.stat", "anon 1\ninactive_file 2097152\nactive_file 1048576\nworkingset 9\nsock 31457280\n");
  const MemoryGauge gauge = this->gauge("0::/\n");
  const MemoryFigures figures = gauge.read(2);
  EXPECT_EQ(figures.limit, 100 * kMiB);
  EXPECT_EQ(figures.used, 87 * kMiB) << "without pages of files";
  EXPECT_EQ(figures.clients, 30 * kMiB + 2 * 2000 * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
}

TEST_F(MemoryGaugeTest, WhatChangesIsSeen) {
  write("fs/memory.max", "104857600\n");
  write("fs/memory.current", "10485760\n");
  write("fs/memory.stat", "inactive_file 0\n");
  const MemoryGauge gauge = this->gauge("0::/\n");
  EXPECT_EQ(gauge.read(1).used, 10 * kMiB);
  write("fs/memory.current", "99614720\n");
  write("fs/memory.max", "209715200\n");
  EXPECT_EQ(gauge.read(1).used, 95 * kMiB);
  EXPECT_EQ(gauge.read(1).limit, 200 * kMiB) << "limits of a running Pod may be changed";
  write("fs/memory.max", "max\n");
  EXPECT_EQ(gauge.read(1).limit, 0u);
}

TEST_F(MemoryGaugeTest, TheTightestLimitAboveUsHolds) {
  write("fs/pod/container/memory.max", "max\n");
  write("fs/pod/container/memory.current", "5\n");
  write("fs/pod/memory.max", "104857600\n");
  write("fs/pod/memory.current", "20971520\n");
  write("fs/memory.max", "1048576000\n");
  write("fs/memory.current", "900000000\n");
  const MemoryFigures figures = gauge("0::/pod/container\n").read(1);
  EXPECT_EQ(figures.limit, 100 * kMiB);
  EXPECT_EQ(figures.used, 20 * kMiB);
}

TEST_F(MemoryGaugeTest, ACgroupOfVersion1) {
  write("fs/memory/docker/7/memory.limit_in_bytes", "104857600\n");
  write("fs/memory/docker/7/memory.usage_in_bytes", "99614720\n");
  write("fs/memory/docker/7/memory.stat", "cache 5\ntotal_inactive_file 1048576\ntotal_active_file 1048576\n");
  write("fs/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("fs/memory/memory.usage_in_bytes", "1\n");
  const MemoryFigures figures = gauge("12:cpu,cpuacct:/x\n4:memory:/docker/7\n0::/\n").read(1);
  EXPECT_EQ(figures.limit, 100 * kMiB);
  EXPECT_EQ(figures.used, 93 * kMiB);
  EXPECT_EQ(figures.clients, 2000 * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
}

TEST_F(MemoryGaugeTest, NoLimitAndNothingReadable) {
  write("fs/memory.max", "max\n");
  write("fs/memory.current", "99614720\n");
  EXPECT_EQ(gauge("0::/\n").read(1).limit, 0u);
  EXPECT_EQ(gauge("0::/absent\n").read(1).limit, 0u);
  EXPECT_EQ(gauge("no cgroup at all\n").read(1).limit, 0u);
  EXPECT_EQ(MemoryGauge().read(1).limit, 0u);
  write("fs/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("fs/memory/memory.usage_in_bytes", "5\n");
  EXPECT_EQ(gauge("4:memory:/\n").read(1).limit, 0u);
}

TEST_F(MemoryGaugeTest, BrokenFilesAreNoPressure) {
  write("fs/memory.max", "104857600\n");
  write("fs/memory.current", "99614720\n");
  write("fs/memory.stat", "inactive_file\nactive_file x\nsock 99999999999999999999999\ninactive_file");
  write("statm", "12");
  const MemoryFigures figures = gauge("0::/\n").read(1);
  EXPECT_EQ(figures.used, 95 * kMiB);
  EXPECT_EQ(figures.clients, 0u);
}

TEST_F(MemoryGaugeTest, OfThisProcess) {
  const MemoryFigures figures = MemoryGauge::of_this_process().read(1);
  EXPECT_TRUE(figures.limit == 0 || figures.used != 0);
}

}  // namespace
}  // namespace sluice::worker
