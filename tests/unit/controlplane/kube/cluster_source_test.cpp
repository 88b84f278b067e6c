// The whole source against an API server double that misbehaves: after each fault the state must equal the server's,
// what was not touched must never have been missing, and a further change must arrive. Timers are short; nothing here
// measures time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <set>

#include "common/base/asio.h"
#include "common/base/log.h"
#include "controlplane/kube/cluster_source.h"
#include "tests/lib/fake_apiserver.h"

namespace sluice::kube {
namespace {

using nlohmann::json;
using sluice::testkit::FakeApiServer;
using sluice::testkit::TempFolder;
using store::Kind;

constexpr std::chrono::seconds kPatience{10};

struct KindPath {
  Kind kind;
  const char* path;
  bool namespaced;
};
constexpr KindPath kPaths[] = {{Kind::ingress, "/apis/networking.k8s.io/v1/ingresses", true},
                               {Kind::ingress_class, "/apis/networking.k8s.io/v1/ingressclasses", false},
                               {Kind::service, "/api/v1/services", true},
                               {Kind::endpoint_slice, "/apis/discovery.k8s.io/v1/endpointslices", true},
                               {Kind::secret, "/api/v1/secrets", true},
                               {Kind::config_map, "/api/v1/configmaps", true},
                               {Kind::namespace_, "/api/v1/namespaces", false},
                               {Kind::route, "/apis/sluice.dev/v1alpha1/routes", true}};

json body_of(Kind kind) {
  switch (kind) {
    case Kind::ingress:
      return {{"spec", json::object()}};
    case Kind::ingress_class:
      return {{"spec", {{"controller", "sluice.dev/ingress-controller"}}}};
    case Kind::service:
      return {{"spec", {{"ports", json::array({{{"port", 80}}})}}}};
    case Kind::endpoint_slice:
      return {{"addressType", "IPv4"}, {"endpoints", json::array()}};
    case Kind::secret:
      return {{"type", "Opaque"}, {"data", {{"k", "djE="}}}};
    case Kind::config_map:
      return {{"data", {{"k", "v"}}}};
    case Kind::namespace_:
      return json::object();
    case Kind::route:
      return {
          {"spec",
           {{"parentRefs", json::array({{{"kind", "IngressClass"}, {"group", "networking.k8s.io"}, {"name", "web"}}})},
            {"rules", json::array({json::object()})}}}};
  }
  return {};
}

class ClusterSourceTest : public ::testing::Test {
 protected:
  ClusterSourceTest() {
    log::set_level(std::getenv("SLUICE_TEST_LOG") != nullptr ? log::Level::debug : log::Level::off);
    server.command({{"op", "pages"}, {"size", 3}});
    server.command({{"op", "bookmarks"}, {"seconds", 0.1}});
    for (const KindPath& kind : kPaths) {
      for (const char* name : {"keep", "b", "c", "d", "e"}) put(kind, name);
    }
  }
  ~ClusterSourceTest() override { stop(); }

  ClusterAccess access() {
    ClusterAccess out;
    out.server = server.url();
    out.ca_file = server.ca_file;
    return out;
  }
  static ReflectorTimings timings() {
    ReflectorTimings timings;
    timings.backoff_start_ms = 10;
    timings.backoff_cap_ms = 100;
    timings.watch_min_s = 1;
    timings.watch_max_s = 2;
    timings.watch_margin_ms = 200;
    timings.silence_ms = 400;
    timings.answer_ms = 400;
    timings.short_watch_ms = 20;
    timings.absent_retry_ms = 50;
    timings.absent_confirm_ms = 300;
    return timings;
  }
  void start() { start(access()); }
  void start(const ClusterAccess& with, std::vector<std::string> namespaces = {}) {
    auto made = make_transport(io, with);
    ASSERT_TRUE(made.has_value()) << made.error().message;
    transport = std::move(*made);
    ClusterSourceOptions options;
    options.watch_namespaces = std::move(namespaces);
    options.timings = timings();
    options.pulse_ms = 100;
    options.pulse_answer_ms = 200;
    source = make_cluster_source(io, *transport, std::move(options));
    source->start({[this](store::Change change) { on_change(std::move(change)); }, [this] { ++synced; }});
  }
  void stop() {
    if (source) source->stop();
    if (transport) transport->shutdown();
    source.reset();
    transport.reset();
  }

  void on_change(store::Change change) {
    if (auto* upsert = std::get_if<store::Upsert>(&change)) {
      set(std::move(upsert->object));
    } else if (auto* gone = std::get_if<store::Delete>(&change)) {
      objects.erase(gone->ref);
    } else if (auto* bad = std::get_if<store::Undecodable>(&change)) {
      objects.erase(bad->ref);
      undecodable.insert(bad->ref);
    } else {
      auto& list = std::get<store::Replace>(change);
      std::erase_if(objects, [&](const auto& item) {
        return item.first.kind == list.kind && (list.ns.empty() || item.first.key.ns == list.ns);
      });
      for (auto& object : list.objects) set(std::move(object));
    }
    if (!watch_keepers || synced == 0) return;
    for (const KindPath& kind : kPaths) {
      const store::ObjectRef keeper{kind.kind, {kind.namespaced ? "a" : "", "keep"}};
      if (!objects.contains(keeper)) missing.insert(keeper);
    }
  }
  void set(store::Object object) {
    const store::ObjectRef ref = store::ref_of(object);
    undecodable.erase(ref);
    objects.insert_or_assign(ref, std::move(object));
  }

  // Runs the loop until `done`, for at most kPatience.
  template <class Done>
  bool run_until(Done done, std::chrono::milliseconds patience = kPatience) {
    const auto end = std::chrono::steady_clock::now() + patience;
    const auto work = boost::asio::make_work_guard(io);  // else run_for returns at once when nothing waits
    while (!done()) {
      if (std::chrono::steady_clock::now() > end) return false;
      io.restart();
      io.run_for(std::chrono::milliseconds(5));
    }
    return true;
  }
  void run_for(std::chrono::milliseconds span) {
    (void)run_until([] { return false; }, span);
  }

  json put(const KindPath& kind, const std::string& name, const json& more = json::object()) {
    json object = body_of(kind.kind);
    object["metadata"] = {{"name", name}};
    if (kind.namespaced) object["metadata"]["namespace"] = "a";
    object.update(more, true);
    return server.command({{"op", "put"}, {"path", kind.path}, {"object", object}});
  }
  void erase(const KindPath& kind, const std::string& name) {
    server.command({{"op", "delete"}, {"path", kind.path}, {"ns", kind.namespaced ? "a" : ""}, {"name", name}});
  }
  // A few changes of each kind: one new, one changed, one gone; `keep` is left alone.
  void change_everything() {
    for (const KindPath& kind : kPaths) {
      put(kind, "new" + std::to_string(++serial));
      put(kind, "b");
      erase(kind, serial % 2 == 0 ? "c" : "d");
      if (random() % 3 == 0) put(kind, serial % 2 == 0 ? "d" : "c");
    }
  }
  std::string difference() {
    const json state = server.command({{"op", "state"}})["state"];
    for (const KindPath& kind : kPaths) {
      std::map<std::string, std::string> theirs, ours;
      if (state.contains(kind.path)) theirs = state[kind.path].get<std::map<std::string, std::string>>();
      for (const auto& [ref, object] : objects) {
        if (ref.kind == kind.kind) ours[ref.key.ns + "/" + ref.key.name] = store::meta_of(object).resource_version;
      }
      if (ours != theirs) {
        return fmt::format("{}: server {}, we {}", store::kind_name(kind.kind), json(theirs).dump(), json(ours).dump());
      }
    }
    return {};
  }
  void expect_equal(const std::string& when) {
    std::string why = "not compared";
    EXPECT_TRUE(run_until([&] {
      // Asking the double for its state at each turn would slow both down.
      run_for(std::chrono::milliseconds(20));
      why = difference();
      return why.empty();
    })) << when
        << ": " << why;
  }
  void expect_synced() {
    ASSERT_TRUE(run_until([&] { return synced > 0; }));
    expect_equal("after the first lists");
    ASSERT_FALSE(HasFailure());
    watch_keepers = true;
  }
  void expect_healthy(const std::string& name) {
    expect_equal("after " + name);
    if (HasFailure()) return;
    change_everything();
    expect_equal("a change after " + name);
    EXPECT_TRUE(missing.empty()) << name << ": untouched objects were missing for a while, the first a "
                                 << store::kind_name(missing.begin()->kind);
    EXPECT_EQ(synced, 1) << name;
    server.command({{"op", "clear"}});
  }
  // Every object kind must have been hit: all armed faults are used up.
  void expect_faults_used(const std::string& name) {
    EXPECT_TRUE(run_until([&] {
      return server.command({{"op", "armed"}})["armed"] == 0;
    })) << name
        << ": the fault never happened";
  }
  size_t requests_with(const std::string& text, const std::string& without = "\n") {
    size_t count = 0;
    const json requests = server.command({{"op", "requests"}})["requests"];
    for (const auto& request : requests) {
      const std::string line = request.get<std::string>();
      if (line.find(text) != std::string::npos && line.find(without) == std::string::npos) ++count;
    }
    return count;
  }

  void TearDown() override {
    if (HasFailure()) std::cerr << "undecodable: " << undecodable.size() << "\n";
  }
  TempFolder folder;
  FakeApiServer server{folder};
  boost::asio::io_context io;
  std::unique_ptr<Transport> transport;
  std::unique_ptr<ClusterSource> source;
  std::map<store::ObjectRef, store::Object> objects;
  std::set<store::ObjectRef> undecodable, missing;
  std::mt19937 random{7};
  int synced = 0, serial = 0;
  bool watch_keepers = false;
};

int rounds() {
  const char* text = std::getenv("SLUICE_FAULT_ROUNDS");
  return text != nullptr ? std::max(1, std::atoi(text)) : 1;
}

TEST_F(ClusterSourceTest, ListsInPagesAndFollows) {
  start();
  expect_synced();
  ASSERT_FALSE(HasFailure());
  change_everything();
  expect_equal("changes");
}

// ---- faults of a watch that runs: one event of each kind is replaced by the fault

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
      expect_faults_used(what);
      change_everything();
      expect_healthy(what);
      ASSERT_FALSE(HasFailure()) << what;
    }
  }
}

// ---- faults at the start of a watch or list; the server is down before, so that each begins anew

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

// ---- faults of the connection

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

TEST_F(ClusterSourceTest, BookmarksAloneKeepTheVersionFresh) {
  start();
  expect_synced();
  ASSERT_FALSE(HasFailure());
  // Only one kind changes; the others learn of it by bookmarks, and then resume behind the compaction without a list.
  for (int i = 0; i < 5; ++i) put(kPaths[5], "busy");
  run_for(std::chrono::milliseconds(400));
  server.command({{"op", "compact"}});
  server.command({{"op", "requests"}});
  server.command({{"op", "cut"}});
  expect_healthy("bookmarks");
  EXPECT_EQ(requests_with("limit=", "configmaps"), 0u);
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

TEST_F(ClusterSourceTest, ExpiredTokenIsReadAgainFromItsFile) {
  ClusterAccess with = access();
  with.token_file = folder.write("token", "first\n");
  server.command({{"op", "tokens"}, {"accept", {"first"}}});
  start(with);
  expect_synced();
  ASSERT_FALSE(HasFailure());
  server.command({{"op", "tokens"}, {"accept", {"second"}}});
  server.command({{"op", "cut"}});
  change_everything();
  run_for(std::chrono::milliseconds(300));
  folder.write("token", "second\n");
  expect_healthy("a rotated token");
}

TEST_F(ClusterSourceTest, AnotherAuthoritysCertificateIsNotSpokenTo) {
  start();
  expect_synced();
  ASSERT_FALSE(HasFailure());
  const auto other = sluice::testkit::make_certificate("apiserver", "IP:127.0.0.1");
  const std::string certificate = folder.write("other.crt", other.certificate),
                    key = folder.write("other.key", other.key);
  server.command({{"op", "certificate"}, {"cert", certificate}, {"key", key}});
  server.command({{"op", "requests"}});
  server.command({{"op", "cut"}});
  change_everything();
  run_for(std::chrono::milliseconds(500));
  EXPECT_EQ(requests_with("GET"), 0u) << "no byte of HTTP before the certificate is verified";
  server.command({{"op", "certificate"}, {"cert", server.ca_file}, {"key", server.key_file}});
  expect_healthy("a wrong certificate");
}

TEST_F(ClusterSourceTest, TheNameInTheCertificateCounts) {
  ClusterAccess with = access();
  with.tls_server_name = "other.example";
  start(with);
  run_for(std::chrono::milliseconds(300));
  EXPECT_EQ(synced, 0);
  EXPECT_EQ(requests_with("GET"), 0u);
  stop();
  with.tls_server_name = "kubernetes.default.svc";
  start(with);
  expect_synced();
  ASSERT_FALSE(HasFailure());
}

TEST_F(ClusterSourceTest, SystemAuthoritiesDoNotCountWhenOneIsNamedAndNoneIsNotTrust) {
  ClusterAccess with = access();
  with.ca_file.clear();
  start(with);
  run_for(std::chrono::milliseconds(300));
  EXPECT_EQ(synced, 0);
  EXPECT_EQ(requests_with("GET"), 0u);
}

TEST(ClientCertificate, IsPresented) {
  log::set_level(log::Level::off);
  TempFolder folder;
  const auto client = sluice::testkit::make_certificate("gateway", "");
  FakeApiServer server(folder, client.certificate);
  boost::asio::io_context io;
  ClusterAccess access;
  access.server = server.url();
  access.ca_file = server.ca_file;
  for (const bool with_certificate : {false, true}) {
    if (with_certificate) {
      access.certificate_pem = client.certificate;
      access.key_pem = SecretBytes(client.key);
    }
    auto transport = make_transport(io, access);
    ASSERT_TRUE(transport.has_value()) << transport.error().message;
    std::optional<Result<Reply>> reply;
    (*transport)
        ->send({.method = Method::get,
                .target = "/version",
                .accept = "application/json",
                .content_type = {},
                .body = {},
                .max_body = 1 << 20},
               [&](Result<Reply> got) { reply = std::move(got); });
    const auto work = boost::asio::make_work_guard(io);  // else run_for returns at once
    for (int i = 0; i < 1000 && !reply; ++i) {
      io.restart();
      io.run_for(std::chrono::milliseconds(10));
    }
    ASSERT_TRUE(reply.has_value());
    EXPECT_EQ(reply->has_value() && (*reply)->status == 200, with_certificate);
    (*transport)->shutdown();
  }
}

TEST_F(ClusterSourceTest, AnswersOverTheirLimitAreCutOff) {
  put(kPaths[5], "large", {{"data", {{"k", std::string(300'000, 'x')}}}});
  auto made = make_transport(io, access());
  ASSERT_TRUE(made.has_value());
  std::optional<Result<Reply>> reply;
  Call call;
  call.target = "/api/v1/namespaces/a/configmaps/large";
  call.max_body = 100'000;
  (*made)->send(std::move(call), [&](Result<Reply> got) { reply = std::move(got); });
  ASSERT_TRUE(run_until([&] { return reply.has_value(); }));
  ASSERT_FALSE(reply->has_value());
  EXPECT_THAT(reply->error().message, ::testing::HasSubstr("100000 bytes"));
  (*made)->shutdown();
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

// ---- kinds, scopes, contents

TEST_F(ClusterSourceTest, AMissingCrdDoesNotHoldUpTheRest) {
  server.command({{"op", "absent"}, {"path", kPaths[7].path}, {"absent", true}});
  start();
  ASSERT_TRUE(run_until([&] { return synced == 1; }));
  EXPECT_FALSE(objects.contains({Kind::route, {"a", "keep"}}));
  server.command({{"op", "absent"}, {"path", kPaths[7].path}, {"absent", false}});
  expect_equal("the CRD is installed");
  // 404 for a moment (an API server that starts) must not empty it; for long it must.
  watch_keepers = true;
  server.command({{"op", "absent"}, {"path", kPaths[7].path}, {"absent", true}});
  server.command({{"op", "cut"}});
  run_for(std::chrono::milliseconds(150));
  server.command({{"op", "absent"}, {"path", kPaths[7].path}, {"absent", false}});
  expect_healthy("a short 404");
  watch_keepers = false;
  server.command({{"op", "absent"}, {"path", kPaths[7].path}, {"absent", true}});
  server.command({{"op", "cut"}});
  EXPECT_TRUE(run_until([&] { return !objects.contains({Kind::route, {"a", "keep"}}); }));
}

TEST_F(ClusterSourceTest, WatchedNamespacesAreMirroredEachAlone) {
  for (const char* ns : {"x", "y", "z"}) {
    json object = body_of(Kind::service);
    object["metadata"] = {{"name", "s"}, {"namespace", ns}};
    server.command({{"op", "put"}, {"path", kPaths[2].path}, {"object", object}});
    server.command({{"op", "put"}, {"path", kPaths[6].path}, {"object", {{"metadata", {{"name", ns}}}}}});
  }
  start(access(), {"x", "y"});
  ASSERT_TRUE(run_until([&] { return synced == 1; }));
  const auto both = [&] {
    return objects.contains({Kind::service, {"x", "s"}}) && objects.contains({Kind::service, {"y", "s"}}) &&
           objects.contains({Kind::namespace_, {"", "x"}}) && objects.contains({Kind::namespace_, {"", "y"}});
  };
  EXPECT_TRUE(both());
  EXPECT_FALSE(objects.contains({Kind::service, {"z", "s"}}));
  EXPECT_FALSE(objects.contains({Kind::namespace_, {"", "z"}}));
  // One namespace's new list leaves the other's objects alone.
  server.command({{"op", "compact"}});
  server.command({{"op", "cut"}});
  server.command({{"op", "delete"}, {"path", kPaths[2].path}, {"ns", "x"}, {"name", "s"}});
  EXPECT_TRUE(run_until([&] { return !objects.contains({Kind::service, {"x", "s"}}); }));
  EXPECT_TRUE(objects.contains({Kind::service, {"y", "s"}}));
}

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

TEST_F(ContentTest, ManyAreFetchedFourAtOnce) {
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
