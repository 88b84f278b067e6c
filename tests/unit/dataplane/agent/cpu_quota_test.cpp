// Worker processes by the CPU quota of the cgroup: a made-up /sys/fs/cgroup and /proc/self/cgroup for each layout.
#include "dataplane/agent/cpu_quota.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

namespace sluice::agent {
namespace {

class CpuQuota : public ::testing::Test {
 protected:
  CpuQuota() {
    std::string name = (std::filesystem::temp_directory_path() / "sluice-test-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    root = name;
  }
  ~CpuQuota() override {
    std::error_code ignored;
    std::filesystem::remove_all(root, ignored);
  }
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(root + "/" + name).parent_path());
    std::ofstream(root + "/" + name) << text << "\n";
  }
  unsigned workers(const std::string& proc, unsigned cpus) const {
    write("proc", proc);
    return workers_by_quota(root, root + "/proc", cpus);
  }
  std::string root;
};

TEST_F(CpuQuota, WithoutAQuotaTheCpusCount) {
  EXPECT_EQ(workers("0::/", 6), 6u) << "no files at all";
  EXPECT_EQ(workers_by_quota(root, root + "/absent", 6), 6u);
  write("cpu.max", "max 100000");
  EXPECT_EQ(workers("0::/", 6), 6u);
  write("cpu/cpu.cfs_quota_us", "-1");
  write("cpu/cpu.cfs_period_us", "100000");
  EXPECT_EQ(workers("4:cpu,cpuacct:/", 6), 6u);
}

TEST_F(CpuQuota, Version2RoundsUpAndTheTightestCounts) {
  write("pods/a/cpu.max", "250000 100000");
  EXPECT_EQ(workers("0::/pods/a", 8), 3u);
  EXPECT_EQ(workers("0::/pods/a/b", 8), 3u) << "a parent's holds for what is below";
  write("pods/cpu.max", "100000 100000");
  EXPECT_EQ(workers("0::/pods/a", 8), 1u);
  write("pods/cpu.max", "90000 50000");
  EXPECT_EQ(workers("0::/pods/a", 8), 2u);
  EXPECT_EQ(workers("0::/pods/a", 1), 1u) << "never more than there are CPUs";
  write("cpu.max", "1000 100000");
  EXPECT_EQ(workers("0::/", 8), 1u) << "never none";
}

TEST_F(CpuQuota, Version1ByItsOwnOrItsJoinedFolder) {
  write("cpu/box/cpu.cfs_quota_us", "150000");
  write("cpu/box/cpu.cfs_period_us", "100000");
  EXPECT_EQ(workers("7:memory:/box\n6:cpu:/box\n0::/", 8), 2u);
  std::filesystem::rename(root + "/cpu", root + "/cpu,cpuacct");
  EXPECT_EQ(workers("6:cpu,cpuacct:/box", 8), 2u);
  EXPECT_EQ(workers("6:cpuset:/box", 8), 8u) << "another controller";
}

TEST_F(CpuQuota, WhatIsBrokenIsNoQuota) {
  for (const char* text : {"", "100000", "x y", "100000 0", "-5 100000", "0 100000"}) {
    write("cpu.max", text);
    EXPECT_EQ(workers("0::/", 4), 4u) << text;
  }
  for (const char* proc : {"", "0", "0:", "::::", "no colon"}) EXPECT_EQ(workers(proc, 4), 4u) << proc;
}

}  // namespace
}  // namespace sluice::agent
