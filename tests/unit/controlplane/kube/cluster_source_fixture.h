// What the tests of the cluster source share: the source on an API server double with a few objects of each kind, the
// state it told, and the comparison of both. Timers are short; nothing here measures time.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "common/base/asio.h"
#include "common/base/log.h"
#include "controlplane/kube/cluster_source.h"
#include "tests/lib/fake_apiserver.h"
#include "tests/lib/run_until.h"

namespace sluice::kube {

using nlohmann::json;
using sluice::testkit::FakeApiServer;
using sluice::testkit::TempFolder;
using store::Kind;

constexpr std::chrono::seconds kPatience{300};  // a hang becomes a failure; what works never waits so long

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
                               {Kind::route, "/apis/sluice.dev/v1alpha1/routes", true},
                               {Kind::rate_limit_policy, "/apis/sluice.dev/v1alpha1/ratelimitpolicies", true}};

inline json body_of(Kind kind) {
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
    case Kind::rate_limit_policy:
      return {{"spec",
               {{"targetRefs", json::array({{{"group", ""}, {"kind", "Namespace"}, {"name", "a"}}})},
                {"limits", json::array({{{"name", "all"}, {"requests", 10}}})}}}};
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
  static ReflectorTimings short_timings() {
    ReflectorTimings timings;
    timings.backoff_start_ms = 10;
    timings.backoff_cap_ms = 100;
    timings.watch_min_s = 1;
    timings.watch_max_s = 2;
    timings.watch_margin_ms = 200;
    timings.silence_ms = 400;
    timings.answer_ms = 1200;  // the double is one process of Python on a busy machine
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
    options.timings = timings;
    options.pulse_ms = 100;
    options.pulse_answer_ms = 800;
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
    return testkit::run_until(io, done, patience);
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
  // Every object kind must have been hit: all armed faults are used up. `more` happens now and then meanwhile: where a
  // fault waits for an event, and a kind has just listed instead, there must be another one.
  void expect_faults_used(const std::string& name, const std::function<void()>& more = {}) {
    EXPECT_TRUE(run_until([&] {
      if (server.command({{"op", "armed"}})["armed"] == 0) return true;
      run_for(std::chrono::milliseconds(100));
      if (more) more();
      return false;
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
  ReflectorTimings timings = short_timings();
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

// SLUICE_FAULT_ROUNDS: how often each fault is run; 1 is the ordinary test.
inline int rounds() {
  const char* text = std::getenv("SLUICE_FAULT_ROUNDS");
  return text != nullptr ? std::max(1, std::atoi(text)) : 1;
}

}  // namespace sluice::kube
