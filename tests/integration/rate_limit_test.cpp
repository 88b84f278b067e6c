// Limits are exact to the token over all workers of an instance, through new tables, deaths of workers and a new
// binary: the real publisher, master, agent and workers, each request on a connection of its own.
#include <atomic>
#include <filesystem>
#include <thread>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/unique_fd.h"
#include "dataplane/master/child.h"
#include "dataplane/worker/worker.h"
#include "tests/integration/planes_fixture.h"

namespace sluice::test {
int run_worker(unsigned index) {
  constexpr int kFirst = master::kFirstChildFd;
  return worker::run(kFirst, kFirst + 1, kFirst + 2, kFirst + 3, kFirst + 4, index);
}

namespace {

struct Rate {
  uint32_t requests = 1, per_ms = 86'400'000, burst = 0;  // nothing comes back within a test
};

// One route that answers itself, limited by client. `revision` makes tables different in the route itself.
publish::StateParts limited(unsigned workers, const Rate& rate, int revision) {
  publish::StateParts parts = build({.workers = workers});
  constexpr auto kTable = static_cast<size_t>(ir::PartKind::table);
  const std::unique_ptr<ir::RouteTableT> table(
      flatbuffers::GetRoot<ir::RouteTable>(parts.bytes[kTable]->data())->UnPack());
  table->default_certificate.clear();
  ir::VirtualHostT host;
  host.host = "a.example";
  auto& route = *host.routes.emplace_back(std::make_unique<ir::RouteT>());
  route.path_kind = ir::PathKind::Prefix;
  route.metric = "route/ns/r/" + std::to_string(revision);
  ir::DirectResponseT answer;
  answer.status = 200;
  answer.body = "revision " + std::to_string(revision);
  route.action.Set(std::move(answer));
  ir::RateLimitT limits;
  auto& limit = *limits.limits.emplace_back(std::make_unique<ir::LimitT>());
  limit.id = "ns/policy/clients";
  limit.name = "policy.clients";
  limit.requests = rate.requests;
  limit.per_ms = rate.per_ms;
  limit.burst = rate.burst;
  limit.keys.push_back(std::make_unique<ir::LimitKeyT>());
  route.filters.push_back(std::make_unique<ir::FilterT>());
  route.filters[0]->config.Set(std::move(limits));
  auto& entry = *host.prefix.emplace_back(std::make_unique<ir::PathEntryT>());
  entry.routes = {0};
  flatbuffers::FlatBufferBuilder inner, outer;
  inner.Finish(ir::VirtualHost::Pack(inner, &host));
  auto& ref = *table->hosts.emplace_back(std::make_unique<ir::VirtualHostRefT>());
  ref.host = host.host;
  ref.hash = static_cast<uint64_t>(revision) + 1;
  ref.data.assign(inner.GetBufferPointer(), inner.GetBufferPointer() + inner.GetSize());
  outer.Finish(ir::RouteTable::Pack(outer, table.get()));
  const auto bytes = std::as_bytes(std::span(outer.GetBufferPointer(), outer.GetSize()));
  parts.bytes[kTable] = std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end());
  parts.hashes[kTable] = ir::content_hash(bytes);
  return parts;
}

// The status; 0 = no whole answer.
int request(uint16_t port) {
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval patience{120, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  static constexpr std::string_view kRequest = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0 ||
      ::send(fd.get(), kRequest.data(), kRequest.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(kRequest.size()))
    return 0;
  std::string answer;
  char buffer[4096];
  ssize_t n = 0;
  while ((n = ::recv(fd.get(), buffer, sizeof buffer, 0)) > 0) answer.append(buffer, static_cast<size_t>(n));
  return n == 0 && answer.starts_with("HTTP/1.1 ") && answer.find("\r\n\r\n") != std::string::npos
             ? std::stoi(answer.substr(9, 3))
             : 0;
}

struct Sum {
  std::atomic<uint64_t> admitted{0}, refused{0}, lost{0}, other{0};
  int count(int status) {
    (status == 200 ? admitted : status == 429 ? refused : status == 0 ? lost : other).fetch_add(1);
    return status;
  }
};

// Clients without pause, until stopped.
class Load {
 public:
  Load(uint16_t port, Sum& sum) {
    for (int i = 0; i < 3; ++i) {
      threads_.emplace_back([this, port, &sum] {
        while (!stop_) sum.count(request(port));
      });
    }
  }
  ~Load() { stop(); }
  void stop() {
    stop_ = true;
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }

 private:
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

class LimitsTest : public PlanesTest, public ::testing::WithParamInterface<unsigned> {
 protected:
  void begin(const Rate& rate, std::vector<std::string> more = {}) {
    rate_ = rate;
    start_control();
    start_data(std::move(more));
    ASSERT_TRUE(wait_ack(publish(limited(GetParam(), rate, 0))));
    port_ = port("http");
    ASSERT_NE(port_, 0);
  }
  void swap() { ASSERT_TRUE(wait_ack(publish(limited(GetParam(), rate_, ++revision_)))); }
  void kill_worker(unsigned number) {
    const std::string role = fmt::format("worker {}", number % GetParam() + 1);
    pid_t victim = 0, next = 0;
    ASSERT_NO_FATAL_FAILURE(await_child(role, victim));
    kill(victim, SIGKILL);
    ASSERT_NO_FATAL_FAILURE(await_child(role, next, victim));
  }
  // Until nothing is left, seen by each worker several times.
  void drain(Sum& sum) {
    for (unsigned refused = 0; refused < 10 * GetParam();) refused = sum.count(request(port_)) == 429 ? refused + 1 : 0;
  }

  Rate rate_;
  uint16_t port_ = 0;
  int revision_ = 0;
};

TEST_P(LimitsTest, ExactThroughNewTables) {
  constexpr uint32_t kBurst = 3000;
  begin({.burst = kBurst});
  Sum sum;
  Load load(port_, sum);
  for (int i = 0; i < 20; ++i) swap();
  load.stop();
  drain(sum);
  EXPECT_EQ(sum.admitted, kBurst);
  EXPECT_EQ(sum.lost + sum.other, 0u);
  const std::string limited_line = fmt::format(
      "sluice_rate_limit_decisions_total{{limit=\"ns/policy/clients\",decision=\"limited\"}} {}\n", sum.refused.load());
  std::string metrics;
  EXPECT_TRUE(eventually([&] {  // the last answer may be here before it is counted
    metrics = get(port("admin"), "/metrics").second;
    return metrics.find(limited_line) != std::string::npos;
  })) << metrics;
  EXPECT_NE(metrics.find("sluice_rate_limit_decisions_total{limit=\"ns/policy/clients\",decision=\"admitted\"} 3000\n"),
            std::string::npos)
      << metrics;
  EXPECT_NE(metrics.find("sluice_rate_limit_evictions_total 0\n"), std::string::npos);
}

// Nothing is under way when a worker dies: nothing is lost with it.
TEST_P(LimitsTest, ExactThroughDeathsAndTables) {
  constexpr uint32_t kBurst = 400;
  begin({.burst = kBurst});
  Sum sum;
  for (unsigned i = 0; i < 20; ++i) {
    for (int n = 0; n < 15; ++n) sum.count(request(port_));
    if (i % 2 == 0) kill_worker(i / 2);
    swap();
  }
  drain(sum);
  EXPECT_EQ(sum.admitted, kBurst);
  EXPECT_EQ(sum.lost + sum.other, 0u);
  EXPECT_TRUE(wait_for([](const Heard& heard) { return heard.report.workers_restarted == 10; }));
}

// Under load an answer may die with its worker, and its token with it; no other token does.
TEST_P(LimitsTest, DeathsUnderLoadLoseWhatWasUnderWayOnly) {
  constexpr uint32_t kBurst = 3000;
  begin({.burst = kBurst});
  Sum sum;
  Load load(port_, sum);
  for (unsigned i = 0; i < 10; ++i) {
    kill_worker(i);
    swap();
  }
  load.stop();
  drain(sum);
  EXPECT_LE(sum.admitted, kBurst);
  EXPECT_GE(sum.admitted + sum.lost, kBurst);
  EXPECT_EQ(sum.other, 0u);
}

TEST_P(LimitsTest, ExactThroughANewBinary) {
  constexpr uint32_t kBurst = 200;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  begin({.burst = kBurst}, {"--upgrade=" + self});
  Sum sum;
  for (int i = 0; i < 2; ++i) {
    for (int n = 0; n < 50; ++n) sum.count(request(port_));
    pid_t agent = 0, worker = 0, next = 0;
    ASSERT_NO_FATAL_FAILURE(await_child("agent", agent));
    ASSERT_NO_FATAL_FAILURE(await_child("worker 1", worker));
    kill(master(), SIGUSR2);
    ASSERT_NO_FATAL_FAILURE(await_child("worker 1", next, worker));
    ASSERT_NO_FATAL_FAILURE(await_child("agent", next, agent));
    swap();
  }
  drain(sum);
  EXPECT_EQ(sum.admitted, kBurst);
  EXPECT_EQ(sum.other, 0u);
}

// From one refusal, when nothing is left, to a later one admitted = rate x time, +- 1; their moments are known to lie
// between what was seen before and after them. From the start, when the bucket is full and may flow over until the
// clients are at it, no more than burst + rate x time.
TEST_P(LimitsTest, RefillsAtItsRate) {
  // So slow that one client on a busy machine outruns it, else there is no refusal; so large that tokens flow over only
  // where everything stands still for most of a minute.
  const Rate rate{.requests = 20, .per_ms = 1000, .burst = 1000};
  begin(rate);
  Sum sum;
  struct Moment {
    uint64_t sent, answered;
  };
  const auto refusal = [&] {
    for (;;) {
      const uint64_t sent = monotonic_ns();
      if (sum.count(request(port_)) == 429) return Moment{sent, monotonic_ns()};
    }
  };
  const auto tokens = [&](uint64_t from, uint64_t to) { return static_cast<double>(to - from) * rate.requests / 1e9; };
  const uint64_t start = monotonic_ns();
  {
    Load load(port_, sum);
    ASSERT_TRUE(eventually([&] { return sum.refused > 0; }));
  }
  const Moment first = refusal();
  const uint64_t before = sum.admitted;
  {
    Load load(port_, sum);
    for (int i = 0; i < 20; ++i) {
      swap();
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }
  const Moment last = refusal();
  const auto between = static_cast<double>(sum.admitted - before), all = static_cast<double>(sum.admitted);
  EXPECT_GE(before, rate.burst);
  EXPECT_LE(all, rate.burst + tokens(start, last.answered) + 1);
  EXPECT_LE(between, tokens(first.sent, last.answered) + 1);
  EXPECT_GE(between, tokens(first.answered, last.sent) - 1);
  EXPECT_EQ(sum.lost + sum.other, 0u);
}

INSTANTIATE_TEST_SUITE_P(Workers, LimitsTest, ::testing::Values(1u, 2u, 4u));

}  // namespace
}  // namespace sluice::test
