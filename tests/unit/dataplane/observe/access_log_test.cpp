#include "dataplane/observe/access_log.h"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "common/base/unique_fd.h"

namespace sluice::observe {
namespace {

struct Unmap {
  void operator()(shared::CounterPage* page) const { munmap(page, sizeof(shared::CounterPage)); }
};

class AccessLogTest : public ::testing::Test {
 protected:
  AccessLogTest() {
    char name[] = "/tmp/sluice-log-XXXXXX";
    dir_ = mkdtemp(name);
    page_.reset(static_cast<shared::CounterPage*>(
        mmap(nullptr, sizeof(shared::CounterPage), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
    log_ = std::make_unique<AccessLog>(reactor_, *page_);
  }
  ~AccessLogTest() override {
    log_.reset();
    std::filesystem::remove_all(dir_);
  }
  std::string file(const std::string& name = "log") { return dir_ + "/" + name; }
  static std::string content(const std::string& path) {
    std::ifstream in(path);
    std::stringstream all;
    all << in.rdbuf();
    return all.str();
  }
  // Each line must be whole: "N" + padding + "N".
  void write(uint64_t number, size_t padding = 0) {
    StreamRecord r;
    r.duration_us = r.state_sequence = number;
    const std::string path = "/" + std::string(padding, 'x');
    r.path = path;
    log_->write(r);
  }
  static void check(const std::string& text, std::vector<uint64_t>* numbers = nullptr) {
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
      if (line.empty()) continue;
      const auto json = nlohmann::json::parse(line, nullptr, false);
      ASSERT_FALSE(json.is_discarded()) << line;
      ASSERT_EQ(json["duration_us"], json["state_sequence"]);
      if (numbers != nullptr) numbers->push_back(json["duration_us"]);
    }
  }
  uint64_t lines() const { return page_->log_lines.get(); }
  uint64_t dropped() const { return page_->log_dropped.get(); }

  net::Reactor reactor_;
  std::unique_ptr<shared::CounterPage, Unmap> page_;
  std::unique_ptr<AccessLog> log_;
  std::string dir_;
};

TEST_F(AccessLogTest, WritesInBatches) {
  EXPECT_FALSE(log_->enabled());
  log_->configure(file(), "json");
  EXPECT_TRUE(log_->enabled());
  write(1);
  EXPECT_EQ(content(file()), "") << "a line alone waits for others";
  for (int i = 0; i < 100 && content(file()).empty(); ++i) reactor_.run_once(50);
  std::vector<uint64_t> numbers;
  check(content(file()), &numbers);
  EXPECT_EQ(numbers, std::vector<uint64_t>{1});
  for (uint64_t i = 2; i <= 1000; ++i) write(i, 100);
  const size_t now = content(file()).size();
  EXPECT_GE(now, 64u * 1024) << "a full batch does not wait for the timer";
  log_->flush();
  numbers.clear();
  check(content(file()), &numbers);
  EXPECT_EQ(numbers.size(), 1000u);
  EXPECT_TRUE(std::is_sorted(numbers.begin(), numbers.end()));
  EXPECT_EQ(lines(), 1000u);
  EXPECT_EQ(dropped(), 0u);
}

TEST_F(AccessLogTest, OffWritesNothing) {
  log_->configure("off", "json");
  EXPECT_FALSE(log_->enabled());
  write(1);
  EXPECT_EQ(lines(), 0u);
}

TEST_F(AccessLogTest, ReopenFollowsARename) {
  log_->configure(file(), "json");
  write(1);
  std::filesystem::rename(file(), file("old"));
  log_->reopen();
  write(2);
  log_->flush();
  std::vector<uint64_t> old, fresh;
  check(content(file("old")), &old);
  check(content(file()), &fresh);
  EXPECT_EQ(old, std::vector<uint64_t>{1});
  EXPECT_EQ(fresh, std::vector<uint64_t>{2});
}

TEST_F(AccessLogTest, AnotherPathTakesTheLinesAfterIt) {
  log_->configure(file("a"), "json");
  write(1);
  log_->configure(file("b"), "%{status} %{path}");
  write(2);
  log_->configure("off", "json");
  EXPECT_FALSE(log_->enabled());
  check(content(file("a")));
  EXPECT_EQ(content(file("b")), "0 /\n");
}

TEST_F(AccessLogTest, AnUnusablePathDropsAndCounts) {
  log_->configure(dir_ + "/no/such/folder/log", "json");
  EXPECT_TRUE(log_->enabled());
  for (uint64_t i = 0; i < 1000; ++i) write(i);
  log_->flush();
  EXPECT_EQ(lines(), 1000u);
  EXPECT_EQ(dropped(), 1000u);
}

TEST_F(AccessLogTest, ABlockedPipeDropsWholeLinesAndGoesOn) {
  ASSERT_EQ(mkfifo(file().c_str(), 0600), 0);
  UniqueFd reader(::open(file().c_str(), O_RDONLY | O_NONBLOCK));
  ASSERT_TRUE(reader);
  log_->configure(file(), "json");
  const uint64_t many = 20'000;
  for (uint64_t i = 0; i < many; ++i) write(i, i % 300);  // several MiB; the pipe and the buffer hold 320 KiB
  EXPECT_EQ(lines(), many);
  EXPECT_GT(dropped(), many / 2);
  std::string text;
  char buffer[65536];
  auto read_all = [&] {
    for (ssize_t n; (n = ::read(reader.get(), buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<size_t>(n));
  };
  for (int i = 0; i < 50; ++i) {
    read_all();
    reactor_.run_once(10);
    log_->write([] {
      StreamRecord r;
      r.duration_us = r.state_sequence = 77;
      return r;
    }());
  }
  log_->flush();
  read_all();
  std::vector<uint64_t> numbers;
  check(text, &numbers);
  EXPECT_EQ(numbers.size(), lines() - dropped());
  EXPECT_GT(numbers.size(), 500u);
}

TEST_F(AccessLogTest, WithoutAReaderLinesAreDropped) {
  ASSERT_EQ(mkfifo(file().c_str(), 0600), 0);
  {
    UniqueFd reader(::open(file().c_str(), O_RDONLY | O_NONBLOCK));
    log_->configure(file(), "json");
  }
  for (uint64_t i = 0; i < 1000; ++i) write(i, 200);
  log_->flush();
  EXPECT_EQ(dropped(), 1000u);
}

TEST_F(AccessLogTest, PipesSharedByWorkersKeepLinesWhole) {
  ASSERT_EQ(mkfifo(file().c_str(), 0600), 0);
  UniqueFd reader(::open(file().c_str(), O_RDONLY | O_NONBLOCK));
  AccessLog other(reactor_, *page_);
  log_->configure(file(), "json");
  other.configure(file(), "json");
  std::string text;
  char buffer[3000];
  for (uint64_t i = 0; i < 5000; ++i) {
    StreamRecord r;
    r.duration_us = r.state_sequence = i;
    const std::string path(i % 5000, 'y');
    r.path = path;
    other.write(r);
    write(i, i % 700);
    if (i % 3 == 0) {
      if (const ssize_t n = ::read(reader.get(), buffer, sizeof buffer); n > 0)
        text.append(buffer, static_cast<size_t>(n));
    }
  }
  for (ssize_t n; (n = ::read(reader.get(), buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<size_t>(n));
  std::vector<uint64_t> numbers;
  check(text, &numbers);
  EXPECT_GT(numbers.size(), 500u);
}

TEST_F(AccessLogTest, AFullDiskNeverLeavesHalfALine) {
  log_->configure(file(), "json");
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  for (const rlim_t size : {70'001u, 90'013u}) {
    rlimit tight = old;
    tight.rlim_cur = size;
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
    for (uint64_t i = 0; i < 3000; ++i) write(i, i % 100);
    const std::string text = content(file());
    EXPECT_LE(text.size(), size);
    EXPECT_GT(text.size(), size - 1000);
    check(text);
    EXPECT_EQ(text.back(), '\n');
  }
  EXPECT_GT(dropped(), 0u);
  setrlimit(RLIMIT_FSIZE, &old);
  log_->flush();
  std::vector<uint64_t> numbers;
  check(content(file()), &numbers);
  EXPECT_EQ(numbers.size(), lines() - dropped());
}

TEST_F(AccessLogTest, ACutThatCannotBeTakenBackEndsItsLine) {
  // A file that cannot be shortened.
  const UniqueFd sealed(memfd_create("log", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_TRUE(sealed);
  ASSERT_EQ(fcntl(sealed.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
  const std::string path = "/proc/self/fd/" + std::to_string(sealed.get());
  log_->configure(path, "json");
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  rlimit tight = old;
  tight.rlim_cur = 3001;
  setrlimit(RLIMIT_FSIZE, &tight);
  for (uint64_t i = 0; i < 400; ++i) write(i, 100);
  setrlimit(RLIMIT_FSIZE, &old);
  log_->flush();
  std::istringstream in(content(path));
  size_t good = 0, halves = 0;
  for (std::string line; std::getline(in, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (json.is_discarded()) ++halves;
    else ++good;
  }
  EXPECT_EQ(halves, 1u) << "the half line stands alone";
  EXPECT_EQ(good, lines() - dropped());
  EXPECT_EQ(dropped(), 1u);
}

}  // namespace
}  // namespace sluice::observe
