// Plain calls over the real library against the API server double: how many connections they take, which of them goes
// first, and that a place comes back whatever becomes of its call.
#include "controlplane/kube/transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "common/base/asio.h"
#include "common/base/log.h"
#include "controlplane/kube/call_gate.h"
#include "tests/lib/fake_apiserver.h"
#include "tests/lib/run_until.h"

namespace sluice::kube {
namespace {

using testing::ElementsAre;

constexpr std::chrono::seconds kPatience{30};

class TransportTest : public testing::Test {
 protected:
  TransportTest() {
    log::set_level(log::Level::off);
    ClusterAccess access;
    access.server = server.url();
    access.ca_file = server.ca_file;
    port = access.server.substr(access.server.rfind(':') + 1);
    auto made = make_transport(io, access);
    if (!made) throw std::runtime_error(made.error().message);
    transport = std::move(*made);
  }
  ~TransportTest() override { transport->shutdown(); }

  std::shared_ptr<Exchange> send(const std::string& name, std::string target, Urgency urgency) {
    Call call;
    call.target = std::move(target);
    call.urgency = urgency;
    return transport->send(std::move(call), [this, name](const Result<Reply>& reply) {
      done.push_back(name);
      if (!reply || reply->status != 200) ++failed;
    });
  }
  // Answered after so long that no test waits for it.
  std::shared_ptr<Exchange> hang(const std::string& name) {
    server.fault("list", "slow", {{"path", "/ingresses"}, {"seconds", 20}});
    return send(name, "/apis/networking.k8s.io/v1/ingresses", Urgency::normal);
  }
  template <class Done>
  bool run_until(Done until, std::chrono::milliseconds patience = kPatience) {
    return testkit::run_until(io, until, patience);
  }
  void run_for(std::chrono::milliseconds span) {
    (void)run_until([] { return false; }, span);
  }
  // Established connections to the server, whoever has them: nobody else knows its port.
  [[nodiscard]] size_t connections() const {
    std::ifstream rows("/proc/self/net/tcp");
    const std::string there = fmt::format(":{:04X}", std::stoi(port));
    std::string line;
    size_t out = 0;
    while (std::getline(rows, line)) {
      std::istringstream words(line);
      std::string number, local, remote, state;
      words >> number >> local >> remote >> state;
      if (remote.ends_with(there) && state == "01") ++out;
    }
    return out;
  }

  testkit::TempFolder folder;
  testkit::FakeApiServer server{folder};
  boost::asio::io_context io;
  std::unique_ptr<Transport> transport;
  std::string port;
  std::vector<std::string> done;
  size_t failed = 0;
};

TEST_F(TransportTest, ManyCallsAtOnceShareThreeConnections) {
  constexpr size_t kCalls = 600;
  for (size_t i = 0; i < kCalls; ++i) send("call", "/version", static_cast<Urgency>(i % 3));
  size_t most = 0;
  ASSERT_TRUE(run_until([&] {
    most = std::max(most, connections());
    return done.size() == kCalls;
  }));
  EXPECT_EQ(failed, 0u);
  EXPECT_GE(most, 2u) << "they were not seen";
  EXPECT_LE(most, CallGate::kPlaces);
  EXPECT_LE(connections(), CallGate::kPlaces) << "idle ones";
}

TEST_F(TransportTest, AnUrgentCallDoesNotWaitForTwoThatHang) {
  const auto a = hang("a"), b = hang("b");
  send("fetch", "/version", Urgency::background);
  send("pulse", "/version", Urgency::urgent);
  ASSERT_TRUE(run_until([&] { return !done.empty(); }));
  run_for(std::chrono::milliseconds(100));
  EXPECT_THAT(done, ElementsAre("pulse"));
}

TEST_F(TransportTest, WhatIsCancelledUnderWayGivesItsPlaceBackAndWhatWaitedIsNeverSent) {
  const auto a = hang("a"), b = hang("b");
  const auto waits = send("waits", "/api/v1/secrets", Urgency::normal);
  send("fetch", "/version", Urgency::background);
  run_for(std::chrono::milliseconds(100));
  waits->cancel();
  waits->cancel();
  a->cancel();
  ASSERT_TRUE(run_until([&] { return !done.empty(); }, std::chrono::seconds(10))) << "the place did not come back";
  EXPECT_THAT(done, ElementsAre("fetch"));
  const auto seen = server.command({{"op", "requests"}});  // a temporary would be gone before the loop's first round
  ASSERT_FALSE(seen.at("requests").empty());
  for (const auto& request : seen.at("requests"))
    EXPECT_EQ(request.get<std::string>().find("secrets"), std::string::npos);
}

TEST_F(TransportTest, CallsThatFailGiveTheirPlacesBack) {
  server.command({{"op", "down"}});
  for (int i = 0; i < 20; ++i) send("refused", "/version", Urgency::normal);
  ASSERT_TRUE(run_until([&] { return done.size() == 20; }));
  EXPECT_EQ(failed, 20u);
  server.command({{"op", "up"}});
  send("back", "/version", Urgency::background);
  ASSERT_TRUE(run_until([&] { return done.size() == 21; }));
  EXPECT_EQ(failed, 20u);
}

TEST_F(TransportTest, ACallbackMaySendAgain) {
  size_t rounds = 0;
  std::function<void()> again = [&] {
    Call call;
    call.target = "/version";
    transport->send(std::move(call), [&](const Result<Reply>& reply) {
      if (reply && ++rounds < 30) again();
    });
  };
  for (int i = 0; i < 5; ++i) again();
  EXPECT_TRUE(run_until([&] { return rounds >= 30; }));
  transport->shutdown();
}

TEST_F(TransportTest, ShutdownEmptiesTheQueue) {
  const auto a = hang("a"), b = hang("b");
  std::vector<std::shared_ptr<Exchange>> held;
  for (int i = 0; i < 10; ++i) held.push_back(send("waits", "/version", Urgency::background));
  run_for(std::chrono::milliseconds(100));
  const auto begin = std::chrono::steady_clock::now();
  transport->shutdown();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5)) << "who never began was waited for";
  send("late", "/version", Urgency::urgent);
  run_for(std::chrono::milliseconds(100));
  for (const auto& exchange : held) exchange->cancel();
  EXPECT_TRUE(done.empty());
}

}  // namespace
}  // namespace sluice::kube
