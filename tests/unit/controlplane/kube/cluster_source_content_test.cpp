// What is inside Secrets and ConfigMaps: only the wanted ones are fetched, and they follow their changes.
#include "tests/unit/controlplane/kube/cluster_source_fixture.h"

namespace sluice::kube {
namespace {

class ContentTest : public ClusterSourceTest {
 protected:
  const store::Secret* secret(const std::string& name) {
    const auto found = objects.find({Kind::secret, {"a", name}});
    return found == objects.end() ? nullptr : std::get_if<store::Secret>(&found->second);
  }
  bool has(const std::string& name, const std::string& value) {
    const store::Secret* found = secret(name);
    return found != nullptr && found->loaded && found->data.contains("k") && found->data.at("k").reveal() == value;
  }
  void put_secret(const std::string& name, const std::string& value64) {
    put(kPaths[4], name, {{"data", {{"k", value64}}}});
  }
};

TEST_F(ContentTest, OnlyWantedSecretsAreFetchedAndFollowed) {
  start();
  expect_synced();
  ASSERT_FALSE(HasFailure());
  EXPECT_TRUE(source->settled());
  EXPECT_FALSE(secret("b")->loaded);
  source->want({{"a", "b"}, {"a", "not-there"}}, {});
  EXPECT_FALSE(source->settled());
  ASSERT_TRUE(run_until([&] { return has("b", "v1"); }));
  EXPECT_TRUE(source->settled());
  EXPECT_FALSE(secret("c")->loaded);
  put_secret("b", "djI=");
  ASSERT_TRUE(run_until([&] { return has("b", "v2"); }));
  put_secret("not-there", "djM=");
  ASSERT_TRUE(run_until([&] { return has("not-there", "v3"); }));
  source->want({}, {{"a", "c"}});
  EXPECT_FALSE(secret("b")->loaded);
  EXPECT_TRUE(secret("b")->data.empty());
  ASSERT_TRUE(run_until([&] { return std::get<store::ConfigMap>(objects.at({Kind::config_map, {"a", "c"}})).loaded; }));
  EXPECT_EQ(requests_with("secrets/d"), 0u);
}

TEST_F(ContentTest, AWantedSecretIsNeverUnloadedWhileItChangesOrIsListedAnew) {
  start();
  expect_synced();
  ASSERT_FALSE(HasFailure());
  source->want({{"a", "b"}}, {});
  ASSERT_TRUE(run_until([&] { return has("b", "v1"); }));
  bool unloaded = false;
  for (int i = 0; i < 10; ++i) {
    if (i % 3 == 0) server.command({{"op", "compact"}}), server.command({{"op", "cut"}});
    put_secret("b", i % 2 == 0 ? "djI=" : "djE=");
    ASSERT_TRUE(run_until([&] {
      unloaded = unloaded || secret("b") == nullptr || !secret("b")->loaded;
      return has("b", i % 2 == 0 ? "v2" : "v1");
    })) << i;
  }
  EXPECT_FALSE(unloaded);
}

TEST_F(ContentTest, AFailedFetchIsReportedAndTriedAgain) {
  start();
  expect_synced();
  ASSERT_FALSE(HasFailure());
  server.fault("call", "status", {{"code", 403}, {"path", "/secrets/b"}, {"times", 5}});
  source->want({{"a", "b"}}, {});
  ASSERT_TRUE(run_until([&] { return undecodable.contains({Kind::secret, {"a", "b"}}); }));
  EXPECT_TRUE(source->settled()) << "reported, so nothing waits for it";
  ASSERT_TRUE(run_until([&] { return has("b", "v1"); }));
}

TEST_F(ContentTest, ManyAreFetched) {
  for (int i = 0; i < 40; ++i) put_secret("s" + std::to_string(i), "djE=");
  start();
  expect_synced();
  ASSERT_FALSE(HasFailure());
  std::vector<store::ObjectKey> wanted;
  for (int i = 0; i < 40; ++i) wanted.push_back({"a", "s" + std::to_string(i)});
  source->want(wanted, {});
  ASSERT_TRUE(run_until([&] { return source->settled(); }));
  for (int i = 0; i < 40; ++i) EXPECT_TRUE(has("s" + std::to_string(i), "v1")) << i;
  EXPECT_EQ(source->status().loaded, 40u);
}

TEST_F(ContentTest, ARecreatedSecretIsFetchedAnew) {
  start();
  expect_synced();
  ASSERT_FALSE(HasFailure());
  source->want({{"a", "b"}}, {});
  ASSERT_TRUE(run_until([&] { return has("b", "v1"); }));
  erase(kPaths[4], "b");
  ASSERT_TRUE(run_until([&] { return secret("b") == nullptr; }));
  put_secret("b", "djk=");
  ASSERT_TRUE(run_until([&] { return has("b", "v9"); }));
}

}  // namespace
}  // namespace sluice::kube
