// The memo changes nothing but the cost: after any change, incremental translation and compilation give the bytes,
// problems and statuses that a start from scratch gives. Changes go through the real store, so that its journal, and
// what happens without it, is part of what is checked.
#include <algorithm>
#include <fstream>
#include <random>
#include <sstream>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "common/ir/verify.h"
#include "controlplane/compile/compile.h"
#include "controlplane/store/store.h"
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
    put(ours);
    options.http_port = 80;
    options.https_port = 443;
    options.allow_external_name = true;
    options.default_certificate = store::ObjectKey{"ns0", "absent"};
    options.ticket_keys_secret = store::ObjectKey{ns(), cert_name()};
    for (int i = 0; i < 20; ++i) change();
  }

  [[nodiscard]] const store::Snapshot& snapshot() const { return store_.snapshot(); }

  void change() {
    ++changes_;
    switch (pick(20)) {
      case 17:
      case 18:
        return policy();
      case 19:
        return erase(store::Kind::rate_limit_policy, snapshot().rate_limit_policies);
      case 14:
        return answer();
      case 15:
        return config_map();
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
        erase(store::Kind::ingress, snapshot().ingresses);
        return erase(store::Kind::route, snapshot().routes);
      case 11:
      case 12:
        return secret();
      case 13:
        return relist();
      default:
        if (chance(50)) return erase(store::Kind::service, snapshot().services);
        return erase(store::Kind::endpoint_slice, snapshot().endpoint_slices);
    }
  }
  // Time goes to and fro: unknown, before the certificates' validity, within it, after it.
  void change_time() {
    static constexpr int64_t kTimes[] = {0, 1'000'000'000, 1'900'000'000, 3'000'000'000};
    now = kTimes[pick(std::size(kTimes))];
  }
  void change_options() {
    switch (pick(7)) {
      case 5:
        options.own_namespace = chance(50) ? ns() : "";
        options.class_policies_anywhere = chance(30);
        options.class_policy_namespaces.clear();
        if (chance(50)) options.class_policy_namespaces.push_back(ns());
        break;
      case 4:
        options.ticket_keys_secret.reset();
        if (chance(60)) options.ticket_keys_secret = store::ObjectKey{ns(), cert_name()};
        break;
      case 3:
        options.default_certificate.reset();
        if (chance(60)) options.default_certificate = store::ObjectKey{ns(), cert_name()};
        break;
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

  config::Options options;
  int64_t now = 0;

 private:
  void put(store::Object object) { store_.apply(store::Upsert{std::move(object)}); }
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
    if (chance(90)) out.class_name = chance(85) ? "sluice" : "second";
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
                         chance(30) ? "" : cert_name()});
    if (chance(20)) out.meta.annotations["sluice.dev/ssl-redirect"] = chance(50) ? "true" : "no";
    if (chance(20)) out.meta.annotations["sluice.dev/priority"] = chance(70) ? "critical" : "urgent";
    if (chance(20)) out.meta.annotations["sluice.dev/upgrades"] = chance(50) ? "" : "websocket, a/1";
    put(out);
  }
  void route() {
    auto out = named<store::Route>(fmt::format("r{}", pick(4)));
    out.parent_refs.push_back({"networking.k8s.io", "IngressClass", "", chance(80) ? "sluice" : "second", "", 0});
    for (size_t i = pick(3); i > 0; --i) out.hostnames.push_back(host().empty() ? "c.com" : "b.x.com");
    for (size_t i = 1 + pick(2); i > 0; --i) {
      store::RouteRule rule;
      if (chance(50)) rule.name = "one";
      store::RouteMatch match;
      match.path = {static_cast<store::PathMatchType>(pick(3)), path()};
      if (chance(20))
        match.grpc = {chance(80) ? store::GrpcMatch::Type::exact : store::GrpcMatch::Type{1}, chance(70) ? "a.B" : "",
                      chance(80) ? "C" : "c d"};
      if (chance(30)) match.method = "GET";
      if (chance(30)) match.headers.push_back({store::ValueMatchType::exact, "H", "v"});
      rule.matches.push_back(match);
      if (chance(30)) rule.priority = store::Priority::sheddable;
      if (chance(30)) rule.upgrades = chance(50) ? std::vector<std::string>{} : std::vector<std::string>{"X", "h2c"};
      if (chance(20)) rule.filters.push_back(store::DirectResponseFilter{});
      else rule.backend_refs.push_back({"", "Service", "", service_name(), 80, static_cast<uint32_t>(pick(3))});
      out.rules.push_back(rule);
    }
    put(out);
  }
  store::PolicyTarget target(const std::string& own) {
    switch (pick(6)) {
      case 0:
        return {"networking.k8s.io", "Ingress", fmt::format("i{}", pick(5)), chance(10) ? "one" : ""};
      case 1:
        return {"networking.k8s.io", "IngressClass", chance(80) ? "sluice" : "second", ""};
      case 2:
        return {"", "Namespace", chance(80) ? own : "ns0", ""};
      case 3:
        return {"", chance(50) ? "Service" : "Namespace", chance(50) ? "s1" : "", ""};
      default:
        return {"sluice.dev", "Route", fmt::format("r{}", pick(4)), chance(50) ? "one" : ""};
    }
  }
  void policy() {
    auto out = named<store::RateLimitPolicy>(fmt::format("p{}", pick(5)));
    for (size_t i = 1 + pick(3); i > 0; --i) out.target_refs.push_back(target(out.meta.ns));
    for (size_t i = 1 + (chance(20) ? 7 : pick(2)); i > 0; --i) {
      store::RateLimit limit{fmt::format("l{}", i), static_cast<uint32_t>(1 + pick(3)), 1000, 5, {}, chance(20)};
      if (chance(50)) limit.keys.push_back({store::LimitKeyType::header, chance(90) ? "X-Key" : "bad name"});
      out.limits.push_back(std::move(limit));
    }
    if (chance(20)) out.exempt_cidrs = {"10.0.0.0/8", "nonsense"};
    out.shadow = chance(20);
    out.response_fields = static_cast<store::ResponseFields>(pick(4));
    out.invalid = chance(10);
    put(out);
  }
  void service() {
    auto out = named<store::Service>(service_name());
    out.type = chance(20) ? "ExternalName" : "ClusterIP";
    out.external_name = chance(50) ? "e.example.com" : "f.example.com";
    if (chance(20)) out.meta.annotations["sluice.dev/upstream-ca-secret"] = cert_name();
    if (chance(20)) out.meta.annotations["sluice.dev/upstream-ca-configmap"] = fmt::format("ca{}", pick(2));
    if (chance(10)) out.meta.annotations["sluice.dev/upstream-sni"] = chance(50) ? "s.example.com" : "S";
    if (chance(10)) out.meta.annotations["sluice.dev/upstream-insecure-skip-verify"] = "true";
    if (chance(20)) out.meta.annotations["sluice.dev/upstream-protocol"] = chance(70) ? "h2" : "spdy";
    out.ports.push_back({"http", 80, "TCP", "80", chance(20) ? "https" : chance(20) ? "grpc" : ""});
    if (chance(50)) out.ports.push_back({"more", 81, "TCP", "81", ""});
    put(out);
  }
  // Of the resolver.
  void answer() {
    std::shared_ptr<store::ResolvedName> now;
    if (chance(80)) now = std::make_shared<store::ResolvedName>();
    if (now && chance(80)) now->addresses.push_back(chance(20) ? "127.0.0.1" : fmt::format("192.0.2.{}", pick(3)));
    if (now && chance(30)) now->error = "cannot be resolved: try again";
    store_.resolved(chance(50) ? "e.example.com" : "f.example.com", std::move(now));
  }
  void config_map() {
    auto out = named<store::ConfigMap>(fmt::format("ca{}", pick(2)));
    // As with Secrets: what was loaded once is never unloaded, else it would have to be remembered.
    bool& loaded = loaded_[out.meta.key()];
    loaded = loaded || chance(50);
    out.loaded = loaded;
    if (out.loaded && chance(80))
      out.data["ca.crt"] = chance(80) ? certificate_file("a.example.com.crt") : std::string("nonsense");
    put(out);
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
    put(out);
  }
  void ingress_class() {
    store::IngressClass out;
    out.meta.name = chance(80) ? "sluice" : "second";
    out.controller = chance(85) ? config::kControllerName : chance(50) ? "other" : "sluice.dev/other";
    out.is_default = chance(50);
    if (chance(30)) out.meta.annotations["sluice.dev/ssl-redirect"] = "false";
    put(out);
  }
  template <class Map>
  void erase(store::Kind kind, const Map& map) {
    if (map.empty()) return;
    store_.apply(store::Delete{{kind, std::next(map.begin(), static_cast<ptrdiff_t>(pick(map.size())))->first}});
  }
  // A whole list anew, in which some are missing, and others carry another version and nothing else.
  void relist() {
    const auto replace = [&](store::Kind kind, const auto& map) {
      store::Replace list{kind, {}};
      for (const auto& [key, object] : map) {
        if (chance(10)) continue;
        auto copy = *object;
        if (chance(30)) copy.meta.resource_version = std::to_string(changes_);
        list.objects.emplace_back(std::move(copy));
      }
      store_.apply(std::move(list));
    };
    switch (pick(5)) {
      case 3:
        return replace(store::Kind::rate_limit_policy, snapshot().rate_limit_policies);
      case 0:
        return replace(store::Kind::ingress, snapshot().ingresses);
      case 1:
        return replace(store::Kind::service, snapshot().services);
      case 2:
        return replace(store::Kind::endpoint_slice, snapshot().endpoint_slices);
      default:
        return replace(store::Kind::route, snapshot().routes);
    }
  }
  // Names move on, so that there are always Secrets that are not there yet.
  std::string cert_name() { return fmt::format("cert{}", pick(2) + changes_ / 150); }
  // Absent, metadata only, broken, good: only forward, because a certificate that was good once is remembered, which a
  // start from scratch cannot know.
  void secret() {
    auto out = named<store::Secret>(cert_name());
    size_t& stage = stages_[out.meta.key()];
    stage = std::min<size_t>(stage + pick(2), 3);
    if (stage == 0) return;
    out.loaded = stage > 1;
    out.type = "kubernetes.io/tls";
    if (stage == 2) out.data["tls.crt"] = SecretBytes("nonsense");
    if (stage == 3) {
      if (chance(50)) out.data["ca.crt"] = SecretBytes(certificate_file("a.example.com.crt"));
      const std::string name = chance(50) ? "a.example.com" : "wildcard";
      out.data["tls.crt"] = SecretBytes(certificate_file(name + ".crt"));
      out.data["tls.key"] = SecretBytes(certificate_file(name + ".key"));
      // The same Secret may be named for its ticket keys, beside which these are none.
      for (size_t keys = 1 + pick(3); keys > 0; --keys)
        out.data[std::to_string(pick(5))] = SecretBytes(std::string(80, static_cast<char>('a' + pick(4))));
      out.data["5"] = SecretBytes(std::string(80, 'z'));
    }
    put(out);
  }
  static std::string certificate_file(const std::string& name) {
    std::ifstream in(std::string(SLUICE_SOURCE_DIR) + "/tests/golden/certs/" + name);
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
  }

  store::Store store_;
  std::map<store::ObjectKey, size_t> stages_;
  std::map<store::ObjectKey, bool> loaded_;
  size_t changes_ = 0;
  std::mt19937 random_;
  int64_t generation_ = 0;
};

bool same_status(const translate::ObjectStatus& a, const translate::ObjectStatus& b) {
  return a.object == b.object && a.generation == b.generation && a.accepted == b.accepted &&
         a.resolved_refs == b.resolved_refs && a.parents == b.parents;
}

// A translator with its compiler, and what they made last.
struct Chain {
  explicit Chain(size_t shard_above = ir::kShardAbove) : compiler(shard_above) {}
  translate::Translator translator;
  compile::Compiler compiler;
  translate::Translation translation;
  compile::Compiled compiled;
  void run(const store::Snapshot& snapshot, const World& world) {
    translation = translator.translate(snapshot, world.options, world.now);
    compiled = compiler.compile(translation);
  }
};

void expect_equal(const Chain& chain, const Chain& fresh, const std::string& where) {
  for (size_t part = 0; part < ir::kParts; ++part) {
    ASSERT_EQ(*chain.compiled.parts[part].bytes, *fresh.compiled.parts[part].bytes) << where << " part " << part;
    ASSERT_EQ(chain.compiled.parts[part].hash, fresh.compiled.parts[part].hash) << where;
    const Status verified = ir::verify_part(static_cast<ir::PartKind>(part), *chain.compiled.parts[part].bytes);
    ASSERT_TRUE(verified.has_value()) << where << " part " << part << ": " << verified.error().message;
  }
  ASSERT_EQ(chain.compiled.shards.size(), fresh.compiled.shards.size()) << where;
  for (size_t i = 0; i < fresh.compiled.shards.size(); ++i)
    ASSERT_EQ(*chain.compiled.shards[i].bytes, *fresh.compiled.shards[i].bytes) << where << " shard " << i;
  const translate::Translation &a = chain.translation, &b = fresh.translation;
  ASSERT_EQ(a.problems, b.problems) << where;
  ASSERT_EQ(a.wanted_secrets, b.wanted_secrets) << where;
  ASSERT_EQ(a.secrets_pending, b.secrets_pending) << where;
  ASSERT_EQ(a.default_certificate, b.default_certificate) << where;
  ASSERT_EQ(a.ticket_keys_secret, b.ticket_keys_secret) << where;
  ASSERT_EQ(a.external_names, b.external_names) << where;
  ASSERT_TRUE(std::ranges::equal(a.statuses, b.statuses, same_status)) << where;
}

ir::TableView view_of(const compile::Compiled& compiled) {
  std::vector<const ir::RouteTable*> roots;
  for (const compile::Part& shard : compiled.shards) roots.push_back(ir::GetRouteTable(shard.bytes->data()));
  return {*ir::GetRouteTable(compiled.parts[0].bytes->data()), roots};
}

// Cut or whole, it is the same table; and the data plane takes it, whatever it knew before.
void expect_same_table(const compile::Compiled& cut, const compile::Compiled& before, const compile::Compiled& whole,
                       const std::string& where) {
  const ir::TableView shards = view_of(cut), one = view_of(whole);
  ASSERT_EQ(shards.host_count(), one.host_count()) << where;
  if (const auto* hosts = one.head().hosts(); hosts != nullptr) {
    for (const ir::VirtualHostRef* host : *hosts) {
      const ir::VirtualHostRef* found = shards.host(host->host()->string_view());
      ASSERT_TRUE(found != nullptr && found->hash() == host->hash()) << where << " host " << host->host()->str();
    }
  }
  for (const ir::Cluster* cluster : *one.head().clusters()) {
    const ir::Cluster* found = shards.cluster(cluster->name()->string_view());
    ASSERT_TRUE(found != nullptr && found->hash() == cluster->hash()) << where << " cluster " << cluster->name()->str();
  }
  for (const ir::TlsHost* host : *one.head().tls_hosts()) {
    const ir::TlsHost* found = shards.tls_host(host->host()->string_view());
    ASSERT_TRUE(found != nullptr && found->certificate()->str() == host->certificate()->str()) << where;
  }
  for (const compile::Part& shard : cut.shards) {
    const Status verified = ir::verify_part(ir::PartKind::shard, *shard.bytes);
    ASSERT_TRUE(verified.has_value()) << where << ": " << verified.error().message;
  }
  const Status fresh = ir::verify_shards(shards);
  ASSERT_TRUE(fresh.has_value()) << where << ": " << fresh.error().message;
  if (before.parts[0].bytes == nullptr) return;
  const Status known = ir::verify_shards(shards, view_of(before));
  ASSERT_TRUE(known.has_value()) << where << ": " << known.error().message;
}

class Incremental : public testing::TestWithParam<uint32_t> {};

TEST_P(Incremental, EqualsFromScratch) {
  World world(GetParam());
  Chain each, some, compared;
  for (int step = 0; step < 400; ++step) {
    // Bursts, too: several changes may be one snapshot.
    for (size_t changes = 1 + static_cast<size_t>(step % 3); changes > 0; --changes) world.change();
    if (step % 40 == 39) world.change_options();
    if (step % 25 == 24) world.change_time();
    Chain fresh;
    fresh.run(world.snapshot(), world);
    each.run(world.snapshot(), world);
    expect_equal(each, fresh, fmt::format("step {}", step));
    if (step % 7 == 0) {
      some.run(world.snapshot(), world);
      expect_equal(some, fresh, fmt::format("step {}, every seventh", step));
    }
    if (step % 5 == 0) {
      store::Snapshot uncounted = world.snapshot();
      uncounted.kind_versions = {};
      compared.run(uncounted, world);
      expect_equal(compared, fresh, fmt::format("step {}, without versions", step));
    }
    if (HasFatalFailure()) return;
  }
}

// A table in shards, that grows over the bound and falls below it again.
TEST_P(Incremental, ShardsEqualFromScratchAndTheWholeTable) {
  World world(GetParam());
  for (const size_t above : {size_t{0}, size_t{3}}) {
    Chain each(above);
    size_t cut = 0;
    for (int step = 0; step < 200; ++step) {
      world.change();
      if (step % 40 == 39) world.change_options();
      Chain fresh(above), whole;
      fresh.run(world.snapshot(), world);
      whole.run(world.snapshot(), world);
      const compile::Compiled before = each.compiled;
      each.run(world.snapshot(), world);
      expect_equal(each, fresh, fmt::format("above {} step {}", above, step));
      if (HasFatalFailure()) return;
      if (!each.compiled.shards.empty()) {
        ++cut;
        expect_same_table(each.compiled, before, whole.compiled, fmt::format("above {} step {}", above, step));
      } else {
        ASSERT_EQ(each.compiled.parts[0].hash, whole.compiled.parts[0].hash) << step;
      }
      if (HasFatalFailure()) return;
    }
    EXPECT_GT(cut, 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Incremental, testing::Range(1u, 17u));

// One host of many changes: its shard is made anew, every other one is the same memory.
TEST(Compile, AChangeTouchesOneShard) {
  translate::Translation translation;
  for (int i = 0; i < 1000; ++i) {
    auto host = std::make_shared<ir::VirtualHostT>();
    host->host = fmt::format("h{:04}.example.com", i);
    translation.hosts.push_back(std::move(host));
  }
  compile::Compiler compiler;
  const compile::Compiled before = compiler.compile(translation);
  ASSERT_EQ(before.shards.size(), 4u);
  auto changed = std::make_shared<ir::VirtualHostT>(*translation.hosts[500]);
  changed->regex = {1, 2, 3};
  translation.hosts[500] = changed;
  const compile::Compiled after = compiler.compile(translation);
  EXPECT_NE(after.parts[0].hash, before.parts[0].hash);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(after.shards[i].bytes == before.shards[i].bytes, i != ir::shard_of(changed->host, 4)) << i;
  }
  const compile::Compiled same = compiler.compile(translation);
  EXPECT_EQ(same.parts[0].bytes, after.parts[0].bytes) << "nothing changed, nothing is made";
}

// Time alone: nothing changed but the hour.
TEST(Memo, ExpiryNeedsNoChange) {
  for (uint32_t seed = 1; seed < 5; ++seed) {
    World world(seed);
    for (int i = 0; i < 600; ++i) world.change();
    Chain chain;
    for (const int64_t now : {int64_t{1}, int64_t{1'900'000'000}, int64_t{1'900'000'001}, int64_t{3'000'000'000}}) {
      world.now = now;
      chain.run(world.snapshot(), world);
      Chain fresh;
      fresh.run(world.snapshot(), world);
      // Beyond its validity nothing is kept that a fresh start would not have.
      expect_equal(chain, fresh, fmt::format("seed {} at {}", seed, now));
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Memo, UntouchedHostsAndEndpointsKeepTheirAddress) {
  World world(7);
  translate::Translator translator;
  compile::Compiler compiler;
  const auto before = translator.translate(world.snapshot(), world.options);
  const auto same = translator.translate(world.snapshot(), world.options);
  EXPECT_EQ(before.hosts, same.hosts);
  EXPECT_EQ(before.clusters, same.clusters);
  EXPECT_EQ(before.endpoints, same.endpoints);
  const auto first = compiler.compile(before), second = compiler.compile(same);
  for (size_t part = 0; part < ir::kParts; ++part) EXPECT_EQ(first.parts[part].hash, second.parts[part].hash);
}

// A policy's change makes anew what it targets, and nothing else.
TEST(Memo, APolicyTouchesItsTargetsOnly) {
  store::Store objects;
  const auto put = [&](store::Object object) { objects.apply(store::Upsert{std::move(object)}); };
  store::IngressClass ours;
  ours.meta.name = "sluice";
  ours.controller = config::kControllerName;
  put(ours);
  for (const char* name : {"a", "b"}) {
    store::Route route;
    route.meta.ns = "ns";
    route.meta.name = name;
    route.parent_refs.push_back({"networking.k8s.io", "IngressClass", "", "sluice", "", 0});
    route.hostnames.push_back(std::string(name) + ".example.com");
    route.rules.emplace_back().filters.push_back(store::DirectResponseFilter{});
    put(route);
  }
  const config::Options options;
  translate::Translator translator;
  const auto limits_at = [](const translate::Translation& translation, size_t host) {
    return translation.hosts.at(host)->routes.at(0)->filters.size();
  };
  const translate::Translation before = translator.translate(objects.snapshot(), options);
  store::RateLimitPolicy policy;
  policy.meta.ns = "ns";
  policy.meta.name = "p";
  policy.target_refs.push_back({"sluice.dev", "Route", "a", ""});
  policy.limits.push_back({"all", 1, 1000, 1, {}, false});
  put(policy);
  const translate::Translation with = translator.translate(objects.snapshot(), options);
  EXPECT_EQ(limits_at(with, 0), 1u);
  EXPECT_EQ(with.hosts.at(1), before.hosts.at(1));
  // What a write of its status looks like: nothing is made anew.
  policy.meta.resource_version = "8";
  put(policy);
  EXPECT_EQ(translate::Translation(translator.translate(objects.snapshot(), options)).hosts, with.hosts);
  policy.limits[0].requests = 2;
  put(policy);
  const translate::Translation changed = translator.translate(objects.snapshot(), options);
  EXPECT_NE(changed.hosts.at(0), with.hosts.at(0));
  EXPECT_EQ(changed.hosts.at(1), before.hosts.at(1));
  objects.apply(store::Delete{{store::Kind::rate_limit_policy, {"ns", "p"}}});
  const translate::Translation without = translator.translate(objects.snapshot(), options);
  EXPECT_EQ(limits_at(without, 0), 0u);
  EXPECT_EQ(without.hosts.at(1), before.hosts.at(1));
  EXPECT_EQ(without.statuses.size(), 2u);
}

TEST(Compile, HashesAreOfTheContent) {
  World world(3);
  translate::Translator translator;
  compile::Compiler compiler;
  const auto compiled = compiler.compile(translator.translate(world.snapshot(), world.options));
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
