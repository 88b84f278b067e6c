#include "controlplane/status/replicas.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace sluice::status {
namespace {
using nlohmann::json;
using store::Kind;

const Identity kA{"infra", "gateway", "a", "uid-a"}, kB{"infra", "gateway", "b", ""}, kC{"infra", "gateway", "c", ""};

// As a list answers: each Lease with a version that moves with every write.
struct Api {
  std::map<std::string, json> leases;
  int version = 0;
  void say(const Identity& who, const Versions& versions, bool ready = true) {
    json lease = json::parse(replica_lease(who, versions, ready, ++version * 1'000'000));
    lease["metadata"]["resourceVersion"] = std::to_string(version);
    leases[who.pod] = lease;
  }
  std::string list() const {
    json items = json::array();
    for (const auto& [pod, lease] : leases) items.push_back(lease);
    return json{{"items", items}}.dump();
  }
};

std::string missing(const Replicas& replicas, uint64_t now, const std::string& version,
                    const std::string& ns = "shop") {
  return replicas.missing(now, Kind::route, ns, version).value_or("");
}

TEST(Versions, AreNumbersOfAnyLength) {
  EXPECT_TRUE(store::at_least("10", "9"));
  EXPECT_FALSE(store::at_least("9", "10"));
  EXPECT_TRUE(store::at_least("123456789012345678901234567890", "99999999999999999999"));
  EXPECT_TRUE(store::at_least("0010", "10"));
  EXPECT_TRUE(store::at_least("10", "10"));
  EXPECT_FALSE(store::at_least("", "1"));
  EXPECT_FALSE(store::at_least("abc", "1"));
  EXPECT_FALSE(store::at_least("-5", "1"));
  EXPECT_TRUE(store::at_least("1", "abc"));
}

TEST(Versions, OfASnapshotByKindAndByNamespace) {
  store::Snapshot snapshot;
  snapshot.newest_routes.note("shop", "9");
  snapshot.newest_routes.note("blog", "10");
  snapshot.newest_policies.note("shop", "7");
  EXPECT_EQ(versions_of(snapshot, false), (Versions{{"Route", "10"}, {"RateLimitPolicy", "7"}}));
  const Versions each = versions_of(snapshot, true);
  EXPECT_EQ(each, (Versions{{"Route/shop", "9"}, {"Route/blog", "10"}, {"RateLimitPolicy/shop", "7"}}));
  EXPECT_TRUE(holds(each, Kind::route, "shop", "9"));
  EXPECT_FALSE(holds(each, Kind::route, "shop", "10"));  // the other namespace's watch may be ahead
  EXPECT_TRUE(holds(versions_of(snapshot, false), Kind::route, "shop", "10"));
  EXPECT_FALSE(holds(each, Kind::ingress, "shop", "1"));
}

TEST(OwnVersions, ApplyWhenTheirStateIsAcknowledged) {
  OwnVersions own;
  own.seen(1, {{"Route", "5"}});
  EXPECT_FALSE(own.ready());
  own.seen(2, {{"Route", "6"}});
  own.acknowledged(1);
  EXPECT_TRUE(own.ready());
  EXPECT_EQ(own.applied(), (Versions{{"Route", "5"}}));
  own.seen(2, {{"Route", "7"}});  // nothing had to be pushed for it
  EXPECT_EQ(own.applied(), (Versions{{"Route", "5"}}));
  own.acknowledged(2);
  EXPECT_EQ(own.applied(), (Versions{{"Route", "7"}}));
  own.seen(2, {{"Route", "8"}});
  EXPECT_EQ(own.applied(), (Versions{{"Route", "8"}}));
  own.acknowledged(1);
  EXPECT_EQ(own.applied(), (Versions{{"Route", "8"}}));
}

TEST(OwnVersions, ManyStatesWithoutAcknowledgementAreBoundedAndNeverEarly) {
  OwnVersions own;
  for (uint64_t i = 1; i <= 10'000; ++i) own.seen(i, {{"Route", std::to_string(i)}});
  own.acknowledged(5'000);
  EXPECT_FALSE(own.ready());  // forgotten, so said later
  own.acknowledged(10'000);
  EXPECT_EQ(own.applied(), (Versions{{"Route", "10000"}}));
}

TEST(Replicas, EveryReadyOneHasToRunIt) {
  Api api;
  Replicas replicas;
  api.say(kA, {{"Route", "1"}});
  api.say(kB, {{"Route", "10"}});
  api.say(kC, {{"Route", "9"}});
  ASSERT_TRUE(replicas.listed(api.list(), "a", 0));
  EXPECT_EQ(replicas.size(), 2u);
  EXPECT_EQ(missing(replicas, 0, "9"), "");
  EXPECT_EQ(missing(replicas, 0, "10"), "c");
  api.say(kC, {{"Route", "11"}});
  ASSERT_TRUE(replicas.listed(api.list(), "a", 100));
  EXPECT_EQ(missing(replicas, 100, "10"), "");
  api.leases.erase("b");
  ASSERT_TRUE(replicas.listed(api.list(), "a", 200));
  EXPECT_EQ(missing(replicas, 200, "11"), "");
}

TEST(Replicas, OneThatIsNotReadyYetDoesNotCount) {
  Api api;
  Replicas replicas;
  api.say(kB, {}, false);
  ASSERT_TRUE(replicas.listed(api.list(), "a", 0));
  EXPECT_EQ(missing(replicas, 0, "1"), "");
  api.say(kB, {});
  ASSERT_TRUE(replicas.listed(api.list(), "a", 0));
  EXPECT_EQ(missing(replicas, 0, "1"), "b");
}

TEST(Replicas, OneThatFellSilentCountsUntilItsPodSaysOtherwise) {
  Api api;
  Replicas replicas;
  api.say(kB, {{"Route", "1"}});
  api.say(kC, {}, false);  // never came to be ready, or could not say so
  for (uint64_t now = 0; now <= Replicas::kStaleMs; now += 5'000) ASSERT_TRUE(replicas.listed(api.list(), "a", now));
  const uint64_t now = Replicas::kStaleMs;
  EXPECT_EQ(missing(replicas, now, "2"), "b");
  EXPECT_EQ(replicas.to_ask(now), (std::vector<std::string>{"b", "c"}));
  EXPECT_TRUE(replicas.to_ask(now + 1).empty());
  replicas.pod("b", 0, "");  // no answer: nothing is known
  EXPECT_EQ(missing(replicas, now, "2"), "b");
  replicas.pod("b", 200, R"({"status":{"conditions":[{"type":"Ready","status":"True"}]}})");
  EXPECT_EQ(missing(replicas, now, "2"), "b");
  replicas.pod("b", 200, R"({"status":{"conditions":[{"type":"Ready","status":"False"}]}})");
  EXPECT_EQ(missing(replicas, now, "2"), "c");
  replicas.pod("c", 200,
               R"({"metadata":{"deletionTimestamp":"x"},"status":{"conditions":[{"type":"Ready","status":"True"}]}})");
  EXPECT_EQ(missing(replicas, now, "2"), "");
  replicas.pod("c", 200, R"({"status":{"conditions":[{"type":"Ready","status":"True"}]}})");
  EXPECT_EQ(missing(replicas, now, "2"), "c");
  replicas.pod("c", 404, "");
  EXPECT_EQ(missing(replicas, now, "2"), "");
  EXPECT_EQ(replicas.to_ask(now + Replicas::kAskPodMs).size(), 2u);
  // Back again.
  api.say(kB, {{"Route", "1"}});
  ASSERT_TRUE(replicas.listed(api.list(), "a", now + 1));
  EXPECT_EQ(missing(replicas, now + 1, "2"), "b");
}

TEST(Replicas, WhatCannotBeReadChangesNothingOrCountsAsLacking) {
  Api api;
  Replicas replicas;
  api.say(kB, {{"Route", "5"}});
  ASSERT_TRUE(replicas.listed(api.list(), "a", 0));
  for (const char* body : {"", "{}", "[1]", R"({"items":{}})"}) EXPECT_FALSE(replicas.listed(body, "a", 0)) << body;
  EXPECT_EQ(replicas.size(), 1u);
  for (const char* said : {"", "[]", "{", R"({"Route":5})", R"({"Route":"x"})"}) {
    api.say(kB, {});
    api.leases["b"]["metadata"]["annotations"]["sluice.dev/applied-versions"] = said;
    ASSERT_TRUE(replicas.listed(api.list(), "a", 0));
    EXPECT_EQ(missing(replicas, 0, "5"), "b") << said;
  }
  ASSERT_TRUE(replicas.listed(R"({"items":[7,{},{"metadata":{"name":"x"},"spec":[]}]})", "a", 0));
}

TEST(Replicas, TheLeaseGoesWithItsPod) {
  const json lease = json::parse(replica_lease(kA, {}, false, 1));
  EXPECT_EQ(lease["metadata"]["ownerReferences"][0]["uid"], "uid-a");
  EXPECT_EQ(lease["metadata"]["name"], "a");
  EXPECT_FALSE(json::parse(replica_lease(kB, {}, false, 1))["metadata"].contains("ownerReferences"));
  EXPECT_EQ(replica_selector(kA), "sluice.dev/replicas-of=gateway");
}

}  // namespace
}  // namespace sluice::status
