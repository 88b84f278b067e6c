// A control plane's publisher in the test's process (its own thread) and a data plane beside it: this test program
// started again in its roles, which main() here tells from running the tests.
#pragma once
#include <condition_variable>
#include <csignal>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "common/base/asio.h"
#include "common/ir/route_table_generated.h"
#include "controlplane/publish/publisher.h"

namespace sluice::test {

// The worker of this program; its descriptors are there from master::kFirstChildFd on. Each program has its own.
[[nodiscard]] int run_worker(unsigned index);

struct TestState {
  std::string marker = "m";  // shows in the stand-in worker's answers
  unsigned workers = 2;
  std::vector<std::string> listeners = {"http"};
  std::vector<std::string> addresses = {"127.0.0.1"};
  uint16_t port = 0;
  uint32_t drain_ms = 3000;
  std::vector<std::string> certificates = {};
  size_t shards = 0;                  // of the table; each has a cluster
  std::string shard_marker = "none";  // in one of them; shows in the stand-in worker's answers
};
[[nodiscard]] publish::StateParts build(const TestState& state);

// What the publisher heard; every member under the mutex.
struct Heard {
  publish::DataplaneReport report;
  std::vector<std::pair<ir::StateId, std::string>> nacks;
  int disconnects = 0;
};

class PlanesTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  void start_control();
  void stop_control();
  ir::StateId publish(const TestState& state);
  ir::StateId publish(publish::StateParts parts);
  // Waits (bounded, far beyond what is expected) until it holds.
  [[nodiscard]] bool wait_for(const std::function<bool(const Heard&)>& condition, int seconds = 120);
  [[nodiscard]] bool wait_ack(ir::StateId id) {
    return wait_for([&](const Heard& heard) {
      return heard.report.acknowledged == id && heard.report.workers_ready == heard.report.workers_total;
    });
  }
  [[nodiscard]] Heard heard();
  [[nodiscard]] uint16_t port(const std::string& listener);

  void start_data(std::vector<std::string> more = {});
  // SIGTERM and wait; its exit code, -1 if it was killed.
  int stop_data(int signal = SIGTERM);
  [[nodiscard]] pid_t master() const { return master_; }
  // Children of the master by role: "agent", "worker 1".
  [[nodiscard]] pid_t child(const std::string& role) const;
  // Waits for one that is not `other`, and looks once: what has just been seen may be gone at the next look.
  void await_child(const std::string& role, pid_t& found, pid_t other = 0) const;
  [[nodiscard]] size_t worker_count() const;

  std::string folder_, state_dir_, socket_;

 private:
  boost::asio::io_context io_{1};
  std::unique_ptr<publish::Publisher> publisher_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Heard heard_;
  pid_t master_ = 0;
};

// Connects and reads the line; empty: refused or cut.
[[nodiscard]] std::string ask(uint16_t port, const char* address = "127.0.0.1");
// GET over the admin port; status and body.
[[nodiscard]] std::pair<int, std::string> get(uint16_t port, const std::string& path);
[[nodiscard]] bool eventually(const std::function<bool()>& condition, int seconds = 120);

}  // namespace sluice::test
