#include "common/ir/verify.h"

#include <functional>

#include <gtest/gtest.h>

#include "common/ir/route_table_generated.h"

#include "tests/unit/common/ir/sharded.h"

namespace sluice::ir {
namespace {

template <class Root>
std::vector<uint64_t> pack(const typename Root::NativeTableType& root, size_t& size) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(Root::Pack(builder, &root));
  size = builder.GetSize();
  std::vector<uint64_t> aligned(size / 8 + 1);
  std::memcpy(aligned.data(), builder.GetBufferPointer(), size);
  return aligned;
}

RouteTableT base_table() {
  RouteTableT table;
  table.schema_version = kSchemaVersion;
  auto cluster = std::make_unique<ClusterT>();
  cluster->name = "ns/web/80";
  table.clusters.push_back(std::move(cluster));
  auto listener = std::make_unique<ListenerT>();
  listener->name = "http";
  table.listeners.push_back(std::move(listener));
  return table;
}

VirtualHostT base_host() {
  VirtualHostT host;
  host.host = "a.example";
  auto route = std::make_unique<RouteT>();
  route->path_kind = PathKind::Prefix;
  route->methods = {"GET", "POST"};
  ForwardT forward;
  auto backend = std::make_unique<BackendT>();
  backend->cluster = "ns/web/80";
  forward.backends.push_back(std::move(backend));
  route->action.Set(std::move(forward));
  host.routes.push_back(std::move(route));
  auto entry = std::make_unique<PathEntryT>();
  entry->routes = {0};
  host.prefix.push_back(std::move(entry));
  return host;
}

// Empty: accepted.
std::string verdict(RouteTableT table, const VirtualHostT& host, const std::string& ref = "a.example") {
  size_t size = 0;
  const auto inner = pack<VirtualHost>(host, size);
  auto reference = std::make_unique<VirtualHostRefT>();
  reference->host = ref;
  const auto* bytes = reinterpret_cast<const uint8_t*>(inner.data());
  reference->data.assign(bytes, bytes + size);
  table.hosts.push_back(std::move(reference));
  const auto outer = pack<RouteTable>(table, size);
  const Status status = verify_table(std::as_bytes(std::span(outer)).first(size));
  return status ? "" : status.error().message;
}
std::string host_verdict(const std::function<void(VirtualHostT&)>& change) {
  VirtualHostT host = base_host();
  change(host);
  return verdict(base_table(), host);
}
std::string table_verdict(const std::function<void(RouteTableT&)>& change) {
  RouteTableT table = base_table();
  change(table);
  return verdict(std::move(table), base_host());
}

TEST(VerifyTable, AcceptsWhatIsWell) { EXPECT_EQ(verdict(base_table(), base_host()), ""); }

TEST(VerifyTable, NamesWhereAndWhatInRoutes) {
  struct Case {
    std::function<void(VirtualHostT&)> change;
    const char* says;
  };
  const Case cases[] = {
      {[](VirtualHostT& host) { host.prefix[0]->routes = {1}; }, "prefix path: route 1 of 1"},
      {[](VirtualHostT& host) { host.regex = {7}; }, "regex path: route 7 of 1"},
      {[](VirtualHostT& host) {
         host.routes[0]->methods = {"POST", "GET"};
       },
       "route 0: methods are not sorted at 'GET'"},
      {[](VirtualHostT& host) { host.routes[0]->methods = {"GE T"}; }, "route 0: method 'GE T'"},
      {[](VirtualHostT& host) { host.routes[0]->path_kind = static_cast<PathKind>(9); }, "route 0: path kind 9"},
      {[](VirtualHostT& host) { host.routes[0]->action.Reset(); }, "route 0: no action"},
      {[](VirtualHostT& host) { host.routes[0]->action.AsForward()->backends[0]->cluster = "ns/none/1"; },
       "no cluster 'ns/none/1' in the table"},
      {[](VirtualHostT& host) { host.routes[0]->action.AsForward()->backends.clear(); }, "no backends"},
      {[](VirtualHostT& host) { host.routes[0]->action.AsForward()->backends[0]->cluster.clear(); },
       "neither cluster nor error"},
      {[](VirtualHostT& host) {
         RedirectT redirect;
         redirect.status = 399;
         host.routes[0]->action.Set(std::move(redirect));
       },
       "route 0: redirect status 399"},
      {[](VirtualHostT& host) {
         DirectResponseT response;
         response.status = 101;
         host.routes[0]->action.Set(std::move(response));
       },
       "direct response status 101"},
      {[](VirtualHostT& host) {
         RedirectT redirect;
         redirect.host = "a\r\nSet-Cookie: x";
         host.routes[0]->action.Set(std::move(redirect));
       },
       "redirect host has a control character"},
      {[](VirtualHostT& host) {
         auto match = std::make_unique<HeaderMatchT>();
         match->name = "X-Upper";
         host.routes[0]->headers.push_back(std::move(match));
       },
       "header match 'X-Upper' is no token in lower case"},
      {[](VirtualHostT& host) {
         auto filter = std::make_unique<FilterT>();
         RequestHeadersT edits;
         edits.edits = std::make_unique<HeaderEditsT>();
         auto value = std::make_unique<HeaderValueT>();
         value->name = "x";
         value->value = "1\nEvil: 1";
         edits.edits->set.push_back(std::move(value));
         filter->config.Set(std::move(edits));
         host.routes[0]->filters.push_back(std::move(filter));
       },
       "filter 0: header value has a control character"},
      {[](VirtualHostT& host) { host.routes[0]->filters.push_back(std::make_unique<FilterT>()); },
       "filter 0: unknown filter 0"},
      {[](VirtualHostT& host) {
         host.routes[0]->retry = std::make_unique<RetryT>();
         host.routes[0]->retry->statuses = {200};
       },
       "retry on status 200"},
      {[](VirtualHostT& host) {
         host.routes[0]->upgrades = {"websocket", "a/1"};
       },
       "upgrade 'a/1' is no token in lower case"},
      {[](VirtualHostT& host) { host.routes[0]->upgrades = {"WebSocket"}; }, "upgrade 'WebSocket' is no token in"},
      {[](VirtualHostT& host) { host.routes[0]->upgrades = {""}; }, "upgrade '' is no token in"},
      {[](VirtualHostT& host) { host.routes[0]->priority = static_cast<Priority>(3); }, "priority 3"},
      {[](VirtualHostT& host) { host.routes[0]->upgrades.assign(9, "x"); }, "9 upgrades, more than 8"},
      {[](VirtualHostT& host) { host.routes[0]->path.assign(kMaxPathBytes + 1, 'x'); },
       "path has 8193 bytes, more than 8192"},
      {[](VirtualHostT& host) { host.host = "other"; }, "content is of host 'other'"},
      {[](VirtualHostT& host) { host.host = "b.example"; }, "content is of host 'b.example'"},
  };
  for (const Case& one : cases) {
    const std::string said = host_verdict(one.change);
    EXPECT_NE(said.find(one.says), std::string::npos) << "expected: " << one.says << "\nsaid: " << said;
    EXPECT_NE(said.find("host a.example"), std::string::npos) << said;
  }
}

TEST(VerifyTable, RateLimits) {
  auto base_limit = [] {
    auto limit = std::make_unique<LimitT>();
    limit->id = "ns/policy/a";
    limit->name = "policy.a";
    limit->requests = limit->burst = 1'000'000;
    limit->per_ms = 86'400'000;
    for (const LimitKeyKind kind : {LimitKeyKind::ClientIp, LimitKeyKind::Header, LimitKeyKind::Cookie}) {
      limit->keys.push_back(std::make_unique<LimitKeyT>());
      limit->keys.back()->kind = kind;
    }
    limit->keys[1]->name = "x-api-key";
    limit->keys[2]->name = "SID";
    limit->exempt.push_back(std::make_unique<CidrT>());
    limit->exempt[0]->address = std::make_unique<EndpointAddress>(0, 0);
    return limit;
  };
  auto said = [&](const std::function<void(RateLimitT&)>& change) {
    RateLimitT config;
    config.limits.push_back(base_limit());
    config.limits.push_back(base_limit());
    config.limits[1]->id = "ns/policy/b";
    config.limits[1]->requests = config.limits[1]->burst = 1;
    config.limits[1]->per_ms = 1000;
    config.limits[1]->keys.clear();
    change(config);
    return host_verdict([&](VirtualHostT& host) {
      host.routes[0]->filters.push_back(std::make_unique<FilterT>());
      host.routes[0]->filters[0]->config.Set(std::move(config));
    });
  };
  EXPECT_EQ(said([](RateLimitT&) {}), "");
  EXPECT_EQ(said([](RateLimitT& config) { config.limits.clear(); }), "");
  struct Case {
    std::function<void(RateLimitT&)> change;
    const char* says;
  };
  const Case cases[] = {
      {[](RateLimitT& config) { config.limits[1]->id = "ns/policy/a"; }, "'ns/policy/a' after 'ns/policy/a'"},
      {[](RateLimitT& config) { std::swap(config.limits[0], config.limits[1]); }, "not sorted, or twice"},
      {[](RateLimitT& config) { config.limits[0]->id.clear(); }, "limit : id is missing"},
      {[](RateLimitT& config) { config.limits[0]->id = "a\nb"; }, "control character"},
      {[](RateLimitT& config) { config.limits[0]->name.clear(); }, "limit ns/policy/a: name is missing"},
      {[](RateLimitT& config) { config.limits[0]->name = "a\";q=9"; }, "cannot stand in a field"},
      {[](RateLimitT& config) { config.limits[0]->name = "a\\"; }, "cannot stand in a field"},
      {[](RateLimitT& config) { config.limits[0]->name = "\xC3\xBC"; }, "cannot stand in a field"},
      {[](RateLimitT& config) { config.limits[1]->requests = 0; }, "limit ns/policy/b: 0 requests"},
      {[](RateLimitT& config) { config.limits[0]->requests = 1'000'001; }, "1000001 requests"},
      {[](RateLimitT& config) { config.limits[1]->burst = 0; }, "a burst of 0"},
      {[](RateLimitT& config) { config.limits[0]->burst = 1'000'001; }, "a burst of 1000001"},
      {[](RateLimitT& config) { config.limits[1]->per_ms = 999; }, "per 999 ms"},
      {[](RateLimitT& config) { config.limits[0]->per_ms = 86'400'001; }, "per 86400001 ms"},
      {[](RateLimitT& config) {
         for (int i = 0; i < 2; ++i) config.limits[0]->keys.push_back(std::make_unique<LimitKeyT>());
       },
       "5 keys, more than 4"},
      {[](RateLimitT& config) { config.limits[0]->keys[0]->kind = static_cast<LimitKeyKind>(6); }, "key 0: kind 6"},
      {[](RateLimitT& config) { config.limits[0]->keys[0]->name = "x"; }, "name 'x' of a kind that has none"},
      {[](RateLimitT& config) { config.limits[0]->keys[0]->ipv4_bits = 0; }, "0 bits of IPv4"},
      {[](RateLimitT& config) { config.limits[0]->keys[0]->ipv4_bits = 33; }, "33 bits of IPv4"},
      {[](RateLimitT& config) { config.limits[0]->keys[0]->ipv6_bits = 0; }, "0 bits of IPv6"},
      {[](RateLimitT& config) { config.limits[0]->keys[0]->ipv6_bits = 129; }, "129 bits of IPv6"},
      {[](RateLimitT& config) { config.limits[0]->keys[1]->name = "X-Api-Key"; }, "no token in lower case"},
      {[](RateLimitT& config) { config.limits[0]->keys[1]->name.clear(); }, "header '' is no token"},
      {[](RateLimitT& config) { config.limits[0]->keys[2]->name = "a b"; }, "cookie 'a b' is no token"},
      {[](RateLimitT& config) { config.limits[0]->exempt[0]->bits = 129; }, "exempt network 0"},
      {[](RateLimitT& config) { config.limits[0]->exempt[0]->address.reset(); }, "exempt network 0: address missing"},
      {[](RateLimitT& config) {
         config.limits[0]->origin = std::make_unique<OriginT>();
         config.limits[0]->origin->name = "a\nb";
       },
       "origin has a control character"},
  };
  for (const Case& one : cases) {
    const std::string verdict = said(one.change);
    EXPECT_NE(verdict.find(one.says), std::string::npos) << "expected: " << one.says << "\nsaid: " << verdict;
    EXPECT_NE(verdict.find("host a.example: route 0: filter 0"), std::string::npos) << verdict;
  }
}

TEST(VerifyTable, ConnectionBalance) {
  auto said = [](ConnectionBalance balance) {
    return table_verdict([&](RouteTableT& table) {
      table.settings = std::make_unique<SettingsT>();
      table.settings->connection_balance = balance;
    });
  };
  EXPECT_EQ(said(ConnectionBalance::Even), "");
  EXPECT_EQ(said(static_cast<ConnectionBalance>(2)), "settings: connection balance 2");
}

TEST(VerifyTable, Http2AndBodyRate) {
  auto said = [](const std::function<void(Http2SettingsT&)>& change, uint32_t rate = 0) {
    return table_verdict([&](RouteTableT& table) {
      table.settings = std::make_unique<SettingsT>();
      table.settings->http2 = std::make_unique<Http2SettingsT>();
      change(*table.settings->http2);
      table.settings->limits = std::make_unique<LimitSettingsT>();
      table.settings->limits->min_body_rate = rate;
    });
  };
  EXPECT_EQ(said([](Http2SettingsT&) {}, 1u << 30), "");
  EXPECT_EQ(said([](Http2SettingsT& http2) {
              http2.enabled = http2.cleartext = http2.extended_connect = false;
              http2.concurrent_streams = 1;
              http2.stream_window = http2.connection_window = 65535;
            }),
            "");
  EXPECT_EQ(said([](Http2SettingsT& http2) {
              http2.concurrent_streams = 1000;
              http2.stream_window = http2.connection_window = 16u << 20;
            }),
            "");
  EXPECT_EQ(said([](Http2SettingsT& http2) { http2.concurrent_streams = 0; }),
            "settings: HTTP/2: 0 concurrent streams");
  EXPECT_EQ(said([](Http2SettingsT& http2) { http2.concurrent_streams = 1001; }),
            "settings: HTTP/2: 1001 concurrent streams");
  EXPECT_EQ(said([](Http2SettingsT& http2) { http2.stream_window = 65534; }),
            "settings: HTTP/2: a stream window of 65534 bytes");
  EXPECT_EQ(said([](Http2SettingsT& http2) { http2.stream_window = (16u << 20) + 1; }),
            "settings: HTTP/2: a stream window of 16777217 bytes");
  EXPECT_EQ(said([](Http2SettingsT& http2) { http2.connection_window = 65534; }),
            "settings: HTTP/2: a connection window of 65534 bytes");
  EXPECT_EQ(said([](Http2SettingsT& http2) { http2.connection_window = (16u << 20) + 1; }),
            "settings: HTTP/2: a connection window of 16777217 bytes");
  EXPECT_EQ(said([](Http2SettingsT&) {}, (1u << 30) + 1), "settings: limit min_body_rate 1073741825");
}

TEST(VerifyTable, NamesWhatIsWrongInTheTable) {
  struct Case {
    std::function<void(RouteTableT&)> change;
    const char* says;
  };
  const Case cases[] = {
      {[](RouteTableT& table) { table.schema_version = 99; }, "schema version 99"},
      {[](RouteTableT& table) { table.listeners[0]->addresses = {"localhost"}; },
       "listener http: 'localhost' is no address"},
      {[](RouteTableT& table) { table.listeners[0]->name = "a-name-that-is-too-long"; }, "more than 15"},
      {[](RouteTableT& table) { table.listeners[0]->addresses.assign(17, "127.0.0.1"); }, "17 listening addresses"},
      {[](RouteTableT& table) { table.listeners[0]->protocol = static_cast<ListenerProtocol>(5); }, "protocol 5"},
      {[](RouteTableT& table) { table.clusters.push_back(std::make_unique<ClusterT>(*table.clusters[0])); },
       "not sorted, or twice"},
      {[](RouteTableT& table) { table.clusters[0]->lb = static_cast<LbPolicy>(9); }, "cluster ns/web/80: policy 9"},
      {[](RouteTableT& table) {
         table.settings = std::make_unique<SettingsT>();
         table.settings->workers = 1000;
       },
       "settings: 1000 workers"},
      {[](RouteTableT& table) {
         table.settings = std::make_unique<SettingsT>();
         table.settings->tls = std::make_unique<TlsSettingsT>();
         table.settings->tls->min_version = 0x0300;
       },
       "TLS minimum version 0x300"},
      {[](RouteTableT& table) { table.tls_hosts.push_back(std::make_unique<TlsHostT>()); },
       "certificate id is missing"},
      {[](RouteTableT& table) { table.not_found = std::make_unique<DirectResponseT>(); },
       "not_found: direct response status 0"},
  };
  for (const Case& one : cases) {
    const std::string said = table_verdict(one.change);
    EXPECT_NE(said.find(one.says), std::string::npos) << "expected: " << one.says << "\nsaid: " << said;
  }
}

TEST(VerifyEndpoints, SortedCompleteAndKnown) {
  auto said = [](const std::function<void(EndpointSetT&)>& change) {
    EndpointSetT set;
    set.schema_version = kSchemaVersion;
    auto cluster = std::make_unique<ClusterEndpointsT>();
    cluster->name = "c";
    for (uint64_t i = 1; i <= 2; ++i) {
      auto endpoint = std::make_unique<EndpointT>();
      endpoint->address = std::make_unique<EndpointAddress>(0, i);
      endpoint->port = 80;
      cluster->endpoints.push_back(std::move(endpoint));
    }
    set.clusters.push_back(std::move(cluster));
    change(set);
    size_t size = 0;
    const auto bytes = pack<EndpointSet>(set, size);
    const Status status = verify_endpoints(std::as_bytes(std::span(bytes)).first(size));
    return status ? std::string() : status.error().message;
  };
  EXPECT_EQ(said([](EndpointSetT&) {}), "");
  EXPECT_EQ(said([](EndpointSetT& set) { set.clusters[0]->endpoints[0]->port = 0; }),
            "endpoints of c: endpoint 0 without address or port");
  EXPECT_EQ(said([](EndpointSetT& set) { set.clusters[0]->endpoints[1]->address.reset(); }),
            "endpoints of c: endpoint 1 without address or port");
  EXPECT_EQ(said([](EndpointSetT& set) { std::swap(set.clusters[0]->endpoints[0], set.clusters[0]->endpoints[1]); }),
            "endpoints of c: endpoint 1 is not sorted, or twice");
  const auto second = [](uint64_t low, uint16_t port) {
    return [=](EndpointSetT& set) {
      *set.clusters[0]->endpoints[1]->address = EndpointAddress(0, low);
      set.clusters[0]->endpoints[1]->port = port;
    };
  };
  EXPECT_EQ(said(second(1, 80)), "endpoints of c: endpoint 1 is not sorted, or twice");
  EXPECT_EQ(said(second(1, 79)), "endpoints of c: endpoint 1 is not sorted, or twice");
  EXPECT_EQ(said(second(1, 81)), "");
  EXPECT_EQ(said([](EndpointSetT& set) { set.clusters[0]->endpoints[0]->state = static_cast<EndpointState>(3); }),
            "endpoints of c: endpoint 0 in state 3");
}

TEST(VerifySecrets, CompleteAndBounded) {
  auto said = [](const std::function<void(SecretSetT&)>& change) {
    SecretSetT set;
    set.schema_version = kSchemaVersion;
    auto certificate = std::make_unique<CertificateT>();
    certificate->id = "ns/c";
    certificate->chain_pem = "chain";
    certificate->key_pem = "key";
    set.certificates.push_back(std::move(certificate));
    auto key = std::make_unique<TicketKeyT>();
    key->key.assign(80, 1);
    set.ticket_keys.push_back(std::move(key));
    change(set);
    size_t size = 0;
    const auto bytes = pack<SecretSet>(set, size);
    const Status status = verify_secrets(std::as_bytes(std::span(bytes)).first(size));
    return status ? std::string() : status.error().message;
  };
  EXPECT_EQ(said([](SecretSetT&) {}), "");
  EXPECT_EQ(said([](SecretSetT& set) { set.certificates[0]->key_pem.clear(); }),
            "certificate ns/c: chain of 5 bytes, key of 0 bytes");
  EXPECT_EQ(said([](SecretSetT& set) { set.ticket_keys[0]->key.resize(48); }), "ticket key 0 of 48 bytes, expected 80");
  EXPECT_EQ(said([](SecretSetT& set) {
              for (int i = 0; i < 16; ++i) set.ticket_keys.push_back(std::make_unique<TicketKeyT>(*set.ticket_keys[0]));
            }),
            "17 ticket keys, more than 16");
  EXPECT_EQ(said([](SecretSetT& set) { set.ticket_keys_secret = "ns/t\n"; }),
            "ticket keys' Secret has a control character");
}

// A table of hosts whose bytes are given.
std::vector<uint64_t> table_of(RouteTableT table, const std::vector<std::pair<std::string, VirtualHostT>>& hosts,
                               size_t& size) {
  for (const auto& [name, host] : hosts) {
    size_t inner_size = 0;
    const auto inner = pack<VirtualHost>(host, inner_size);
    auto reference = std::make_unique<VirtualHostRefT>();
    reference->host = name;
    const auto* bytes = reinterpret_cast<const uint8_t*>(inner.data());
    reference->data.assign(bytes, bytes + inner_size);
    table.hosts.push_back(std::move(reference));
  }
  return pack<RouteTable>(table, size);
}

// What is known saves work and changes no verdict.
TEST(VerifyTable, KnownHostsChangeNoVerdict) {
  const auto host = [](const std::string& name, const std::string& cluster = "ns/web/80") {
    VirtualHostT out = base_host();
    out.host = name;
    out.routes[0]->action.AsForward()->backends[0]->cluster = cluster;
    return std::pair(name, std::move(out));
  };
  const auto with_clusters = [](const std::vector<std::string>& names) {
    RouteTableT table = base_table();
    table.clusters.clear();
    for (const auto& name : names) {
      table.clusters.push_back(std::make_unique<ClusterT>());
      table.clusters.back()->name = name;
    }
    return table;
  };
  VirtualHostT bad = base_host();
  bad.routes[0]->methods = {"POST", "GET"};
  VirtualHostT other_name = base_host();  // whole, but not of the host that is said
  const std::vector<std::pair<std::string, VirtualHostT>> known_hosts = {host("a.example"), host("b.example", "x"),
                                                                         host("d.example")};
  size_t known_size = 0;
  const auto known = table_of(with_clusters({"ns/web/80", "x"}), known_hosts, known_size);
  const auto known_bytes = std::as_bytes(std::span(known)).first(known_size);
  ASSERT_TRUE(verify_table(known_bytes));
  struct Case {
    RouteTableT table;
    std::vector<std::pair<std::string, VirtualHostT>> hosts;
    std::string verdict;
  };
  const Case cases[] = {
      {with_clusters({"ns/web/80", "x"}), known_hosts, ""},
      {with_clusters({"a", "ns/web/80", "x", "y"}), {host("a.example"), host("c.example", "y"), host("d.example")}, ""},
      {with_clusters({"ns/web/80", "x"}),
       {host("a.example"), {"b.example", bad}},
       "host b.example: content is of host 'a.example'"},
      {with_clusters({"ns/web/80", "x"}),
       {{"a.example", bad}, host("d.example")},
       "host a.example: route 0: methods are not sorted at 'GET'"},
      {with_clusters({"ns/web/80", "x"}),
       {host("a.example"), {"d.example", other_name}},
       "host d.example: content is of host 'a.example'"},
      // The known host is the same, but its cluster is gone.
      {with_clusters({"ns/web/80"}), known_hosts, "host b.example: route 0: backend 0: no cluster 'x' in the table"},
      {with_clusters({"ns/web/80"}), {host("a.example")}, ""},
  };
  for (const Case& at : cases) {
    size_t size = 0;
    const auto bytes = table_of(at.table, at.hosts, size);
    const auto all = std::as_bytes(std::span(bytes)).first(size);
    const Status fresh = verify_table(all), with_known = verify_table(all, known_bytes);
    EXPECT_EQ(fresh ? "" : fresh.error().message, at.verdict);
    EXPECT_EQ(with_known ? "" : with_known.error().message, at.verdict);
    if (!fresh) continue;
    for (size_t cut = 0; cut < size; cut += 4) EXPECT_FALSE(verify_table(all.first(cut), known_bytes)) << cut;
  }
}

std::string shards_verdict(const TableView& table, const TableView& known = {}) {
  const Status status = verify_shards(table, known);
  return status ? "" : status.error().message;
}

TEST(VerifyShards, EachIsRefusedForWhatIsItsOwn) {
  const Sharded table({"a", "b", "c", "d", "e", "f"}, 4);
  EXPECT_TRUE(verify_table(table.head()));
  for (size_t i = 0; i < table.shards(); ++i) {
    const Status status = verify_part(PartKind::shard, table.shard(i));
    EXPECT_TRUE(status) << status.error().message;
    for (size_t cut = 0; cut < table.shard(i).size(); cut += 4)
      EXPECT_FALSE(verify_part(PartKind::shard, table.shard(i).first(cut))) << cut;
  }
  const auto verdict_of = [](const std::function<void(RouteTableT&)>& change) {
    RouteTableT shard;
    shard.schema_version = kSchemaVersion;
    change(shard);
    size_t size = 0;
    const auto bytes = pack<RouteTable>(shard, size);
    const Status status = verify_shard(std::as_bytes(std::span(bytes)).first(size));
    return status ? "" : status.error().message;
  };
  EXPECT_EQ(verdict_of([](RouteTableT& shard) { shard.settings = std::make_unique<SettingsT>(); }),
            "a shard that has what only a head has");
  EXPECT_EQ(verdict_of([](RouteTableT& shard) { shard.shards.emplace_back(1, 2, 64); }),
            "a shard that has what only a head has");
  // Known to have passed, or not: the same verdict.
  const Sharded other({"a", "b", "c", "d", "e", "f", "g", "h"}, 4);
  for (size_t i = 0; i < table.shards(); ++i) {
    EXPECT_TRUE(verify_shard(other.shard(i), table.shard(i)));
    EXPECT_TRUE(verify_shard(table.shard(i), other.shard(i)));
    for (size_t cut = 0; cut < table.shard(i).size(); cut += 4)
      EXPECT_FALSE(verify_shard(table.shard(i).first(cut), table.shard(i))) << cut;
  }
  EXPECT_NE(verdict_of([](RouteTableT& shard) { shard.schema_version = kSchemaVersion - 1; }), "");
  EXPECT_EQ(verdict_of([](RouteTableT& shard) {
              for (const char* name : {"b", "a"}) {
                shard.clusters.push_back(std::make_unique<ClusterT>());
                shard.clusters.back()->name = name;
              }
            }),
            "cluster 'a' after 'b': not sorted, or twice");
}

TEST(VerifyShards, HeadsSayWhatTheyMay) {
  const auto verdict_of = [](const std::vector<uint64_t>& sizes, bool with_cluster) {
    RouteTableT head = base_table();
    if (!with_cluster) head.clusters.clear();
    for (const uint64_t size : sizes) head.shards.emplace_back(1, 2, size);
    size_t size = 0;
    const auto bytes = pack<RouteTable>(head, size);
    const Status status = verify_table(std::as_bytes(std::span(bytes)).first(size));
    return status ? "" : status.error().message;
  };
  EXPECT_EQ(verdict_of({64, 64, 64, 64}, false), "");
  EXPECT_EQ(verdict_of({64, 64, 64, 64}, true), "a head with shards that has hosts, clusters or TLS hosts itself");
  EXPECT_EQ(verdict_of({64, 64, 64}, false), "3 shards");
  EXPECT_EQ(verdict_of(std::vector<uint64_t>(2 * kMaxShards, 64), false), "256 shards");
  EXPECT_EQ(verdict_of({64, 7}, false), "shard of 7 bytes");
  EXPECT_EQ(verdict_of({64, kMaxPartBytes + 1}, false), fmt::format("shard of {} bytes", kMaxPartBytes + 1));
  EXPECT_EQ(verdict_of({kMaxPartBytes, kMaxPartBytes}, false),
            fmt::format("shards of {} bytes together", 2 * kMaxPartBytes));
}

// With what is known and without: the same verdict.
TEST(VerifyShards, NamesBelongAndClustersAreThere) {
  std::vector<std::string> names;
  for (int i = 0; i < 40; ++i) names.push_back("n" + std::to_string(i));
  const Sharded before(names, 8);
  EXPECT_EQ(shards_verdict(before.view()), "");
  const auto same_verdict = [&](const Sharded& now) {
    const std::string fresh = shards_verdict(now.view());
    EXPECT_EQ(shards_verdict(now.view(&before), before.view()), fresh);
    return fresh;
  };
  EXPECT_EQ(same_verdict(before), "");
  EXPECT_EQ(same_verdict(Sharded(names, 16)), "") << "cut anew";
  std::vector<std::string> more = names;
  more.emplace_back("x");
  EXPECT_EQ(same_verdict(Sharded(more, 8)), "");
  EXPECT_EQ(same_verdict(Sharded(names, 8, "n3")), "") << "all of them to one cluster, in another shard mostly";
  EXPECT_EQ(same_verdict(Sharded(names, 8, "", "n3")),
            fmt::format("shard {}: host n3: route 0: backend 0: no cluster 'n3' in the table", shard_of("n3", 8)));
  // All hosts are those of before, and their shards too; the cluster that one shard had is gone.
  const Sharded to_one(names, 8, "n3"), without(names, 8, "n3", "n3");
  EXPECT_EQ(shards_verdict(to_one.view()), "");
  const std::string gone = shards_verdict(without.view());
  EXPECT_NE(gone.find("no cluster 'n3' in the table"), std::string::npos) << gone;
  EXPECT_EQ(shards_verdict(without.view(&to_one), to_one.view()), gone);
  // Two shards in each other's place.
  const TableView whole = before.view();
  std::vector<const RouteTable*> swapped(whole.lists().begin(), whole.lists().end());
  std::swap(swapped[0], swapped[1]);
  const TableView wrong(whole.head(), swapped);
  EXPECT_NE(shards_verdict(wrong).find("does not belong to it"), std::string::npos);
  EXPECT_EQ(shards_verdict(wrong, before.view()), shards_verdict(wrong));
}

TEST(VerifyPart, RefusesEveryCut) {
  size_t size = 0;
  const auto bytes = pack<RouteTable>(base_table(), size);
  const auto all = std::as_bytes(std::span(bytes)).first(size);
  ASSERT_TRUE(verify_table(all));
  for (size_t cut = 0; cut < size; cut += 4) EXPECT_FALSE(verify_table(all.first(cut))) << cut;
  EXPECT_FALSE(verify_part(static_cast<PartKind>(9), all));
}

}  // namespace
}  // namespace sluice::ir
