// What a worker does at each level, on real connections.
#include "dataplane/worker/overload_monitor.h"

#include <filesystem>

#include "http2_frames.h"
#include "worker_rig.h"

namespace sluice::worker {
namespace {
using namespace testing;

constexpr uint64_t kLimit = 1'000'000'000'000;
constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

struct MonitorTest : ::testing::Test {
  WorkerRig rig;
  Origin origin{rig.reactor, simple_origin};
  // 8 MiB.
  Origin large{rig.reactor, [](const std::string& request) -> std::string {
                 if (request.find("\r\n\r\n") == std::string::npos) return "";
                 return "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + std::string(300'000, 'x');
               }};
  OverloadMonitor monitor{rig.context, MemoryGauge()};

  void SetUp() override {
    rig.add_cluster("ns/web:80", {origin.port()});
    rig.add_cluster("ns/large:80", {large.port()});
    rig.add_route("a.example", "", "ns/web:80");
    rig.add_route("large.example", "", "ns/large:80");
    rig.apply();
  }
  void memory(uint64_t per_thousand, uint64_t limit = kLimit) {
    monitor.judge(
        {.now_ms = monotonic_ms(), .memory = {.limit = limit, .used = limit / 1000 * per_thousand, .clients = limit}});
  }
  [[nodiscard]] uint64_t answered_by(http::Reason reason) const {
    return rig.page->reasons[static_cast<size_t>(reason)].get();
  }
};

TEST_F(MonitorTest, ConnectionsEndWithTheirAnswerOrSoon) {
  Client idle = rig.connect(), busy = rig.connect(), http2 = rig.connect();
  for (Client* one : {&idle, &busy}) {
    one->send(kGet);
    ASSERT_TRUE(rig.until([&] { return WorkerRig::answered(one->received()); }));
    EXPECT_EQ(one->received().find("Connection: close"), std::string::npos);
    one->forget();
  }
  http2.send(preface() + request(1, "a.example"));
  ASSERT_TRUE(rig.until([&] { return has(http2.received(), FrameType::data, 1); }));
  memory(860);
  EXPECT_EQ(rig.page->overload_level[0].get(), 1u);
  busy.send(kGet);
  ASSERT_TRUE(rig.until([&] { return busy.ended(); }));
  EXPECT_NE(busy.received().find("Connection: close\r\n"), std::string::npos);
  EXPECT_TRUE(busy.received().ends_with("hello"));
  ASSERT_TRUE(rig.until([&] { return idle.ended() && http2.ended(); }));
  EXPECT_TRUE(has(http2.received(), FrameType::goaway, 0));
  // One that comes now is served, once.
  const std::string answer = rig.ask(kGet);
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << answer;
  EXPECT_NE(answer.find("Connection: close\r\n"), std::string::npos);
  Client late = rig.connect();
  late.send(preface() + request(1, "a.example"));
  ASSERT_TRUE(rig.until([&] { return late.ended(); }));
  EXPECT_TRUE(has(late.received(), FrameType::data, 1));
  EXPECT_TRUE(has(late.received(), FrameType::goaway, 0));
}

TEST_F(MonitorTest, RequestsAreShedAndSoonTakenAgain) {
  memory(920);
  const std::string answer = rig.ask(kGet);
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503 ")) << answer;
  EXPECT_NE(answer.find("Retry-After: 1\r\n"), std::string::npos);
  EXPECT_NE(answer.find("\"overloaded\""), std::string::npos);
  Client http2 = rig.connect();
  http2.send(preface() + request(1, "a.example"));
  ASSERT_TRUE(rig.until([&] { return http2.received().find("\"overloaded\"") != std::string::npos; }));
  EXPECT_TRUE(origin.requests.empty());
  EXPECT_EQ(rig.page->overload_shed[1].get(), 2u);
  EXPECT_EQ(answered_by(http::Reason::overloaded), 2u);
  ASSERT_TRUE(rig.until([&] {
    memory(100);
    return !rig.context.overload.sheds(Priority::standard);
  }));
  EXPECT_TRUE(rig.ask(kGet).starts_with("HTTP/1.1 200 "));
  ASSERT_TRUE(rig.until([&] {
    memory(100);
    return rig.page->overload_level[0].get() == 0;
  }));
}

TEST_F(MonitorTest, WhoIsShedIsTheRoutesPriority) {
  rig.add_route("sheddable.example", "", "ns/web:80").priority = ir::Priority::Sheddable;
  rig.add_route("critical.example", "", "ns/web:80").priority = ir::Priority::Critical;
  rig.apply();
  auto status = [&](const char* host) {
    return rig.ask("GET / HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n").substr(9, 3);
  };
  memory(890);
  EXPECT_EQ(status("sheddable.example"), "503");
  EXPECT_EQ(status("a.example"), "200");
  EXPECT_EQ(status("critical.example"), "200");
  memory(920);
  EXPECT_EQ(status("sheddable.example"), "503");
  EXPECT_EQ(status("a.example"), "503");
  EXPECT_EQ(status("critical.example"), "200");
  EXPECT_EQ(rig.page->overload_shed[0].get(), 2u);
  EXPECT_EQ(rig.page->overload_shed[1].get(), 1u);
  EXPECT_EQ(rig.page->overload_shed[2].get(), 0u);
}

TEST_F(MonitorTest, OfAClassAShareIsShed) {
  rig.add_route("sheddable.example", "", "ns/web:80").priority = ir::Priority::Sheddable;
  rig.apply();
  const auto band = DelayShedding::kBands[0];
  for (int i = 0; i < 80; ++i) rig.context.overload.waited(1000 + 10 * i, (band.from + band.whole) / 2);
  int shed = 0;
  for (int i = 0; i < 20; ++i)
    shed += rig.ask("GET / HTTP/1.1\r\nHost: sheddable.example\r\n\r\n").starts_with("HTTP/1.1 503 ");
  EXPECT_EQ(shed, 10);
  EXPECT_TRUE(rig.ask(kGet).starts_with("HTTP/1.1 200 "));
  EXPECT_EQ(rig.page->overload_shed[0].get(), 10u);
}

TEST_F(MonitorTest, RefusedConnectionsHoldNothing) {
  Client before = rig.connect();
  memory(950);
  auto descriptors = [] {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return std::distance(begin(all), end(all));
  };
  const auto held = descriptors();
  for (int i = 0; i < 1000; ++i) {
    Client client = rig.connect();
    EXPECT_TRUE(client.ended());
    EXPECT_EQ(client.received(), "");
  }
  EXPECT_EQ(descriptors(), held);
  EXPECT_EQ(rig.context.connection_count, 1u);
  EXPECT_EQ(rig.page->overload_refused.get(), 1000u);
  EXPECT_FALSE(before.ended());
}

TEST_F(MonitorTest, WhoHoldsMostIsReset) {
  // Both hold an answer that they do not take; one of them much more.
  Client reader = rig.connect("192.0.2.7", 4096), small = rig.connect("192.0.2.8", 4096), idle = rig.connect();
  Client http2 = rig.connect("192.0.2.9", 4096);
  reader.send("GET / HTTP/1.1\r\nHost: large.example\r\n\r\n");
  small.send(kGet);
  // Windows that let everything out but for stream 1's.
  http2.send(preface(setting(4, 0)) + request(1, "large.example"));
  auto held = [&] {
    HeldSizes sizes;
    for (const ClientLink* at = rig.context.connections; at != nullptr; at = at->next()) at->note_held(sizes);
    return sizes.at_least(~uint64_t{0}) != 0;
  };
  ASSERT_TRUE(rig.until([&] { return held() && large.requests.size() == 2; }));
  rig.settle(50);
  const uint64_t requests = rig.page->streams_active.get();
  memory(930, 100 * 1024 * 1024);  // 7 MiB too much
  EXPECT_EQ(rig.page->overload_level[0].get(), 5u);
  ASSERT_TRUE(rig.until([&] { return reader.ended() && has(http2.received(), FrameType::rst_stream, 1); }));
  EXPECT_LT(reader.received().size(), 300'000u) << "cut";
  EXPECT_FALSE(has(http2.received(), FrameType::data, 1));
  EXPECT_EQ(rig.page->overload_reset.get(), 2u);
  EXPECT_EQ(answered_by(http::Reason::overloaded), 2u);
  EXPECT_EQ(rig.page->streams_active.get(), requests - 2);
  EXPECT_TRUE(WorkerRig::answered(small.received()));
  EXPECT_TRUE(small.received().ends_with("hello")) << "held too little to be worth it";
  EXPECT_FALSE(small.received().starts_with("HTTP/1.1 503"));
}

TEST_F(MonitorTest, NobodyIsResetForMoreThanIsNeeded) {
  std::vector<Client> readers;
  for (int i = 0; i < 40; ++i) readers.push_back(rig.connect("192.0.2.7", 4096));
  for (Client& one : readers) one.send("GET / HTTP/1.1\r\nHost: large.example\r\n\r\n");
  ASSERT_TRUE(rig.until([&] { return large.requests.size() == 40; }));
  rig.settle(100);
  const size_t before = rig.context.connection_count;
  ASSERT_EQ(before, 40u);
  memory(910, 4 * 1024 * 1024);  // less than 1 MiB too much: some of those with 64 KiB and more each
  const uint64_t reset = rig.page->overload_reset.get();
  EXPECT_GT(reset, 0u);
  EXPECT_LT(reset, 20u);
  EXPECT_EQ(rig.context.connection_count, before - reset);
}

TEST_F(MonitorTest, ItsOwnTimerLooks) {
  rig.table.settings->limits->connections = 1;
  rig.apply();
  ASSERT_TRUE(monitor.start());
  Client client = rig.connect();
  ASSERT_TRUE(rig.until([&] { return rig.page->overload_level[1].get() == 1; }));
  client.close();
  EXPECT_TRUE(rig.until([&] { return rig.page->overload_level[1].get() == 0; }));
}

TEST_F(MonitorTest, TheLastDescriptorsAreForAnswers) {
  rig.context.descriptor_limit = 80;
  std::vector<Client> clients;
  for (int i = 0; i < 100 && (clients.empty() || !rig.context.connections->over_limit()); ++i)
    clients.push_back(rig.connect());
  EXPECT_LT(rig.context.descriptors(), rig.context.descriptors_to_answer());
  clients.back().send(kGet);
  ASSERT_TRUE(rig.until([&] { return clients.back().ended(); }));
  EXPECT_TRUE(clients.back().received().starts_with("HTTP/1.1 503 ")) << clients.back().received();
  clients.front().send(kGet);
  ASSERT_TRUE(rig.until([&] { return WorkerRig::answered(clients.front().received()); }));
  EXPECT_TRUE(clients.front().received().starts_with("HTTP/1.1 200 "));
  for (int i = 0; i < 100; ++i) clients.push_back(rig.connect());
  EXPECT_LE(rig.context.descriptors(), rig.context.descriptors_to_answer());
  EXPECT_TRUE(clients.back().ended());
}

}  // namespace
}  // namespace sluice::worker
