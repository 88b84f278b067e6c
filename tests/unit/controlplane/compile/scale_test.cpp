// Many objects: what one change or one bad object touches (asserted by identity, not by time), and a measurement to run
// by hand in a release build:
//   controlplane_compile_test --gtest_also_run_disabled_tests --gtest_filter='Scale.DISABLED_Cost'
#include <algorithm>
#include <cstdio>
#include <ctime>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "controlplane/compile/compile.h"
#include "controlplane/store/store.h"
#include "tests/unit/controlplane/compile/yaml_objects.h"

namespace sluice {
namespace {

store::Ingress ingress(size_t i, const char* path = "/api") {
  store::Ingress out;
  out.meta.ns = fmt::format("ns{}", i % 100);
  out.meta.name = fmt::format("web-{:05}", i);
  out.meta.creation = 1'700'000'000 + static_cast<int64_t>(i);
  out.class_name = "sluice";
  store::IngressBackend backend;
  backend.service = out.meta.name;
  backend.port.number = 80;
  store::IngressRule rule;
  rule.host = fmt::format("host-{:05}.example.com", i);
  for (const char* p : {"/", path, "/static", "/health", "/admin"})
    rule.paths.push_back({p, store::PathType::prefix, backend});
  out.rules.push_back(rule);
  return out;
}

store::EndpointSlice slice(size_t i, size_t endpoints) {
  store::EndpointSlice out;
  out.meta.ns = fmt::format("ns{}", i % 100);
  out.meta.name = fmt::format("web-{:05}-1", i);
  out.service = fmt::format("web-{:05}", i);
  out.address_type = "IPv4";
  out.ports.push_back({"http", "TCP", "", 8080});
  for (size_t k = 0; k < endpoints; ++k) {
    store::SliceEndpoint endpoint;
    endpoint.addresses.push_back(fmt::format("10.{}.{}.{}", i / 250 % 250, i % 250, k + 1));
    out.endpoints.push_back(endpoint);
  }
  return out;
}

test::Objects many(size_t count) {
  test::Objects out;
  out.options.http_port = 80;
  out.options.https_port = 443;
  store::IngressClass sluice;
  sluice.meta.name = "sluice";
  sluice.controller = config::kControllerName;
  test::put(out.snapshot, sluice);
  for (size_t i = 0; i < count; ++i) {
    test::put(out.snapshot, ingress(i));
    store::Service service;
    service.meta.ns = fmt::format("ns{}", i % 100);
    service.meta.name = fmt::format("web-{:05}", i);
    service.ports.push_back({"http", 80, "TCP", "8080", ""});
    test::put(out.snapshot, service);
    test::put(out.snapshot, slice(i, 3));
  }
  return out;
}

// How many hosts are not the same object as before.
size_t changed(const translate::Translation& before, const translate::Translation& after) {
  size_t count = after.hosts.size() > before.hosts.size() ? after.hosts.size() - before.hosts.size() : 0;
  for (size_t i = 0; i < std::min(before.hosts.size(), after.hosts.size()); ++i)
    count += before.hosts[i] != after.hosts[i] ? 1 : 0;
  return count;
}

TEST(Scale, OneChangeTouchesOneHost) {
  test::Objects objects = many(1000);
  translate::Translator translator;
  const auto before = translator.translate(objects.snapshot, objects.options);
  EXPECT_EQ(before.hosts.size(), 1000u);
  test::put(objects.snapshot, ingress(500, "/v2"));
  const auto after = translator.translate(objects.snapshot, objects.options);
  EXPECT_EQ(changed(before, after), 1u);
  EXPECT_EQ(before.clusters, after.clusters);
  test::put(objects.snapshot, slice(7, 2));
  const auto rollout = translator.translate(objects.snapshot, objects.options);
  EXPECT_EQ(changed(after, rollout), 0u);
  EXPECT_EQ(after.clusters, rollout.clusters);
  EXPECT_NE(after.endpoints, rollout.endpoints);
}

TEST(Scale, OneBadIngressAmongAThousandTouchesNothingElse) {
  test::Objects objects = many(1000);
  translate::Translator translator;
  const auto before = translator.translate(objects.snapshot, objects.options);
  store::Ingress bad = ingress(500, "no slash");
  bad.rules[0].paths[0].backend.service = "absent";
  bad.rules.push_back({"NOT A HOST", {}});
  test::put(objects.snapshot, bad);
  const auto after = translator.translate(objects.snapshot, objects.options);
  EXPECT_EQ(changed(before, after), 1u);
  ASSERT_EQ(after.problems.size(), 3u);
  for (const auto& problem : after.problems) EXPECT_EQ(problem.object.key, bad.meta.key());
  EXPECT_EQ(std::ranges::count_if(after.statuses, [](const auto& status) { return status.accepted; }), 1000);
}

// Nearly every route allows the same upgrades: a list is written once a host and costs a route its offset.
TEST(Scale, UpgradesCostARouteOneOffset) {
  constexpr size_t kRoutes = 500;
  const auto table_bytes = [](const char* upgrades) {
    test::Objects objects = many(1);
    store::Ingress one = ingress(0);
    const store::IngressBackend backend = one.rules[0].paths[0].backend;
    one.rules[0].paths.clear();
    for (size_t i = 0; i < kRoutes; ++i)
      one.rules[0].paths.push_back({fmt::format("/{:03}", i), store::PathType::prefix, backend});
    if (upgrades != nullptr) one.meta.annotations["sluice.dev/upgrades"] = upgrades;
    test::put(objects.snapshot, one);
    translate::Translator translator;
    compile::Compiler compiler;
    return compiler.compile(translator.translate(objects.snapshot, objects.options)).parts[0].bytes->size();
  };
  const size_t none = table_bytes("");
  EXPECT_GE(table_bytes(nullptr), none + kRoutes * sizeof(flatbuffers::uoffset_t));
  EXPECT_LE(table_bytes(nullptr), none + kRoutes * sizeof(flatbuffers::uoffset_t) + 64);
}

// Of this thread alone: the machine may be busy with other things.
double cpu_ms() {
  timespec ts{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
  return static_cast<double>(ts.tv_sec) * 1e3 + static_cast<double>(ts.tv_nsec) / 1e6;
}

class Stopwatch {
 public:
  explicit Stopwatch(const char* what) : what_(what), begin_(cpu_ms()) {}
  ~Stopwatch() { std::printf("%-44s %8.2f ms of CPU\n", what_, cpu_ms() - begin_); }

 private:
  const char* what_;
  double begin_;
};

TEST(Scale, DISABLED_Cost) {
  const test::Objects objects = many(10'000);
  store::Store store;
  const auto apply = [&store](store::Object object) { store.apply(store::Upsert{std::move(object)}); };
  for (const auto& [key, object] : objects.snapshot.ingress_classes) apply(*object);
  for (const auto& [key, object] : objects.snapshot.ingresses) apply(*object);
  for (const auto& [key, object] : objects.snapshot.services) apply(*object);
  for (const auto& [key, object] : objects.snapshot.endpoint_slices) apply(*object);
  translate::Translator translator;
  compile::Compiler compiler;
  const auto round = [&](const char* translate_name, const char* compile_name) {
    const translate::Translation* translation = nullptr;
    {
      const Stopwatch watch(translate_name);
      translation = &translator.translate(store.snapshot(), objects.options);
    }
    const Stopwatch watch(compile_name);
    return compiler.compile(*translation);
  };
  const auto compiled = round("10,000 Ingresses, from scratch: translate", "                                compile");
  std::printf("table %zu KiB, endpoints %zu KiB\n", compiled.parts[0].bytes->size() / 1024,
              compiled.parts[1].bytes->size() / 1024);
  for (int i = 0; i < 3; ++i) round("nothing changed: translate", "                 compile");
  for (size_t i = 0; i < 5; ++i) {
    apply(ingress(500 + i, "/v2"));
    round("one Ingress changed: translate", "                     compile");
  }
  for (size_t i = 0; i < 5; ++i) {
    apply(slice(700 + i, 2));
    round("one EndpointSlice changed: translate", "                           compile");
  }
}

}  // namespace
}  // namespace sluice
