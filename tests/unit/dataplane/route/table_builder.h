// Builds tables from the object API for tests of the router: virtual hosts from lists of routes, laid out as the
// compiler would.
#pragma once
#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/ir/route_table_generated.h"

namespace sluice::route::testing {

struct RouteSpec {
  ir::PathKind kind = ir::PathKind::Prefix;
  std::string path;
  std::string id;  // Route.metric: how a test knows it again
  std::vector<std::string> methods{};
  struct Value {
    std::string name;
    ir::ValueKind kind = ir::ValueKind::Exact;
    std::string value;
  };
  std::vector<Value> headers{}, query{};
};

struct HostSpec {
  std::string host;
  std::vector<RouteSpec> routes;
  uint64_t hash = 0;  // 0: of the bytes
};

inline std::unique_ptr<ir::RouteT> make_route(const RouteSpec& spec) {
  auto route = std::make_unique<ir::RouteT>();
  route->metric = spec.id;
  route->path_kind = spec.kind;
  route->path = spec.path;
  route->methods = spec.methods;
  for (const auto& value : spec.headers) {
    auto match = std::make_unique<ir::HeaderMatchT>();
    match->name = value.name;
    match->kind = value.kind;
    match->value = value.value;
    route->headers.push_back(std::move(match));
  }
  for (const auto& value : spec.query) {
    auto match = std::make_unique<ir::QueryMatchT>();
    match->name = value.name;
    match->kind = value.kind;
    match->value = value.value;
    route->query.push_back(std::move(match));
  }
  return route;
}

inline std::vector<uint8_t> make_host_bytes(const HostSpec& spec) {
  ir::VirtualHostT host;
  host.host = spec.host;
  std::map<std::string, std::vector<uint32_t>> exact, prefix;
  for (uint32_t i = 0; i < spec.routes.size(); ++i) {
    const RouteSpec& route = spec.routes[i];
    if (route.kind == ir::PathKind::Exact) exact[route.path].push_back(i);
    if (route.kind == ir::PathKind::Prefix) prefix[route.path].push_back(i);
    if (route.kind == ir::PathKind::Regex) host.regex.push_back(i);
    host.routes.push_back(make_route(route));
  }
  const auto entries = [](const std::map<std::string, std::vector<uint32_t>>& from, auto& to) {
    for (const auto& [path, routes] : from) {
      auto entry = std::make_unique<ir::PathEntryT>();
      entry->path = path;
      entry->routes = routes;
      to.push_back(std::move(entry));
    }
  };
  entries(exact, host.exact);
  entries(prefix, host.prefix);
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(ir::VirtualHost::Pack(builder, &host));
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}

// Owns the bytes of one table.
class Table {
 public:
  explicit Table(std::vector<HostSpec> hosts) {
    std::sort(hosts.begin(), hosts.end(), [](const HostSpec& a, const HostSpec& b) { return a.host < b.host; });
    ir::RouteTableT table;
    table.schema_version = 1;
    for (const HostSpec& spec : hosts) {
      auto ref = std::make_unique<ir::VirtualHostRefT>();
      ref->host = spec.host;
      ref->data = make_host_bytes(spec);
      ref->hash = spec.hash;
      if (ref->hash == 0)
        ref->hash = std::hash<std::string_view>{}({reinterpret_cast<const char*>(ref->data.data()), ref->data.size()});
      table.hosts.push_back(std::move(ref));
    }
    builder_.Finish(ir::RouteTable::Pack(builder_, &table));
  }
  [[nodiscard]] const ir::RouteTable& get() const {
    return *flatbuffers::GetRoot<ir::RouteTable>(builder_.GetBufferPointer());
  }

 private:
  flatbuffers::FlatBufferBuilder builder_;
};

}  // namespace sluice::route::testing
