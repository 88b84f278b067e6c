// The memo changes nothing but the cost: after any change, incremental translation and compilation give the bytes,
// problems and statuses that a start from scratch gives.
#include <algorithm>
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "common/ir/verify.h"
#include "controlplane/compile/compile.h"
#include "tests/unit/controlplane/compile/yaml_objects.h"

namespace sluice {
namespace {

// A small world in which everything collides with everything.
class World {
 public:
  explicit World(uint32_t seed) : random_(seed) {
    store::IngressClass ours;
    ours.meta.name = "sluice";
    ours.controller = config::kControllerName;
    test::put(snapshot, ours);
    options.http_port = 80;
    options.https_port = 443;
    options.default_certificate = store::ObjectKey{"ns0", "absent"};
    for (int i = 0; i < 20; ++i) change();
  }

  void change() {
    switch (pick(12)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return ingress();
      case 4:
      case 5:
        return route();
      case 6:
        return service();
      case 7:
      case 8:
        return slice();
      case 9:
        return ingress_class();
      case 10:
        erase(snapshot.ingresses);
        return erase(snapshot.routes);
      default:
        if (chance(50)) return erase(snapshot.services);
        return erase(snapshot.endpoint_slices);
    }
  }
  void change_options() {
    switch (pick(4)) {
      case 0:
        options.host_ownership =
            chance(50) ? config::Options::HostOwnership::shared : config::Options::HostOwnership::per_namespace;
        break;
      case 1:
        options.ssl_redirect = !options.ssl_redirect;
        break;
      case 2:
        options.default_backend.reset();
        if (chance(60)) options.default_backend = config::ServiceTarget{{ns(), service_name()}, 0};
        break;
      default:
        options.settings.workers = static_cast<uint32_t>(pick(4));
        break;
    }
  }

  store::Snapshot snapshot;
  config::Options options;

 private:
  size_t pick(size_t count) { return std::uniform_int_distribution<size_t>(0, count - 1)(random_); }
  bool chance(size_t percent) { return pick(100) < percent; }
  std::string ns() { return fmt::format("ns{}", pick(2)); }
  std::string service_name() { return fmt::format("s{}", pick(3)); }
  std::string host() {
    static const char* kHosts[] = {"", "a.x.com", "b.x.com", "*.x.com", "c.com", "BAD"};
    return kHosts[pick(std::size(kHosts))];
  }
  std::string path() {
    static const char* kPaths[] = {"/", "/a", "/a/", "/a/b", "bad", "/%7e"};
    return kPaths[pick(std::size(kPaths))];
  }
  template <class T>
  T named(const std::string& name) {
    T out;
    out.meta.ns = ns();
    out.meta.name = name;
    out.meta.creation = static_cast<int64_t>(pick(3));
    out.meta.generation = ++generation_;
    return out;
  }
  store::IngressBackend backend() {
    store::IngressBackend out;
    if (chance(5)) {
      out.resource_kind = out.resource_name = "x";
      return out;
    }
    out.service = service_name();
    if (chance(50)) out.port.name = "http";
    else out.port.number = static_cast<uint16_t>(80 + pick(2));
    return out;
  }
  void ingress() {
    auto out = named<store::Ingress>(fmt::format("i{}", pick(5)));
    if (chance(90)) out.class_name = "sluice";
    for (size_t i = pick(4); i > 0; --i) {
      store::IngressRule rule;
      rule.host = host();
      for (size_t k = pick(3); k > 0; --k)
        rule.paths.push_back({path(), static_cast<store::PathType>(pick(3)), backend()});
      out.rules.push_back(rule);
    }
    if (chance(30)) out.default_backend = backend();
    if (chance(40))
      out.tls.push_back({chance(20) ? std::vector<std::string>{}
                                    : std::vector<std::string>{host().empty() ? "c.com" : "a.x.com", "*.x.com"},
                         chance(30) ? "" : fmt::format("cert{}", pick(2))});
    if (chance(20)) out.meta.annotations["sluice.dev/ssl-redirect"] = chance(50) ? "true" : "no";
    test::put(snapshot, out);
  }
  void route() {
    auto out = named<store::Route>(fmt::format("r{}", pick(4)));
    out.parent_refs.push_back({"networking.k8s.io", "IngressClass", "", chance(90) ? "sluice" : "other", "", 0});
    for (size_t i = pick(3); i > 0; --i) out.hostnames.push_back(host().empty() ? "c.com" : "b.x.com");
    for (size_t i = 1 + pick(2); i > 0; --i) {
      store::RouteRule rule;
      store::RouteMatch match;
      match.path = {static_cast<store::PathMatchType>(pick(3)), path()};
      if (chance(30)) match.method = "GET";
      if (chance(30)) match.headers.push_back({store::ValueMatchType::exact, "H", "v"});
      rule.matches.push_back(match);
      if (chance(20)) rule.filters.push_back(store::DirectResponseFilter{});
      else rule.backend_refs.push_back({"", "Service", "", service_name(), 80, static_cast<uint32_t>(pick(3))});
      out.rules.push_back(rule);
    }
    test::put(snapshot, out);
  }
  void service() {
    auto out = named<store::Service>(service_name());
    out.type = chance(10) ? "ExternalName" : "ClusterIP";
    out.external_name = "e.example.com";
    out.ports.push_back({"http", 80, "TCP", "80", chance(20) ? "https" : ""});
    if (chance(50)) out.ports.push_back({"more", 81, "TCP", "81", ""});
    test::put(snapshot, out);
  }
  void slice() {
    auto out = named<store::EndpointSlice>(fmt::format("e{}", pick(4)));
    out.service = service_name();
    out.address_type = "IPv4";
    out.ports.push_back({"http", "TCP", "", static_cast<uint16_t>(8080 + pick(2))});
    for (size_t i = pick(3); i > 0; --i) {
      store::SliceEndpoint endpoint;
      endpoint.addresses.push_back(chance(10) ? "127.0.0.1" : fmt::format("10.0.0.{}", pick(5)));
      endpoint.ready = chance(70);
      endpoint.terminating = chance(30);
      out.endpoints.push_back(endpoint);
    }
    test::put(snapshot, out);
  }
  void ingress_class() {
    store::IngressClass out;
    out.meta.name = "sluice";
    out.controller = chance(85) ? config::kControllerName : "other";
    out.is_default = chance(50);
    if (chance(30)) out.meta.annotations["sluice.dev/ssl-redirect"] = "false";
    test::put(snapshot, out);
  }
  template <class Map>
  void erase(Map& map) {
    for (auto& version : snapshot.kind_versions) ++version;
    if (!map.empty()) map.erase(std::next(map.begin(), static_cast<ptrdiff_t>(pick(map.size()))));
  }

  std::mt19937 random_;
  int64_t generation_ = 0;
};

bool same_status(const translate::ObjectStatus& a, const translate::ObjectStatus& b) {
  return a.object == b.object && a.generation == b.generation && a.accepted == b.accepted &&
         a.resolved_refs == b.resolved_refs && a.parents == b.parents;
}

class Incremental : public testing::TestWithParam<uint32_t> {};

TEST_P(Incremental, EqualsFromScratch) {
  World world(GetParam());
  translate::Translator translator;
  compile::Compiler compiler;
  for (int step = 0; step < 400; ++step) {
    // Bursts, too: several changes may be one snapshot.
    for (size_t changes = 1 + static_cast<size_t>(step % 3); changes > 0; --changes) world.change();
    if (step % 40 == 39) world.change_options();
    const auto translation = translator.translate(world.snapshot, world.options);
    const auto compiled = compiler.compile(translation);
    translate::Translator fresh_translator;
    compile::Compiler fresh_compiler;
    const auto fresh = fresh_translator.translate(world.snapshot, world.options);
    const auto fresh_compiled = fresh_compiler.compile(fresh);
    for (size_t part = 0; part < ir::kParts; ++part) {
      ASSERT_EQ(*compiled.parts[part].bytes, *fresh_compiled.parts[part].bytes) << "step " << step << " part " << part;
      ASSERT_EQ(compiled.parts[part].hash, fresh_compiled.parts[part].hash);
      const Status verified = ir::verify_part(static_cast<ir::PartKind>(part), *compiled.parts[part].bytes);
      ASSERT_TRUE(verified.has_value()) << "step " << step << " part " << part << ": " << verified.error().message;
    }
    ASSERT_EQ(translation.problems, fresh.problems) << "step " << step;
    ASSERT_EQ(translation.wanted_secrets, fresh.wanted_secrets);
    ASSERT_EQ(translation.external_names, fresh.external_names);
    ASSERT_TRUE(std::ranges::equal(translation.statuses, fresh.statuses, same_status)) << "step " << step;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Incremental, testing::Range(1u, 9u));

TEST(Memo, UntouchedHostsAndEndpointsKeepTheirAddress) {
  World world(7);
  translate::Translator translator;
  compile::Compiler compiler;
  const auto before = translator.translate(world.snapshot, world.options);
  const auto same = translator.translate(world.snapshot, world.options);
  EXPECT_EQ(before.hosts, same.hosts);
  EXPECT_EQ(before.clusters, same.clusters);
  EXPECT_EQ(before.endpoints, same.endpoints);
  const auto first = compiler.compile(before), second = compiler.compile(same);
  for (size_t part = 0; part < ir::kParts; ++part) EXPECT_EQ(first.parts[part].hash, second.parts[part].hash);
}

TEST(Compile, HashesAreOfTheContent) {
  World world(3);
  translate::Translator translator;
  compile::Compiler compiler;
  const auto compiled = compiler.compile(translator.translate(world.snapshot, world.options));
  const auto* table = ir::GetRouteTable(compiled.parts[0].bytes->data());
  ASSERT_GT(table->hosts()->size(), 1u);
  std::set<uint64_t> hashes;
  for (const auto* host : *table->hosts()) {
    EXPECT_NE(host->hash(), 0u);
    hashes.insert(host->hash());
  }
  EXPECT_EQ(hashes.size(), table->hosts()->size());
  for (const auto* cluster : *table->clusters()) EXPECT_NE(cluster->hash(), 0u);
}

}  // namespace
}  // namespace sluice
