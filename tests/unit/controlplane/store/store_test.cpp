#include "controlplane/store/store.h"

#include <gtest/gtest.h>

namespace sluice::store {
namespace {

Service service(std::string ns, std::string name, uint16_t port = 80) {
  Service s;
  s.meta.ns = std::move(ns);
  s.meta.name = std::move(name);
  s.ports.push_back({.name = "http", .port = port, .protocol = "TCP", .target_port = {}, .app_protocol = {}});
  return s;
}
ObjectRef ref(std::string ns, std::string name) { return {Kind::service, {std::move(ns), std::move(name)}}; }
Problem problem(const ObjectRef& object) { return {.object = object, .field = "spec", .reason = "Bad", .text = "bad"}; }

TEST(Store, CountsOnlyRealChanges) {
  Store store;
  EXPECT_TRUE(store.apply(Upsert{service("a", "x")}));
  const uint64_t version = store.snapshot().version;
  Service newer = service("a", "x");
  newer.meta.resource_version = "7";
  EXPECT_FALSE(store.apply(Upsert{newer}));
  EXPECT_EQ(store.snapshot().version, version);
  EXPECT_EQ(store.snapshot().services.at({"a", "x"})->meta.resource_version, "7");
  EXPECT_TRUE(store.apply(Upsert{service("a", "x", 81)}));
  EXPECT_FALSE(store.apply(Delete{ref("a", "y")}));
  EXPECT_TRUE(store.apply(Delete{ref("a", "x")}));
  EXPECT_EQ(store.size(Kind::service), 0u);
}

TEST(Store, ReplaceDeletesWhatIsNotListed) {
  Store store;
  store.apply(Upsert{service("a", "x")});
  store.apply(Upsert{service("a", "y")});
  store.apply(Upsert{service("b", "z")});
  EXPECT_TRUE(store.apply(Replace{Kind::service, {service("a", "y")}, "a"}));
  EXPECT_EQ(store.size(Kind::service), 2u) << "the other namespace is another list";
  EXPECT_TRUE(store.apply(Replace{Kind::service, {service("b", "z")}}));
  EXPECT_EQ(store.size(Kind::service), 1u);
  EXPECT_FALSE(store.apply(Replace{Kind::service, {service("b", "z")}}));
}

TEST(Store, ReplaceInAnotherOrderIsNoChange) {
  Store store;
  const std::vector<Object> forth = {service("a", "v"), service("a", "w"), service("a", "x"), service("b", "v"),
                                     service("b", "y")};
  const std::vector<Object> back(forth.rbegin(), forth.rend());
  EXPECT_TRUE(store.apply(Replace{Kind::service, forth}));
  const uint64_t version = store.snapshot().version;
  EXPECT_FALSE(store.apply(Replace{Kind::service, back}));
  EXPECT_FALSE(store.apply(Replace{Kind::service, {forth[3], forth[0], forth[4], forth[2], forth[1]}}));
  EXPECT_EQ(store.snapshot().version, version);
  EXPECT_EQ(store.size(Kind::service), 5u);
}

TEST(Store, ReplaceOfOneKindLeavesTheOthers) {
  Store store;
  store.apply(Upsert{service("a", "x")});
  EXPECT_FALSE(store.apply(Replace{Kind::ingress, {}}));
  EXPECT_EQ(store.size(Kind::service), 1u);
}

TEST(Store, AnUndecodableObjectLeavesTheSnapshotAndKeepsItsProblem) {
  Store store;
  store.apply(Upsert{service("a", "x")});
  EXPECT_TRUE(store.apply(Undecodable{ref("a", "x"), {problem(ref("a", "x"))}}));
  EXPECT_EQ(store.size(Kind::service), 0u);
  ASSERT_EQ(store.problems().size(), 1u);
  EXPECT_FALSE(store.apply(Undecodable{ref("a", "x"), {problem(ref("a", "x"))}}));
  EXPECT_TRUE(store.apply(Upsert{service("a", "x")}));
  EXPECT_TRUE(store.problems().empty());
  store.apply(Undecodable{ref("a", "x"), {problem(ref("a", "x"))}});
  EXPECT_TRUE(store.apply(Replace{Kind::service, {}}));
  EXPECT_TRUE(store.problems().empty()) << "gone with the object";
}

TEST(Store, TheJournalNamesWhatEachVersionTouched) {
  Store store;
  const auto& versions = store.snapshot().kind_versions;
  const auto& journals = store.snapshot().journals;
  const auto kind = static_cast<size_t>(Kind::service);
  store.apply(Upsert{service("a", "x")});
  store.apply(Delete{ref("a", "y")});  // touched, though nothing was there
  store.apply(Undecodable{ref("b", "z"), {problem(ref("b", "z"))}});
  EXPECT_EQ(journals[kind].keys, (std::vector<ObjectKey>{{"a", "x"}, {"a", "y"}, {"b", "z"}}));
  EXPECT_EQ(journals[kind].from + journals[kind].keys.size(), versions[kind]);
  EXPECT_TRUE(journals[static_cast<size_t>(Kind::ingress)].keys.empty());
  store.apply(Replace{Kind::service, {service("a", "x")}});
  EXPECT_TRUE(journals[kind].keys.empty()) << "a whole list: everything may be another one";
  EXPECT_EQ(journals[kind].from, versions[kind]);
  for (int i = 0; i < 10'000; ++i) store.apply(Upsert{service("a", std::to_string(i))});
  EXPECT_LE(journals[kind].keys.size(), 4096u);
  EXPECT_EQ(journals[kind].keys.back(), (ObjectKey{"a", "9999"}));
  EXPECT_EQ(journals[kind].from + journals[kind].keys.size(), versions[kind]);
}

TEST(Coalescer, ASingleChangeWaitsAMillisecond) {
  Coalescer coalescer;
  EXPECT_FALSE(coalescer.due_ms());
  coalescer.changed(100);
  EXPECT_EQ(coalescer.due_ms(), 101u);
  coalescer.done(101);
  EXPECT_FALSE(coalescer.due_ms());
  coalescer.changed(110);  // the next one soon after is still a single change
  EXPECT_EQ(coalescer.due_ms(), 111u);
}

TEST(Coalescer, ABurstIsOneTableAfterAtMostTen) {
  Coalescer coalescer;
  for (uint64_t t = 100; t < 120; ++t) {
    coalescer.changed(t);
    EXPECT_LE(*coalescer.due_ms(), 110u);
  }
  EXPECT_EQ(coalescer.due_ms(), 110u);
  coalescer.done(110);
  coalescer.changed(200);
  EXPECT_EQ(coalescer.due_ms(), 201u);
}

struct Rounds {
  size_t rounds = 0;
  uint64_t longest_ms = 0;  // that a change waited
};
// A change each `every_ms` for a second, on a clock of its own.
Rounds second_of_changes(Coalescer& coalescer, uint64_t begin, uint64_t every_ms) {
  Rounds run;
  uint64_t oldest = 0;  // 0 = none waits
  for (uint64_t now = begin; now < begin + 1000 || coalescer.due_ms(); ++now) {
    if (coalescer.due_ms() && *coalescer.due_ms() <= now) {
      run.longest_ms = std::max(run.longest_ms, now - oldest);
      ++run.rounds;
      coalescer.done(now);
      oldest = 0;
    }
    if (now < begin + 1000 && (now - begin) % every_ms == 0) {
      coalescer.changed(now);
      if (oldest == 0) oldest = now;
    }
  }
  return run;
}

TEST(Coalescer, ChangesThatGoOnBecomeFewTables) {
  for (const uint64_t every_ms : {1, 3, 9, 15}) {
    Coalescer coalescer;
    const Rounds run = second_of_changes(coalescer, 1000, every_ms);
    EXPECT_LE(run.rounds, 18u) << every_ms;
    EXPECT_GE(run.rounds, 10u) << every_ms;
    EXPECT_LE(run.longest_ms, 100u) << every_ms;
    // Over: a single change is a single change again.
    coalescer.changed(10'000);
    EXPECT_EQ(coalescer.due_ms(), 10'001u);
  }
}

TEST(Coalescer, ChangesWithPausesBetweenDoNotWait) {
  Coalescer coalescer;
  const Rounds run = second_of_changes(coalescer, 1000, 25);
  EXPECT_EQ(run.rounds, 40u);
  EXPECT_LE(run.longest_ms, 1u);
}

}  // namespace
}  // namespace sluice::store
