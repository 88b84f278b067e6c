// What is written to Kubernetes, without writing it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "controlplane/status/event_ledger.h"
#include "controlplane/status/object_status.h"
#include "controlplane/status/wanted.h"

namespace sluice::status {
namespace {

using nlohmann::json;
using store::Kind;
using store::Problem;
using store::Severity;

constexpr const char* kController = "sluice.dev/ingress-controller";
constexpr int64_t kThen = 1'700'000'000, kNow = 1'800'000'000;

store::ObjectRef route_ref(const std::string& name) { return {Kind::route, {"shop", name}}; }

store::Snapshot snapshot_with_route(const std::string& name, int64_t generation = 3) {
  store::Route route;
  route.meta.ns = "shop";
  route.meta.name = name;
  route.meta.uid = "uid-" + name;
  route.meta.resource_version = "12";
  route.meta.generation = generation;
  store::Snapshot snapshot;
  snapshot.routes[route.meta.key()] = std::make_shared<const store::Route>(route);
  return snapshot;
}

translate::ObjectStatus verdict(const std::string& name, bool accepted, bool resolved) {
  translate::ObjectStatus out;
  out.object = route_ref(name);
  out.generation = 3;
  out.accepted = accepted;
  out.resolved_refs = resolved;
  out.parents.push_back({"networking.k8s.io", "IngressClass", "", "web", "", 0});
  return out;
}

Problem problem(const std::string& field, const std::string& reason, const std::string& text,
                Severity severity = Severity::error) {
  return {route_ref("cart"), field, reason, severity, text};
}

WantedStatus wanted_route(bool accepted, bool resolved, std::vector<Problem> problems) {
  translate::Translation translation;
  translation.statuses.push_back(verdict("cart", accepted, resolved));
  translation.problems = std::move(problems);
  return wanted_of(translation, {}, snapshot_with_route("cart")).statuses.at(0);
}

const Condition* find(const WantedStatus& route, const std::string& type) {
  for (const Condition& condition : route.conditions) {
    if (condition.type == type) return &condition;
  }
  return nullptr;
}

std::string route_json(const json& status = nullptr) {
  json route = {
      {"kind", "Route"},
      {"metadata", {{"name", "cart"}, {"namespace", "shop"}, {"uid", "uid-cart"}, {"resourceVersion", "12"}}}};
  if (!status.is_null()) route["status"] = status;
  return route.dump();
}

json patch_of(const std::string& object, const WantedStatus& wanted, Programmed programmed, int64_t now = kNow) {
  auto patch = status_patch(object, wanted, programmed, kController, now);
  EXPECT_TRUE(patch.has_value()) << (patch ? "" : patch.error().message);
  return patch && *patch ? json::parse(**patch) : json();
}

json with(const json& conditions, const std::string& type) {
  for (const json& condition : conditions) {
    if (condition["type"] == type) return condition;
  }
  return nullptr;
}

TEST(WantedRoutes, GoodRouteIsAcceptedAndResolved) {
  const WantedStatus route = wanted_route(true, true, {});
  ASSERT_EQ(route.conditions.size(), 2u);
  EXPECT_TRUE(find(route, "Accepted")->status);
  EXPECT_TRUE(find(route, "ResolvedRefs")->status);
  EXPECT_EQ(route.uid, "uid-cart");
  EXPECT_EQ(route.generation, 3);
}

TEST(WantedRoutes, RefusedRouteSaysWhyAndWhere) {
  const WantedStatus route =
      wanted_route(false, true, {problem("spec.hostnames[0]", "HostConflict", "a.example belongs to other/older")});
  EXPECT_FALSE(find(route, "Accepted")->status);
  EXPECT_EQ(find(route, "Accepted")->reason, "HostConflict");
  EXPECT_EQ(find(route, "Accepted")->message, "spec.hostnames[0]: a.example belongs to other/older");
  EXPECT_EQ(find(route, "PartiallyInvalid"), nullptr);
}

TEST(WantedRoutes, MissingBackendIsUnresolvedNotInvalid) {
  const WantedStatus route = wanted_route(
      true, false, {problem("spec.rules[0].backendRefs[0].name", "BackendNotFound", "no Service shop/gone")});
  EXPECT_TRUE(find(route, "Accepted")->status);
  EXPECT_FALSE(find(route, "ResolvedRefs")->status);
  EXPECT_EQ(find(route, "ResolvedRefs")->reason, "BackendNotFound");
  EXPECT_EQ(find(route, "PartiallyInvalid"), nullptr);
}

TEST(WantedRoutes, OneBadRuleBesideGoodOnesIsPartiallyInvalid) {
  const WantedStatus route = wanted_route(true, true,
                                          {problem("spec.rules[1].matches[0].path.value", "NotARegex", "missing )"),
                                           problem("", "Note", "x", Severity::warning)});
  EXPECT_TRUE(find(route, "Accepted")->status);
  ASSERT_NE(find(route, "PartiallyInvalid"), nullptr);
  EXPECT_TRUE(find(route, "PartiallyInvalid")->status);
  EXPECT_EQ(find(route, "PartiallyInvalid")->reason, "NotARegex");
  EXPECT_THAT(find(route, "PartiallyInvalid")->message, testing::Not(testing::HasSubstr("x")));
}

TEST(WantedRoutes, RefusedWithoutAProblemStillHasAReason) {
  const WantedStatus route = wanted_route(false, false, {});
  EXPECT_EQ(find(route, "Accepted")->reason, "NoRuleServed");
  EXPECT_EQ(find(route, "ResolvedRefs")->reason, "BackendNotFound");
}

TEST(WantedRoutes, MessagesAreBounded) {
  std::vector<Problem> problems;
  for (int i = 0; i < 100; ++i)
    problems.push_back(problem("f" + std::to_string(i), "HostConflict", std::string(300, 'x')));
  EXPECT_LE(find(wanted_route(false, true, problems), "Accepted")->message.size(), 1024u);
}

WantedStatus wanted_policy(bool accepted, const std::vector<Problem>& problems) {
  store::RateLimitPolicy policy;
  policy.meta.ns = "shop";
  policy.meta.name = "p";
  store::Snapshot snapshot;
  snapshot.rate_limit_policies[policy.meta.key()] = std::make_shared<const store::RateLimitPolicy>(policy);
  translate::Translation translation;
  translate::ObjectStatus& status = translation.statuses.emplace_back();
  status.object = {Kind::rate_limit_policy, policy.meta.key()};
  status.accepted = accepted;
  for (Problem problem : problems) {
    problem.object = status.object;
    translation.problems.push_back(problem);
  }
  return wanted_of(translation, {}, snapshot).statuses.at(0);
}

TEST(WantedPolicies, ConditionsFollowFromTheProblems) {
  WantedStatus policy = wanted_policy(true, {problem("metadata", "UnknownAnnotation", "x", Severity::warning)});
  ASSERT_EQ(policy.conditions.size(), 1u);
  EXPECT_TRUE(find(policy, "Accepted")->status);
  // A missing target is the policy's own matter: there is no ResolvedRefs.
  policy = wanted_policy(true, {problem("spec.targetRefs[0].name", "TargetNotFound", "is not there")});
  ASSERT_EQ(policy.conditions.size(), 2u);
  EXPECT_EQ(find(policy, "PartiallyInvalid")->reason, "TargetNotFound");
  policy = wanted_policy(false, {problem("spec.targetRefs[0].name", "RefNotPermitted", "is another's")});
  ASSERT_EQ(policy.conditions.size(), 1u);
  EXPECT_FALSE(find(policy, "Accepted")->status);
  EXPECT_EQ(find(policy, "Accepted")->reason, "RefNotPermitted");
  EXPECT_EQ(find(policy, "Accepted")->message, "spec.targetRefs[0].name: is another's");
  EXPECT_EQ(find(wanted_policy(false, {}), "Accepted")->reason, "NoTarget");
}

TEST(WantedEvents, OnePerObjectFieldAndReason) {
  translate::Translation translation;
  translation.problems = {problem("a", "HostConflict", "first"), problem("a", "HostConflict", "second"),
                          problem("b", "HostConflict", "third")};
  const std::vector<Problem> undecodable = {
      {{Kind::ingress, {"shop", "bad"}}, "spec.rules", "WrongType", Severity::error, "must be a list"},
      {{Kind::ingress, {"", ""}}, "", "WrongType", Severity::error, "nameless"}};
  const Wanted wanted = wanted_of(translation, undecodable, snapshot_with_route("cart"));
  ASSERT_EQ(wanted.events.size(), 3u);
  EXPECT_EQ(wanted.events[0].problem.object.key.name, "bad");
  EXPECT_EQ(wanted.events[0].uid, "");
  EXPECT_EQ(wanted.events[1].problem.text, "first");
  EXPECT_EQ(wanted.events[1].uid, "uid-cart");
}

TEST(RouteStatus, FirstStatusHasParentsAndSummary) {
  const json patch = patch_of(route_json(), wanted_route(true, true, {}), Programmed::yes);
  EXPECT_EQ(patch["metadata"], (json{{"resourceVersion", "12"}}));
  const json& parent = patch["status"]["parents"].at(0);
  EXPECT_EQ(parent["controllerName"], kController);
  EXPECT_EQ(parent["parentRef"], (json{{"group", "networking.k8s.io"}, {"kind", "IngressClass"}, {"name", "web"}}));
  for (const json* conditions : {&parent["conditions"], &patch["status"]["conditions"]}) {
    for (const char* type : {"Accepted", "ResolvedRefs", "Programmed"}) {
      const json condition = with(*conditions, type);
      EXPECT_EQ(condition["status"], "True") << type;
      EXPECT_EQ(condition["observedGeneration"], 3) << type;
      EXPECT_EQ(condition["lastTransitionTime"], rfc3339(kNow)) << type;
    }
  }
}

TEST(RouteStatus, NothingIsWrittenWhenItAlreadySaysSo) {
  const WantedStatus wanted = wanted_route(true, true, {});
  const json status = patch_of(route_json(), wanted, Programmed::yes, kThen)["status"];
  EXPECT_TRUE(patch_of(route_json(status), wanted, Programmed::yes).is_null());
}

TEST(RouteStatus, TransitionTimeMovesOnlyWithTheStatus) {
  const json before = patch_of(route_json(), wanted_route(true, true, {}), Programmed::pending, kThen)["status"];
  WantedStatus now =
      wanted_route(true, false, {problem("spec.rules[0].backendRefs[0].name", "BackendNotFound", "no Service")});
  now.generation = 4;
  const json after = patch_of(route_json(before), now, Programmed::yes)["status"]["conditions"];
  EXPECT_EQ(with(after, "Accepted")["lastTransitionTime"], rfc3339(kThen));
  EXPECT_EQ(with(after, "Accepted")["observedGeneration"], 4);
  EXPECT_EQ(with(after, "ResolvedRefs")["lastTransitionTime"], rfc3339(kNow));
  EXPECT_EQ(with(after, "Programmed")["lastTransitionTime"], rfc3339(kNow));
}

TEST(RouteStatus, OtherControllersParentsStayAndOurOldOnesGo) {
  json status = {{"parents", json::array()}};
  const json foreign = {
      {"parentRef", {{"name", "theirs"}}}, {"controllerName", "other.example/x"}, {"conditions", json::array()}};
  status["parents"].push_back(foreign);
  status["parents"].push_back(
      {{"parentRef", {{"name", "left"}}}, {"controllerName", kController}, {"conditions", json::array()}});
  const json parents = patch_of(route_json(status), wanted_route(true, true, {}), Programmed::yes)["status"]["parents"];
  ASSERT_EQ(parents.size(), 2u);
  EXPECT_EQ(parents[0], foreign);
  EXPECT_EQ(parents[1]["parentRef"]["name"], "web");
}

TEST(RouteStatus, ProgrammedTellsTheTruth) {
  const WantedStatus good = wanted_route(true, true, {});
  json condition = with(patch_of(route_json(), good, Programmed::pending)["status"]["conditions"], "Programmed");
  EXPECT_EQ(condition["status"], "False");
  EXPECT_EQ(condition["reason"], "Pending");
  condition =
      with(patch_of(route_json(), wanted_route(false, true, {}), Programmed::no)["status"]["conditions"], "Programmed");
  EXPECT_EQ(condition["status"], "False");
  EXPECT_EQ(condition["reason"], "Invalid");
}

TEST(RouteStatus, StrangeObjectsAreErrorsNotCrashes) {
  const WantedStatus wanted = wanted_route(true, true, {});
  for (const char* text : {"", "[]", "{}", "{\"metadata\":3}", "{\"metadata\":{\"uid\":\"another\"}}"}) {
    EXPECT_FALSE(status_patch(text, wanted, Programmed::yes, kController, kNow).has_value()) << text;
  }
  for (const json& status : {json(3), json::array(), json{{"parents", "x"}, {"conditions", 4}},
                             json{{"parents", {1, nullptr}}, {"conditions", {nullptr, {{"type", 7}}}}}}) {
    EXPECT_FALSE(patch_of(route_json(status), wanted, Programmed::yes).is_null()) << status;
  }
}

TEST(RouteStatus, WrongTypesInMetadataAreCarriedNotThrownUpon) {
  const std::string object = R"({"metadata":{"uid":"uid-cart","resourceVersion":7}})";
  EXPECT_EQ(patch_of(object, wanted_route(true, true, {}), Programmed::yes)["metadata"]["resourceVersion"], 7);
}

TEST(RouteStatus, BytesThatAreNoUtf8AreReplaced) {
  const json patch =
      patch_of(route_json(), wanted_route(false, true, {problem("f", "HostConflict", "\xff\xfe")}), Programmed::no);
  EXPECT_NE(patch.dump().find("\xef\xbf\xbd"), std::string::npos);
}

// ---- Events

WantedEvent event(const std::string& text = "text", const std::string& field = "spec", const std::string& uid = "u1") {
  return {{{Kind::ingress, {"shop", "cart"}}, field, "HostConflict", Severity::error, text}, uid, "7"};
}

TEST(EventLedger, ToldOnceThenCountedUpEveryTenMinutes) {
  EventLedger ledger;
  ledger.want({event()}, 0);
  auto due = ledger.due(0, kNow, 10);
  ASSERT_EQ(due.size(), 1u);
  EXPECT_EQ(due[0].count, 1u);
  EXPECT_TRUE(ledger.due(0, kNow, 10).empty()) << "in flight";
  ledger.done(EventLedger::identity(event()), 0, 1, 0);
  ledger.want({event()}, 1000);
  EXPECT_TRUE(ledger.due(EventLedger::kRepeatMs - 1, kNow, 10).empty());
  due = ledger.due(EventLedger::kRepeatMs, kNow + 600, 10);
  ASSERT_EQ(due.size(), 1u);
  EXPECT_EQ(due[0].count, 2u);
  EXPECT_EQ(due[0].first_s, kNow);
}

TEST(EventLedger, ChangedTextIsToldSooner) {
  EventLedger ledger;
  ledger.want({event("a")}, 0);
  (void)ledger.due(0, kNow, 10);
  ledger.done(EventLedger::identity(event()), 0, 1, 0);
  ledger.want({event("b")}, 100);
  EXPECT_TRUE(ledger.due(EventLedger::kTextChangeMs - 1, kNow, 10).empty());
  const auto due = ledger.due(EventLedger::kTextChangeMs, kNow, 10);
  ASSERT_EQ(due.size(), 1u);
  EXPECT_EQ(due[0].event.problem.text, "b");
}

TEST(EventLedger, FlappingProblemIsNotToldEachTime) {
  EventLedger ledger;
  ledger.want({event()}, 0);
  (void)ledger.due(0, kNow, 10);
  ledger.done(EventLedger::identity(event()), 0, 1, 0);
  ledger.want({}, 1000);
  EXPECT_EQ(ledger.wanted(), 0u);
  ledger.want({event()}, 2000);
  EXPECT_TRUE(ledger.due(2000, kNow, 10).empty());
  ledger.want({}, EventLedger::kRepeatMs + 1);
  ledger.want({event()}, EventLedger::kRepeatMs + 2);
  EXPECT_EQ(ledger.due(EventLedger::kRepeatMs + 2, kNow, 10).size(), 1u) << "forgotten, so news";
}

TEST(EventLedger, NewObjectOfTheSameNameIsNews) {
  EventLedger ledger;
  ledger.want({event()}, 0);
  (void)ledger.due(0, kNow, 10);
  ledger.done(EventLedger::identity(event()), 0, 1, 0);
  ledger.want({event("text", "spec", "u2")}, 10);
  EXPECT_EQ(ledger.due(10, kNow, 10).size(), 1u);
}

TEST(EventLedger, FailedWritesAreTriedLaterAndLimitsHold) {
  EventLedger ledger;
  ledger.want({event("t", "a"), event("t", "b"), event("t", "c")}, 0);
  const auto due = ledger.due(0, kNow, 2);
  ASSERT_EQ(due.size(), 2u);
  ledger.done(EventLedger::identity(due[0].event), 0, 1, 500);
  const auto next = ledger.due(499, kNow, 10);
  ASSERT_EQ(next.size(), 1u);
  EXPECT_EQ(next[0].event.problem.field, "c");
  EXPECT_EQ(ledger.due(500, kNow, 10).size(), 1u);
}

TEST(Events, NameIsStableAndValid) {
  EXPECT_EQ(event_name(event("a")), event_name(event("b")));
  EXPECT_NE(event_name(event("a", "x")), event_name(event("a", "y")));
  EXPECT_NE(event_name(event("a", "x", "1")), event_name(event("a", "x", "2")));
  WantedEvent longest = event();
  longest.problem.object.key.name = std::string(235, 'a') + "." + std::string(17, 'b');
  const std::string name = event_name(longest);
  EXPECT_LE(name.size(), 253u);
  EXPECT_EQ(name.find(".."), std::string::npos);
}

TEST(Events, JsonNamesObjectFieldAndReason) {
  EventLedger ledger;
  ledger.want({event("host is taken")}, 0);
  const auto due = ledger.due(0, kThen, 1);
  const json object = json::parse(event_json(due.at(0), kController, "pod-1", kNow));
  EXPECT_EQ(object["involvedObject"], (json{{"apiVersion", "networking.k8s.io/v1"},
                                            {"kind", "Ingress"},
                                            {"namespace", "shop"},
                                            {"name", "cart"},
                                            {"uid", "u1"},
                                            {"resourceVersion", "7"},
                                            {"fieldPath", "spec"}}));
  EXPECT_EQ(object["reason"], "HostConflict");
  EXPECT_EQ(object["message"], "host is taken");
  EXPECT_EQ(object["type"], "Warning");
  EXPECT_EQ(object["metadata"]["namespace"], "shop");
  EXPECT_EQ(object["firstTimestamp"], "2023-11-14T22:13:20Z");
  EXPECT_EQ(object["count"], 1);
  const json patch = json::parse(event_patch(due.at(0), 5, kNow));
  EXPECT_EQ(patch, (json{{"count", 5}, {"lastTimestamp", rfc3339(kNow)}, {"message", "host is taken"}}));
}

TEST(Events, ClusterScopedObjectsHaveTheirEventsInDefault) {
  WantedEvent on_class = event();
  on_class.problem.object = {Kind::ingress_class, {"", "web"}};
  EXPECT_EQ(event_namespace(on_class), "default");
}

}  // namespace
}  // namespace sluice::status
