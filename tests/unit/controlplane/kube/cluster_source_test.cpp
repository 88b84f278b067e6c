// The whole source against an API server double: lists, watches, kinds and scopes.
#include "tests/unit/controlplane/kube/cluster_source_fixture.h"

namespace sluice::kube {
namespace {

TEST_F(ClusterSourceTest, ListsInPagesAndFollows) {
  start();
  expect_synced();
  ASSERT_FALSE(HasFailure());
  change_everything();
  expect_equal("changes");
}

TEST_F(ClusterSourceTest, BookmarksAloneKeepTheVersionFresh) {
  start();
  expect_synced();
  ASSERT_FALSE(HasFailure());
  // Only one kind changes; the others learn of it by bookmarks, and then resume behind the compaction without a list.
  for (int i = 0; i < 4; ++i) put(kPaths[5], "busy");
  const uint64_t newest = std::stoull(put(kPaths[5], "busy")["version"].get<std::string>());
  ASSERT_TRUE(run_until([&] {
    run_for(std::chrono::milliseconds(20));
    const json told = server.command({{"op", "told"}})["told"];
    return std::ranges::all_of(kPaths, [&](const KindPath& kind) { return told.value(kind.path, 0u) >= newest; });
  }));
  run_for(std::chrono::milliseconds(300));  // what was told arrives
  server.command({{"op", "compact"}});
  server.command({{"op", "requests"}});
  server.command({{"op", "cut"}});
  expect_healthy("bookmarks");
  EXPECT_EQ(requests_with("limit=", "configmaps"), 0u);
}

// Of Routes and of policies: an older release's CRDs may be there without the other.
TEST_F(ClusterSourceTest, AMissingCrdDoesNotHoldUpTheRest) {
  const auto absent = [&](bool absent) {
    for (const size_t kind : {7u, 8u})
      server.command({{"op", "absent"}, {"path", kPaths[kind].path}, {"absent", absent}});
  };
  const auto none = [&] {
    return !objects.contains({Kind::route, {"a", "keep"}}) &&
           !objects.contains({Kind::rate_limit_policy, {"a", "keep"}});
  };
  timings.absent_confirm_ms = 3000;  // far from what is a moment below
  absent(true);
  start();
  ASSERT_TRUE(run_until([&] { return synced == 1; }));
  EXPECT_TRUE(none());
  absent(false);
  expect_equal("the CRDs are installed");
  // 404 for a moment (an API server that starts) must not empty it; for long it must.
  watch_keepers = true;
  absent(true);
  server.command({{"op", "cut"}});
  run_for(std::chrono::milliseconds(150));
  absent(false);
  expect_healthy("a short 404");
  watch_keepers = false;
  absent(true);
  server.command({{"op", "cut"}});
  EXPECT_TRUE(run_until(none));
}

TEST_F(ClusterSourceTest, WatchedNamespacesAreMirroredEachAlone) {
  for (const char* ns : {"x", "y", "z"}) {
    json object = body_of(Kind::service);
    object["metadata"] = {{"name", "s"}, {"namespace", ns}};
    server.command({{"op", "put"}, {"path", kPaths[2].path}, {"object", object}});
    server.command({{"op", "put"}, {"path", kPaths[6].path}, {"object", {{"metadata", {{"name", ns}}}}}});
  }
  put(kPaths[4], "s", {{"metadata", {{"namespace", "z"}}}});
  server.command({{"op", "requests"}});
  start(access(), {"x", "y"});
  ASSERT_TRUE(run_until([&] { return synced == 1; }));
  const auto both = [&] {
    return objects.contains({Kind::service, {"x", "s"}}) && objects.contains({Kind::service, {"y", "s"}}) &&
           objects.contains({Kind::namespace_, {"", "x"}}) && objects.contains({Kind::namespace_, {"", "y"}});
  };
  EXPECT_TRUE(both());
  EXPECT_FALSE(objects.contains({Kind::service, {"z", "s"}}));
  EXPECT_FALSE(objects.contains({Kind::namespace_, {"", "z"}}));
  // What lies outside is neither listed, watched nor fetched, even if somebody wants it: a role may forbid it.
  source->want({{"z", "s"}}, {{"z", "s"}});
  server.command({{"op", "put"},
                  {"path", kPaths[0].path},
                  {"object", {{"metadata", {{"name", "i"}, {"namespace", "z"}}}, {"spec", json::object()}}}});
  run_for(std::chrono::milliseconds(300));
  EXPECT_TRUE(source->settled());
  EXPECT_TRUE(std::ranges::none_of(objects, [](const auto& item) { return item.first.key.ns == "z"; }));
  const json asked = server.command({{"op", "requests"}});
  for (const auto& request : asked["requests"]) {
    const std::string line = request.get<std::string>();
    const bool inside =
        line.find("/namespaces/x/") != std::string::npos || line.find("/namespaces/y/") != std::string::npos;
    const bool of_the_cluster = line.find("/ingressclasses?") != std::string::npos ||
                                line.find("fieldSelector=metadata.name%3Dx") != std::string::npos ||
                                line.find("fieldSelector=metadata.name%3Dy") != std::string::npos ||
                                line == "GET /version";
    EXPECT_TRUE(inside || of_the_cluster) << line;
  }
  // One namespace's new list leaves the other's objects alone.
  server.command({{"op", "compact"}});
  server.command({{"op", "cut"}});
  server.command({{"op", "delete"}, {"path", kPaths[2].path}, {"ns", "x"}, {"name", "s"}});
  EXPECT_TRUE(run_until([&] { return !objects.contains({Kind::service, {"x", "s"}}); }));
  EXPECT_TRUE(objects.contains({Kind::service, {"y", "s"}}));
}

TEST_F(ClusterSourceTest, NothingIsToldAfterStop) {
  start();
  expect_synced();
  ASSERT_FALSE(HasFailure());
  source->stop();
  objects.clear();
  change_everything();
  run_for(std::chrono::milliseconds(200));
  EXPECT_TRUE(objects.empty());
}

}  // namespace
}  // namespace sluice::kube
