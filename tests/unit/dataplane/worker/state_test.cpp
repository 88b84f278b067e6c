#include "dataplane/worker/state.h"

#include <array>
#include <functional>
#include <memory>

#include <gtest/gtest.h>

#include "common/ir/route_table_generated.h"

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
