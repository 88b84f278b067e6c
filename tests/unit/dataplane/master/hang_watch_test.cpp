#include "dataplane/master/hang_watch.h"

#include <csignal>

#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace sluice::master {
namespace {

constexpr ProcessLook runs(uint64_t cpu_ms) { return {cpu_ms, true}; }
constexpr ProcessLook waits(uint64_t cpu_ms) { return {cpu_ms, false}; }

TEST(HangWatch, WhoWaitsForTheCpuDoesNotHang) {
  HangWatch watch;
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(watch.hangs(runs(7000)));
  EXPECT_FALSE(watch.hangs(runs(7000 + HangWatch::kEnoughCpuMs - 1)));
}

TEST(HangWatch, WhoIsGivenTheCpuAndDoesNotBeatHangs) {
  HangWatch watch;
  EXPECT_FALSE(watch.hangs(runs(7000)));
  EXPECT_FALSE(watch.hangs(runs(7250)));
  EXPECT_TRUE(watch.hangs(runs(7500)));
}

TEST(HangWatch, WhoWaitsForSomethingElseHangs) {
  HangWatch watch;
  EXPECT_FALSE(watch.hangs(waits(7000)));
  EXPECT_TRUE(watch.hangs(waits(7000)));
}

TEST(HangWatch, OnceIsNotEnough) {
  // It may just be about to be woken.
  HangWatch watch;
  EXPECT_FALSE(watch.hangs(waits(7000)));
  EXPECT_FALSE(watch.hangs(runs(7000)));
  EXPECT_FALSE(watch.hangs(waits(7001)));
  EXPECT_FALSE(watch.hangs(runs(7001)));
}

TEST(HangWatch, WhatIsNotKnownCountsAsWaiting) {
  HangWatch watch;
  EXPECT_FALSE(watch.hangs(std::nullopt));
  EXPECT_TRUE(watch.hangs(std::nullopt));
}

class Child {
 public:
  template <class Work>
  explicit Child(Work&& work) : pid_(fork()) {
    if (pid_ == 0) {
      work();
      _exit(0);
    }
  }
  ~Child() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

TEST(LookAt, SeesABusyProcessUseTheCpu) {
  const Child busy([] {
    volatile bool go = true;
    while (go) {
    }
  });
  // However long it takes to be given that much.
  for (;;) {
    const auto look = look_at(busy.pid());
    ASSERT_TRUE(look);
    EXPECT_TRUE(look->runnable);
    if (look->cpu_ms >= 20) break;
    usleep(1000);
  }
}

TEST(LookAt, SeesAStoppedProcessWait) {
  const Child stopped([] {
    for (;;) pause();
  });
  ASSERT_EQ(kill(stopped.pid(), SIGSTOP), 0);
  int status = 0;
  ASSERT_EQ(waitpid(stopped.pid(), &status, WUNTRACED), stopped.pid());
  ASSERT_TRUE(WIFSTOPPED(status));
  const auto look = look_at(stopped.pid());
  ASSERT_TRUE(look);
  EXPECT_FALSE(look->runnable);
}

TEST(LookAt, SeesNothingOfWhoIsGone) {
  const pid_t pid = fork();
  if (pid == 0) _exit(0);
  ASSERT_EQ(waitpid(pid, nullptr, 0), pid);
  EXPECT_FALSE(look_at(pid));
}

}  // namespace
}  // namespace sluice::master
