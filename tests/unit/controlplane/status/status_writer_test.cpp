// The writer against the API server double: what is there afterwards, and that nothing is written twice.
#include "controlplane/status/status_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/asio.h"
#include "common/base/log.h"
#include "tests/lib/fake_apiserver.h"
#include "tests/lib/run_until.h"

namespace sluice::status {
namespace {

using nlohmann::json;
using store::Kind;
constexpr const char* kRoutes = "/apis/sluice.dev/v1alpha1/routes";
constexpr const char* kEvents = "/api/v1/events";

// Leadership and other replicas as the test says.
struct OtherReplicas : Leases {
  bool leads = false, wait = false;
  std::optional<std::string> lacks;
  std::string asked_for;
  std::string nobody;
  void start(std::function<void()>) override {}
  bool leading() const override { return leads; }
  const std::string& leader() const override { return nobody; }
  void seen(uint64_t, Versions) override {}
  void acknowledged(uint64_t) override {}
  std::optional<std::string> missing(Kind, const std::string&, std::string_view version, uint64_t) const override {
    const_cast<OtherReplicas*>(this)->asked_for = version;
    return lacks;
  }
  void waiting(bool somebody) override { wait = somebody; }
  void leave(std::function<void()>) override {}
  Counts counts() const override { return {}; }
};

class StatusWriterTest : public ::testing::Test {
 protected:
  StatusWriterTest() {
    log::set_level(log::Level::off);
    server.command({{"op", "put"},
                    {"path", kRoutes},
                    {"object", {{"metadata", {{"name", "cart"}, {"namespace", "shop"}}}, {"spec", json::object()}}}});
    uid = route()["metadata"]["uid"].get<std::string>();
    kube::ClusterAccess access;
    access.server = server.url();
    access.ca_file = server.ca_file;
    transport = std::move(*kube::make_transport(io, access));
    writer = make();
  }
  ~StatusWriterTest() override {
    writer->stop();
    transport->shutdown();
  }
  std::unique_ptr<StatusWriter> make(Leases* leases = nullptr) {
    StatusOptions options;
    options.leases = leases;
    options.controller_name = "sluice.dev/ingress-controller";
    options.host = "pod-1";
    options.pending_ms = 100;
    options.backoff_start_ms = 10;
    options.tick_ms = 20;
    return make_status_writer(io, *transport, options);
  }
  Wanted wanted(int64_t generation, std::vector<store::Problem> problems = {}) {
    Wanted out;
    out.statuses.push_back({{Kind::route, {"shop", "cart"}},
                            uid,
                            generation,
                            true,
                            {{"networking.k8s.io", "IngressClass", "", "web", "", 0}},
                            {{"Accepted", true, "Accepted", "ok"}},
                            "17"});
    for (auto& problem : problems) out.events.push_back({std::move(problem), uid, "1"});
    return out;
  }
  static store::Problem problem(const std::string& text = "taken") {
    return {{Kind::route, {"shop", "cart"}}, "spec.hostnames[0]", "HostConflict", store::Severity::error, text};
  }
  json route() {
    return server.command({{"op", "get"}, {"path", kRoutes}, {"ns", "shop"}, {"name", "cart"}})["object"];
  }
  std::string programmed() {
    const json object = route();
    if (!object.contains("status")) return "none";
    for (const auto& condition : object["status"]["conditions"]) {
      if (condition["type"] == "Programmed")
        return condition["status"].get<std::string>() + " " + condition["reason"].get<std::string>();
    }
    return "without";
  }
  json events() {
    const json state = server.command({{"op", "state"}})["state"];
    json out = json::array();
    if (!state.contains(kEvents)) return out;
    for (const auto& [key, version] : state[kEvents].items()) {
      out.push_back(
          server.command({{"op", "get"}, {"path", kEvents}, {"ns", "shop"}, {"name", key.substr(5)}})["object"]);
    }
    return out;
  }
  template <class Done>
  bool run_until(Done done, int turns = 12'000) {
    return testkit::run_until(io, done, turns * std::chrono::milliseconds(10));
  }
  size_t writes() {
    size_t count = 0;
    const json requests = server.command({{"op", "requests"}})["requests"];
    for (const auto& request : requests) {
      if (!request.get<std::string>().starts_with("GET")) ++count;
    }
    return count;
  }

  sluice::testkit::TempFolder folder;
  sluice::testkit::FakeApiServer server{folder};
  boost::asio::io_context io;
  std::unique_ptr<kube::Transport> transport;
  std::unique_ptr<StatusWriter> writer;
  std::string uid;
};

TEST_F(StatusWriterTest, ProgrammedOnlyAfterTheAcknowledgement) {
  writer->update(wanted(1), 7);
  ASSERT_TRUE(run_until([&] { return programmed() == "False Pending"; }));
  writer->acknowledged(6);
  run_until([] { return false; }, 10);
  EXPECT_EQ(programmed(), "False Pending");
  writer->acknowledged(7);
  ASSERT_TRUE(run_until([&] { return programmed() == "True Programmed"; }));
}

TEST_F(StatusWriterTest, AQuickAcknowledgementIsOneWriteAndTheSameVerdictNone) {
  writer->update(wanted(1), 7);
  writer->acknowledged(7);
  ASSERT_TRUE(run_until([&] { return programmed() == "True Programmed"; }));
  ASSERT_TRUE(run_until([&] { return writer->counts().statuses_waiting == 0; }));
  EXPECT_EQ(writes(), 1u);
  writer->update(wanted(1), 8);  // something else changed; this Route's generation is programmed since 7
  writer->update(wanted(1), 9);
  run_until([] { return false; }, 20);
  EXPECT_EQ(writes(), 0u);
  // Another process finds it said already.
  writer->stop();
  writer = make();
  writer->update(wanted(1), 1);
  writer->acknowledged(1);
  ASSERT_TRUE(run_until([&] { return writer->counts().statuses_waiting == 0; }));
  EXPECT_EQ(writes(), 0u);
}

TEST_F(StatusWriterTest, OnlyTheLeaderWritesAndATakeoverWithNothingNewWritesNothing) {
  writer->stop();
  OtherReplicas first, second;
  first.leads = true;
  writer = make(&first);
  const auto follower = make(&second);
  for (StatusWriter* each : {writer.get(), follower.get()}) {
    each->update(wanted(1, {problem()}), 7);
    each->acknowledged(7);
  }
  ASSERT_TRUE(run_until([&] { return programmed() == "True Programmed" && writer->counts().events_written == 1; }));
  EXPECT_EQ(writes(), 2u);
  first.leads = false;
  second.leads = true;
  writer->replicas_changed();
  follower->replicas_changed();
  ASSERT_TRUE(run_until([&] { return follower->counts().statuses_waiting == 0; }));
  run_until([] { return false; }, 20);
  // The Event was tried to be made, and found.
  EXPECT_EQ(events().size(), 1u);
  EXPECT_EQ(events().at(0)["count"], 1);
  EXPECT_EQ(follower->counts().statuses_written + follower->counts().events_written + follower->counts().failures, 0u);
  writer->update(wanted(2), 8);
  run_until([] { return false; }, 20);
  EXPECT_EQ(writer->counts().statuses_written, 1u);
  follower->stop();
}

TEST_F(StatusWriterTest, ProgrammedWaitsForTheReplicasAndIsNeverTakenBackForOneGeneration) {
  writer->stop();
  OtherReplicas others;
  others.leads = true;
  others.lacks = "gateway-b";
  writer = make(&others);
  writer->update(wanted(1), 7);
  writer->acknowledged(7);
  ASSERT_TRUE(run_until([&] { return programmed() == "False Pending"; }));
  EXPECT_NE(route()["status"]["conditions"].dump().find("gateway-b"), std::string::npos);
  EXPECT_TRUE(run_until([&] { return others.wait; }));  // once the answer to that write is here
  EXPECT_EQ(others.asked_for, "17");
  others.lacks.reset();
  writer->replicas_changed();
  ASSERT_TRUE(run_until([&] { return programmed() == "True Programmed" && !others.wait; }));
  // A replica that joins, a leader that changes, another verdict: what has been said stays said.
  others.lacks = "gateway-c";
  Wanted other = wanted(1);
  other.statuses[0].conditions[0].message = "still ok";
  writer->update(std::move(other), 8);
  writer->acknowledged(8);
  ASSERT_TRUE(run_until([&] { return route()["status"]["conditions"].dump().find("still ok") != std::string::npos; }));
  EXPECT_EQ(programmed(), "True Programmed");
  // Another generation is another matter.
  writer->update(wanted(2), 9);
  writer->acknowledged(9);
  ASSERT_TRUE(run_until([&] { return programmed() == "False Pending"; }));
}

TEST_F(StatusWriterTest, ConflictsAndFailuresAreTriedAgain) {
  server.fault("call", "status", {{"path", "/routes/cart/status"}, {"code", 409}, {"times", 2}});
  server.fault("call", "status", {{"path", "/routes/cart"}, {"code", 500}, {"times", 2}});
  writer->update(wanted(1), 1);
  writer->acknowledged(1);
  EXPECT_TRUE(run_until([&] { return programmed() == "True Programmed"; }));
  EXPECT_EQ(writer->counts().failures, 4u);
}

TEST_F(StatusWriterTest, ADeletedRouteIsLetGo) {
  server.command({{"op", "delete"}, {"path", kRoutes}, {"ns", "shop"}, {"name", "cart"}});
  writer->update(wanted(1), 1);
  writer->acknowledged(1);
  EXPECT_TRUE(run_until([&] { return writer->counts().statuses_waiting == 0; }));
  EXPECT_EQ(writer->counts().failures, 0u);
}

TEST_F(StatusWriterTest, APolicyHasItsStatusBesideTheRoutes) {
  constexpr const char* kPolicies = "/apis/sluice.dev/v1alpha1/ratelimitpolicies";
  server.command({{"op", "put"},
                  {"path", kPolicies},
                  {"object", {{"metadata", {{"name", "cart"}, {"namespace", "shop"}}}, {"spec", json::object()}}}});
  const auto policy = [&] {
    return server.command({{"op", "get"}, {"path", kPolicies}, {"ns", "shop"}, {"name", "cart"}})["object"];
  };
  Wanted both = wanted(1);
  WantedStatus limits;
  limits.object = {Kind::rate_limit_policy, {"shop", "cart"}};
  limits.uid = policy()["metadata"]["uid"].get<std::string>();
  limits.generation = 4;
  limits.accepted = true;
  limits.parents.push_back({"sluice.dev", "Route", "", "cart", "", 0});
  limits.conditions.push_back({"Accepted", true, "Accepted", "ok"});
  both.statuses.push_back(limits);
  writer->update(std::move(both), 7);
  writer->acknowledged(7);
  ASSERT_TRUE(run_until([&] { return writer->counts().statuses_waiting == 0; }));
  EXPECT_EQ(writer->counts().statuses_written, 2u);
  EXPECT_EQ(programmed(), "True Programmed");
  const json status = policy()["status"];
  ASSERT_EQ(status["conditions"].size(), 2u);
  EXPECT_EQ(status["conditions"][1]["type"], "Programmed");
  EXPECT_EQ(status["conditions"][1]["status"], "True");
  EXPECT_EQ(status["conditions"][1]["observedGeneration"], 4);
  EXPECT_EQ(status["ancestors"][0]["ancestorRef"],
            (json{{"group", "sluice.dev"}, {"kind", "Route"}, {"name", "cart"}}));
}

TEST_F(StatusWriterTest, OneEventAProblemAlsoAfterARestart) {
  writer->update(wanted(1, {problem()}), 1);
  ASSERT_TRUE(run_until([&] { return events().size() == 1; }));
  ASSERT_TRUE(run_until([&] { return writer->counts().events_written == 1; }));
  for (int i = 0; i < 5; ++i) writer->update(wanted(1, {problem()}), 1);
  run_until([] { return false; }, 20);
  EXPECT_EQ(events().at(0)["count"], 1);
  writer->stop();
  writer = make();
  writer->update(wanted(1, {problem("taken by another")}), 1);
  ASSERT_TRUE(run_until([&] { return writer->counts().events_written == 1; }));
  const json all = events();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0]["count"], 2);
  EXPECT_EQ(all[0]["message"], "taken by another");
  EXPECT_EQ(all[0]["involvedObject"]["uid"], uid);
}

TEST_F(StatusWriterTest, EventsOfManyProblemsAreAllToldWithFewCallsAtOnce) {
  std::vector<store::Problem> problems;
  for (int i = 0; i < 60; ++i) {
    problems.push_back(problem());
    problems.back().field = "spec.rules[" + std::to_string(i) + "]";
  }
  writer->update(wanted(1, problems), 1);
  EXPECT_TRUE(run_until([&] { return writer->counts().events_written == 60; }, 1500));
  EXPECT_EQ(events().size(), 60u);
}

TEST_F(StatusWriterTest, ForbiddenEventsAreTriedAgainAndHarmNothing) {
  server.fault("call", "status", {{"path", "/events"}, {"code", 403}, {"times", 3}});
  writer->update(wanted(1, {problem()}), 1);
  writer->acknowledged(1);
  EXPECT_TRUE(run_until([&] { return programmed() == "True Programmed" && events().size() == 1; }));
}

}  // namespace
}  // namespace sluice::status
