// The source against an API server double that misbehaves: after each fault the state must equal the server's, what was
// not touched must never have been missing, and a further change must arrive.
#include "tests/unit/controlplane/kube/cluster_source_fixture.h"

namespace sluice::kube {
namespace {

// ---- a watch that runs: one event of each kind is replaced by the fault

TEST_F(ClusterSourceTest, FaultsOfARunningWatch) {
  start();
  expect_synced();
  ASSERT_FALSE(HasFailure());
  for (int round = 0; round < rounds(); ++round) {
    for (const std::string what : {"gone", "error500", "error429", "half_line", "garbage", "oversized", "unknown",
                                   "duplicate", "reorder", "silent"}) {
      for (const KindPath& kind : kPaths) {
        json more = {{"path", kind.path}};
        if (what.starts_with("error")) more["code"] = std::stoi(what.substr(5));
        server.fault("event", what.starts_with("error") ? "error" : what, more);
      }
      change_everything();
      expect_faults_used(what, [this] { change_everything(); });
      change_everything();
      expect_healthy(what);
      ASSERT_FALSE(HasFailure()) << what;
    }
  }
}

// ---- the start of a watch or list; the server is down before, so that each begins anew

struct StartFault {
  const char* name;
  const char* on;
  const char* what;
  int code = 0;
  int times = 1;
  bool compact = false;  // history is gone too, so lists happen
};
constexpr StartFault kStartFaults[] = {{"watch 410", "watch", "status", 410},
                                       {"watch 429", "watch", "status", 429, 2},
                                       {"watch 500", "watch", "status", 500, 2},
                                       {"watch 503 for long", "watch", "status", 503, 7},
                                       {"watch 403", "watch", "status", 403},
                                       {"watch of another type", "watch", "type"},
                                       {"watch without an answer", "watch", "hang"},
                                       {"list 429", "list", "status", 429, 2, true},
                                       {"list 500", "list", "status", 500, 3, true},
                                       {"list 403", "list", "status", 403, 1, true},
                                       {"list page expired", "list", "expire", 0, 1, true},
                                       {"list cut", "list", "cut", 0, 2, true},
                                       {"list slow", "list", "slow", 0, 1, true},
                                       {"list of garbage", "list", "garbage", 0, 2, true},
                                       {"list of another type", "list", "type", 0, 2, true},
                                       {"empty list that is none", "list", "no_version", 0, 2, true},
                                       {"list without an answer", "list", "forever", 0, 1, true}};

TEST_F(ClusterSourceTest, FaultsOfListsAndOfNewWatches) {
  start();
  expect_synced();
  ASSERT_FALSE(HasFailure());
  for (int round = 0; round < rounds(); ++round) {
    for (const StartFault& fault : kStartFaults) {
      server.command({{"op", "down"}});
      for (const KindPath& kind : kPaths) {
        json more = {{"path", kind.path}, {"times", fault.times}, {"seconds", 0.2}};
        if (fault.code != 0) more["code"] = fault.code;
        server.fault(fault.on, fault.what, more);
      }
      change_everything();
      if (fault.compact) server.command({{"op", "compact"}});
      server.command({{"op", "up"}});
      expect_faults_used(fault.name);
      expect_healthy(fault.name);
      ASSERT_FALSE(HasFailure()) << fault.name;
    }
  }
}

// ---- the connection

TEST_F(ClusterSourceTest, RefusedConnectionsRewatchWithoutListing) {
  start();
  expect_synced();
  ASSERT_FALSE(HasFailure());
  server.command({{"op", "down"}});
  run_for(std::chrono::milliseconds(300));
  change_everything();
  server.command({{"op", "requests"}});
  server.command({{"op", "up"}});
  expect_equal("the outage");
  EXPECT_EQ(requests_with("limit="), 0u) << "a recovering server is spared the lists";
  expect_healthy("refused");
}

TEST_F(ClusterSourceTest, DeletesLostInAnOutageAreDone) {
  start();
  expect_synced();
  ASSERT_FALSE(HasFailure());
  server.command({{"op", "down"}});
  for (const KindPath& kind : kPaths) erase(kind, "b");
  server.command({{"op", "compact"}});
  server.command({{"op", "up"}});
  expect_equal("lost deletes");
  EXPECT_FALSE(objects.contains({Kind::ingress, {"a", "b"}}));
  expect_healthy("lost deletes");
}

TEST_F(ClusterSourceTest, ATrulyEmptyListAfterAnOutageIsHonoured) {
  start();
  expect_synced();
  ASSERT_FALSE(HasFailure());
  watch_keepers = false;
  server.command({{"op", "down"}});
  for (const char* name : {"keep", "b", "c", "d", "e"}) erase(kPaths[0], name);
  server.command({{"op", "compact"}});
  server.command({{"op", "up"}});
  expect_equal("everything deleted");
  EXPECT_EQ(
      std::count_if(objects.begin(), objects.end(), [](const auto& item) { return item.first.kind == Kind::ingress; }),
      0);
}

// etcd restored from a backup: versions begin anew, and lower; what was deleted since is there again.
TEST_F(ClusterSourceTest, ARestoredServerIsListedAnew) {
  start();
  expect_synced();
  ASSERT_FALSE(HasFailure());
  for (int round = 0; round < rounds(); ++round) {
    for (int i = 0; i < 3; ++i) change_everything();
    expect_equal("the changes before");
    server.command({{"op", "down"}});
    server.command({{"op", "restore"}});
    for (const KindPath& kind : kPaths) erase(kind, "b"), put(kind, "e");
    server.command({{"op", "up"}});
    expect_healthy("a restored server");
    ASSERT_FALSE(HasFailure());
  }
}

TEST_F(ClusterSourceTest, HalfOpenConnectionsAreFound) {
  start();
  expect_synced();
  ASSERT_FALSE(HasFailure());
  for (int round = 0; round < rounds(); ++round) {
    server.command({{"op", "freeze"}});
    change_everything();
    run_for(std::chrono::milliseconds(500));
    server.command({{"op", "thaw"}});
    expect_healthy("half-open connections");
  }
}

}  // namespace
}  // namespace sluice::kube
