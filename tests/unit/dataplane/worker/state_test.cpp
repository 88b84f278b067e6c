#include "dataplane/worker/state.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <set>

#include <gtest/gtest.h>

#include "common/ir/table_view.h"

namespace sluice::worker {
namespace {

template <class Root>
UniqueFd part(const typename Root::NativeTableType& root) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(Root::Pack(builder, &root));
  auto fd = ir::make_sealed("part", std::as_bytes(builder.GetBufferSpan()));
  EXPECT_TRUE(fd.has_value());
  return std::move(*fd);
}

// One virtual host with one route; `hash` tells its content.
ir::RouteTableT table_of(const std::string& name, const std::string& metric, uint64_t hash) {
  ir::VirtualHostT host;
  host.host = name;
  auto route = std::make_unique<ir::RouteT>();
  route->path_kind = ir::PathKind::Prefix;
  route->metric = metric;
  host.routes.push_back(std::move(route));
  auto entry = std::make_unique<ir::PathEntryT>();
  entry->routes = {0};
  host.prefix.push_back(std::move(entry));
  flatbuffers::FlatBufferBuilder inner;
  inner.Finish(ir::VirtualHost::Pack(inner, &host));
  auto ref = std::make_unique<ir::VirtualHostRefT>();
  ref->host = name;
  ref->hash = hash;
  ref->data.assign(inner.GetBufferPointer(), inner.GetBufferPointer() + inner.GetSize());
  ir::RouteTableT table;
  table.schema_version = ir::kSchemaVersion;
  auto cluster = std::make_unique<ir::ClusterT>();
  cluster->name = "ns/web:80";
  table.clusters.push_back(std::move(cluster));
  table.hosts.push_back(std::move(ref));
  return table;
}

struct StateTest : ::testing::Test {
  net::Reactor reactor;
  std::unique_ptr<shared::CounterPage> page = std::make_unique<shared::CounterPage>();
  Context context{reactor, *page, nullptr, nullptr};
  State state;
  Arena arena{context.chunks};

  Status apply(uint64_t sequence, const ir::RouteTableT& table) {
    const std::array fds = {part<ir::RouteTable>(table), part<ir::EndpointSet>({}), part<ir::SecretSet>({})};
    ir::StateId id;
    id.boot = 1;
    id.sequence = sequence;
    return state.apply(id, fds, context);
  }
  // The metric label of the route that a request for this host takes; empty: no host.
  std::string route_of(const std::string& host) {
    http::RequestHead head(arena);
    head.method_name = "GET";
    head.host = host;
    head.path = "/";
    const route::Match match = context.router.match(head);
    return match.route == nullptr ? "" : match.route->metric()->str();
  }
};

TEST_F(StateTest, TheNewestRuns) {
  EXPECT_TRUE(state.empty());
  ASSERT_TRUE(apply(1, table_of("a.example", "first", 1)));
  EXPECT_FALSE(state.empty());
  EXPECT_EQ(route_of("a.example"), "first");
  ASSERT_TRUE(apply(2, table_of("a.example", "second", 2)));
  EXPECT_EQ(route_of("a.example"), "second");
  EXPECT_EQ(state.id().sequence, 2u);
  EXPECT_EQ(context.sequence, 2u);
  EXPECT_EQ(page->sequence.get(), 2u);
  EXPECT_EQ(page->tables_applied.get(), 2u);
}

// Hosts and clusters are looked up where the table lies, long after apply() has returned.
TEST_F(StateTest, WhatWasAppliedStaysMapped) {
  ASSERT_TRUE(apply(1, table_of("a.example", "first", 1)));
  ASSERT_TRUE(apply(2, table_of("b.example", "second", 2)));
  EXPECT_EQ(route_of("b.example"), "second");
  EXPECT_EQ(route_of("a.example"), "");
  EXPECT_NE(context.upstreams.cluster("ns/web:80"), nullptr);
}

// Where the process has shards mapped: address ranges of /proc/self/maps.
std::set<std::string> shards_mapped() {
  std::set<std::string> out;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("memfd:a-shard") != std::string::npos) out.insert(line.substr(0, line.find(' ')));
  }
  return out;
}

struct ShardedState : StateTest {
  // `metrics`: host -> metric of its route; each in the shard where it belongs.
  Status apply_shards(uint64_t sequence, const std::map<std::string, std::string>& metrics, size_t shards = 4) {
    std::vector<ir::RouteTableT> tables(shards);
    for (const auto& [host, metric] : metrics) {
      ir::RouteTableT one = table_of(host, metric, std::hash<std::string>{}(metric));
      tables[ir::shard_of(host, shards)].hosts.push_back(std::move(one.hosts.front()));
    }
    ir::RouteTableT head;
    head.schema_version = ir::kSchemaVersion;
    std::vector<UniqueFd> fds(ir::kParts);
    for (ir::RouteTableT& table : tables) {
      table.schema_version = ir::kSchemaVersion;
      flatbuffers::FlatBufferBuilder builder;
      builder.Finish(ir::RouteTable::Pack(builder, &table));
      const auto bytes = std::as_bytes(builder.GetBufferSpan());
      const ir::ContentHash hash = ir::content_hash(bytes);
      head.shards.emplace_back(hash.high, hash.low, bytes.size());
      fds.push_back(std::move(*ir::make_sealed("a-shard", bytes)));
    }
    fds[0] = part<ir::RouteTable>(head);
    fds[1] = part<ir::EndpointSet>({});
    fds[2] = part<ir::SecretSet>({});
    if (lost_shard) fds.pop_back();
    return state.apply({1, sequence}, fds, context);
  }
  bool lost_shard = false;
};

// Hosts are found whichever shard they are in; the shards that a change leaves alone stay where they are.
TEST_F(ShardedState, AChangeMapsItsShardsOnly) {
  std::map<std::string, std::string> hosts;
  for (int i = 0; i < 40; ++i) hosts[fmt::format("h{}.example", i)] = "first";
  ASSERT_TRUE(apply_shards(1, hosts));
  for (const auto& [host, metric] : hosts) EXPECT_EQ(route_of(host), "first") << host;
  const std::set<std::string> before = shards_mapped();
  hosts["h7.example"] = "second";
  ASSERT_TRUE(apply_shards(2, hosts));
  for (const auto& [host, metric] : hosts) EXPECT_EQ(route_of(host), metric) << host;
  std::vector<std::string> stayed;
  std::ranges::set_intersection(before, shards_mapped(), std::back_inserter(stayed));
  EXPECT_GE(stayed.size(), before.size() - 1);
  EXPECT_EQ(shards_mapped().size(), before.size()) << "the shard before it is gone";
  lost_shard = true;
  EXPECT_FALSE(apply_shards(3, hosts));
  EXPECT_EQ(route_of("h7.example"), "second");
  lost_shard = false;
  ASSERT_TRUE(apply_shards(4, hosts, 16)) << "cut anew";
  for (const auto& [host, metric] : hosts) EXPECT_EQ(route_of(host), metric) << host;
  ASSERT_TRUE(apply(5, table_of("h7.example", "whole", 3)));
  EXPECT_EQ(route_of("h7.example"), "whole");
  EXPECT_EQ(route_of("h8.example"), "");
  EXPECT_TRUE(shards_mapped().empty());
}

TEST_F(StateTest, WhatIsRefusedLeavesTheEarlierState) {
  ASSERT_TRUE(apply(1, table_of("a.example", "first", 1)));
  const auto refused = [&](const std::function<void(ir::RouteTableT&)>& change) {
    ir::RouteTableT table = table_of("b.example", "second", 2);
    change(table);
    EXPECT_FALSE(apply(2, table));
    EXPECT_EQ(state.id().sequence, 1u);
    EXPECT_EQ(route_of("a.example"), "first");
    EXPECT_EQ(route_of("b.example"), "");
  };
  refused([](ir::RouteTableT& table) { table.schema_version = ir::kSchemaVersion + 1; });
  refused([](ir::RouteTableT& table) { table.schema_version = ir::kSchemaVersion - 1; });

  const std::array two = {part<ir::RouteTable>(table_of("b.example", "second", 2)), part<ir::EndpointSet>({})};
  EXPECT_FALSE(state.apply({}, two, context));
  const std::array missing = {part<ir::RouteTable>(table_of("b.example", "second", 2)), part<ir::EndpointSet>({}),
                              UniqueFd()};
  EXPECT_FALSE(state.apply({}, missing, context));
  EXPECT_EQ(route_of("a.example"), "first");
  EXPECT_EQ(state.id().sequence, 1u);
}

}  // namespace
}  // namespace sluice::worker
