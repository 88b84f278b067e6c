// Processes die, hang, grow in number and are replaced; nobody is refused.
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <set>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/unique_fd.h"
#include "tests/integration/planes_fixture.h"

namespace sluice::test {
namespace {

// Connects again and again from a thread of its own. A connection that was taken by a worker that died may be cut; none
// may be refused.
class Dialer {
 public:
  explicit Dialer(uint16_t port)
      : thread_([this, port] {
          while (!stop_) {
            const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            const UniqueFd owner(fd);
            sockaddr_in to{};
            to.sin_family = AF_INET;
            to.sin_port = htons(port);
            to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
            if (::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) {
              ++refused_;
              continue;
            }
            char line[256];
            if (::recv(fd, line, sizeof line, 0) > 0) ++answered_;
          }
        }) {}
  ~Dialer() { stop(); }
  void stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  [[nodiscard]] int refused() const { return refused_; }
  [[nodiscard]] int answered() const { return answered_; }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<int> refused_{0}, answered_{0};
  std::thread thread_;
};

TEST_F(PlanesTest, KilledWorkerIsReplacedAndNobodyRefused) {
  start_control();
  start_data();
  ASSERT_TRUE(wait_ack(publish({.marker = "one"})));
  Dialer dialer(port("http"));
  for (int i = 0; i < 10; ++i) {
    const std::string role = fmt::format("worker {}", i % 2 + 1);
    pid_t victim = 0, next = 0;
    ASSERT_NO_FATAL_FAILURE(await_child(role, victim));
    kill(victim, SIGKILL);
    ASSERT_NO_FATAL_FAILURE(await_child(role, next, victim));
  }
  ASSERT_TRUE(wait_for(
      [](const Heard& heard) { return heard.report.workers_restarted == 10 && heard.report.workers_ready == 2; }));
  const int before = dialer.answered();
  ASSERT_TRUE(eventually([&] { return dialer.answered() > before; }));
  dialer.stop();
  EXPECT_EQ(dialer.refused(), 0);
  // Nothing is left of the gauges of the dead; both live workers have answered (7 each) or not yet (0).
  const auto [status, metrics] = get(port("admin"), "/metrics");
  EXPECT_EQ(status, 200);
  EXPECT_NE(metrics.find("sluice_worker_restarts_total 10"), std::string::npos);
  const size_t at = metrics.find("\nsluice_connections_active ");
  ASSERT_NE(at, std::string::npos);
  EXPECT_LE(std::stoi(metrics.substr(at + 27)), 14) << metrics.substr(at, 60);
}

TEST_F(PlanesTest, HangingWorkerIsReplaced) {
  start_control();
  start_data();
  ASSERT_TRUE(wait_ack(publish({.marker = "one"})));
  pid_t hung = 0, next = 0;
  ASSERT_NO_FATAL_FAILURE(await_child("worker 1", hung));
  kill(hung, SIGSTOP);
  ASSERT_NO_FATAL_FAILURE(await_child("worker 1", next, hung));
  EXPECT_TRUE(wait_for(
      [](const Heard& heard) { return heard.report.workers_restarted == 1 && heard.report.workers_ready == 2; }));
}

TEST_F(PlanesTest, KilledAgentIsReplacedAndLearnsWhatRuns) {
  start_control();
  start_data();
  ASSERT_TRUE(wait_ack(publish({.marker = "one"})));
  pid_t agent = 0, worker = 0, next = 0;
  ASSERT_NO_FATAL_FAILURE(await_child("agent", agent));
  ASSERT_NO_FATAL_FAILURE(await_child("worker 1", worker));
  const uint16_t admin = port("admin");
  kill(agent, SIGKILL);
  ASSERT_NO_FATAL_FAILURE(await_child("agent", next, agent));
  EXPECT_TRUE(eventually([&] { return get(admin, "/readyz").first == 200; }));
  EXPECT_EQ(child("worker 1"), worker);
  ASSERT_TRUE(wait_ack(publish({.marker = "two"})));
  EXPECT_NE(ask(port("http")).find("marker two"), std::string::npos);
}

TEST_F(PlanesTest, ControlPlaneMayComeAndGo) {
  start_control();
  start_data();
  ASSERT_TRUE(wait_ack(publish({.marker = "one"})));
  const uint16_t http = port("http");
  stop_control();
  EXPECT_NE(ask(http).find("marker one"), std::string::npos);
  start_control();  // another boot id
  const ir::StateId id = publish({.marker = "two"});
  ASSERT_TRUE(wait_ack(id));
  EXPECT_EQ(port("http"), http);
  EXPECT_NE(ask(http).find("marker two"), std::string::npos);
}

TEST_F(PlanesTest, WorkersGrowAndShrink) {
  start_control();
  start_data();
  ASSERT_TRUE(wait_ack(publish({.marker = "one", .workers = 1})));
  const uint16_t http = port("http");
  Dialer dialer(http);
  ASSERT_TRUE(wait_ack(publish({.marker = "two", .workers = 3})));
  EXPECT_TRUE(eventually([&] { return worker_count() == 3; }));
  std::set<std::string> seen;
  EXPECT_TRUE(eventually([&] { return seen.insert(ask(http).substr(0, 8)), seen.size() == 3; }));
  ASSERT_TRUE(wait_ack(publish({.marker = "three", .workers = 1})));
  EXPECT_TRUE(eventually([&] { return worker_count() == 1; }));
  // The two sockets without a worker are served by the one that is left.
  for (int i = 0; i < 30; ++i) EXPECT_NE(ask(http).find("worker 0"), std::string::npos);
  dialer.stop();
  EXPECT_EQ(dialer.refused(), 0);
  EXPECT_GT(dialer.answered(), 0);
}

TEST_F(PlanesTest, ListenersOpenAndCloseAtRunTime) {
  start_control();
  start_data();
  ASSERT_TRUE(wait_ack(publish({.marker = "one"})));
  const uint16_t http = port("http");
  ASSERT_TRUE(wait_ack(publish({.marker = "two", .listeners = {"http", "more"}, .addresses = {"127.0.0.1", "::1"}})));
  EXPECT_EQ(port("http"), http) << "the port stays while the name stays";
  const uint16_t more = port("more");
  ASSERT_NE(more, 0);
  EXPECT_NE(ask(more).find("marker two"), std::string::npos);
  EXPECT_NE(ask(http, "::1").find("marker two"), std::string::npos);
  ASSERT_TRUE(wait_ack(publish({.marker = "three", .listeners = {"more"}})));
  EXPECT_EQ(port("http"), 0);
  EXPECT_EQ(port("more"), more);
  EXPECT_TRUE(eventually([&] { return ask(http).empty(); }));
  EXPECT_NE(ask(more).find("marker three"), std::string::npos);
}

TEST_F(PlanesTest, StateThatKillsWorkersIsRefused) {
  start_control();
  start_data();
  ASSERT_TRUE(wait_ack(publish({.marker = "good"})));
  const uint16_t http = port("http");
  const ir::StateId bad = publish({.marker = "die"});
  ASSERT_TRUE(wait_for([&](const Heard& heard) { return !heard.nacks.empty() && heard.nacks.back().first == bad; }));
  EXPECT_TRUE(eventually([&] { return ask(http).find("marker good") != std::string::npos; }));
  ASSERT_TRUE(wait_ack(publish({.marker = "better"})));
}

TEST_F(PlanesTest, TakenPortIsRefusedAndTriedAgain) {
  UniqueFd taken(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  // With SO_REUSEPORT, as a second data plane would have it: sharing the port in silence would be the worst answer.
  const int on = 1;
  setsockopt(taken.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  ASSERT_EQ(::bind(taken.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(taken.get(), 1), 0);
  getsockname(taken.get(), reinterpret_cast<sockaddr*>(&address), &size);
  start_control();
  start_data();
  const ir::StateId id = publish({.marker = "one", .port = ntohs(address.sin_port)});
  ASSERT_TRUE(wait_for([](const Heard& heard) { return !heard.nacks.empty(); }));
  EXPECT_NE(heard().nacks.back().second.find("listener http at 127.0.0.1"), std::string::npos)
      << heard().nacks.back().second;
  taken.reset();
  EXPECT_TRUE(wait_ack(id));
}

TEST_F(PlanesTest, NewBinaryTakesOverInPlace) {
  start_control();
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  start_data({"--upgrade=" + self});
  ASSERT_TRUE(wait_ack(publish({.marker = "one"})));
  const uint16_t http = port("http"), admin = port("admin");
  pid_t agent = 0, next = 0;
  ASSERT_NO_FATAL_FAILURE(await_child("agent", agent));
  Dialer dialer(http);
  for (int round = 0; round < 3; ++round) {
    pid_t before = 0;
    ASSERT_NO_FATAL_FAILURE(await_child("worker 1", before));
    kill(master(), SIGUSR2);
    ASSERT_NO_FATAL_FAILURE(await_child("worker 1", next, before));
    ASSERT_TRUE(eventually([&] { return worker_count() == 2; }));
    ASSERT_TRUE(eventually([&] { return kill(before, 0) != 0; })) << "the old worker has drained";
  }
  ASSERT_NO_FATAL_FAILURE(await_child("agent", next, agent));
  EXPECT_TRUE(eventually([&] { return get(admin, "/readyz").first == 200; }));
  const ir::StateId id = publish({.marker = "two"});
  ASSERT_TRUE(wait_ack(id));
  EXPECT_EQ(port("http"), http);
  EXPECT_NE(ask(http).find("marker two"), std::string::npos);
  dialer.stop();
  EXPECT_EQ(dialer.refused(), 0);
  EXPECT_EQ(stop_data(), 0);
}

TEST_F(PlanesTest, BrokenNewBinaryChangesNothing) {
  start_control();
  start_data({"--upgrade=/bin/false"});
  ASSERT_TRUE(wait_ack(publish({.marker = "one"})));
  pid_t worker = 0;
  ASSERT_NO_FATAL_FAILURE(await_child("worker 1", worker));
  kill(master(), SIGUSR2);
  ASSERT_TRUE(wait_ack(publish({.marker = "two"})));
  EXPECT_EQ(child("worker 1"), worker);
}

TEST_F(PlanesTest, DrainTurnsReadinessOffAndEnds) {
  start_control();
  start_data();
  ASSERT_TRUE(wait_ack(publish({.marker = "one", .drain_ms = 5000})));
  const uint16_t admin = port("admin");
  EXPECT_EQ(get(admin, "/readyz"), std::make_pair(200, std::string("ready\n")));
  EXPECT_EQ(get(admin, "/healthz").first, 200);
  EXPECT_EQ(get(admin, "/nothing").first, 404);
  pid_t held = 0;
  ASSERT_NO_FATAL_FAILURE(await_child("worker 1", held));
  kill(held, SIGSTOP);  // holds the drain up until its heartbeat is missed
  kill(master(), SIGTERM);
  EXPECT_TRUE(eventually([&] { return get(admin, "/readyz") == std::make_pair(503, std::string("draining\n")); }));
  EXPECT_EQ(stop_data(SIGCONT), 0);
}

TEST_F(PlanesTest, MetricsNameCertificatesRoutesAndGeneration) {
  start_control();
  start_data();
  ASSERT_TRUE(wait_ack(publish({.marker = "one", .certificates = {"ns/a", "ns/b"}})));
  EXPECT_FALSE(ask(port("http")).empty());
  static constexpr const char* kLines[] = {
      "sluice_certificate_not_after_seconds{id=\"ns/a\"} 1900000000",
      "sluice_generation 1",
      "sluice_requests_total{route_kind=\"Ingress\",route_namespace=\"test\",route_name=\"one\","
      "code_class=\"2xx\"} 1",
      "sluice_namespace_requests_total{route_namespace=\"test\",code_class=\"2xx\"} 1",
      "sluice_workers 2",
      "sluice_workers_ready 2",
      "sluice_propagation_seconds_count 1",
      "sluice_connections_accepted_total 1",
      "sluice_control_plane_connected 1"};
  std::string text;
  const auto has = [&](const char* line) { return text.find(std::string("\n") + line + "\n") != std::string::npos; };
  EXPECT_TRUE(eventually([&] {  // the answer may be here before it is counted
    text = get(port("admin"), "/metrics").second;
    return std::ranges::all_of(kLines, has);
  }));
  for (const char* line : kLines) EXPECT_TRUE(has(line)) << line << "\n" << text;
}

}  // namespace
}  // namespace sluice::test
