#include "controlplane/compile/pack_host.h"

#include <vector>

namespace sluice::compile {
namespace {

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;
using flatbuffers::String;

// Absent texts stay absent, as in Pack.
Offset<String> shared(FlatBufferBuilder& builder, const std::string& text) {
  return text.empty() ? Offset<String>() : builder.CreateSharedString(text);
}

template <class Table, class Object>
Offset<flatbuffers::Vector<Offset<Table>>> list(FlatBufferBuilder& builder,
                                                const std::vector<std::unique_ptr<Object>>& from) {
  if (from.empty()) return 0;
  std::vector<Offset<Table>> offsets;
  offsets.reserve(from.size());
  for (const auto& item : from) offsets.push_back(Table::Pack(builder, item.get()));
  return builder.CreateVector(offsets);
}

Offset<ir::Origin> pack_origin(FlatBufferBuilder& builder, const ir::OriginT* from) {
  if (from == nullptr) return 0;
  const auto kind = shared(builder, from->kind), ns = shared(builder, from->namespace_),
             name = shared(builder, from->name);
  const auto rule = shared(builder, from->rule);
  return ir::CreateOrigin(builder, kind, ns, name, rule, from->generation);
}

Offset<ir::Forward> pack_forward(FlatBufferBuilder& builder, const ir::ForwardT& from) {
  std::vector<Offset<ir::Backend>> backends;
  backends.reserve(from.backends.size());
  for (const auto& backend : from.backends) {
    const auto cluster = shared(builder, backend->cluster);
    const auto error =
        backend->error ? ir::DirectResponse::Pack(builder, backend->error.get()) : Offset<ir::DirectResponse>();
    backends.push_back(ir::CreateBackend(builder, cluster, backend->weight, error));
  }
  return ir::CreateForward(builder, builder.CreateVector(backends));
}

// Routes of an object mostly go to the same backends: these are written once for all that follow each other.
struct LastForward {
  const ir::ForwardT* from = nullptr;
  Offset<ir::Forward> packed;
  Offset<ir::Forward> pack(FlatBufferBuilder& builder, const ir::ForwardT& next) {
    if (from == nullptr || *from != next) packed = pack_forward(builder, next);
    from = &next;
    return packed;
  }
};

// Nearly all routes allow the same upgrades.
struct LastUpgrades {
  const std::vector<std::string>* from = nullptr;
  Offset<flatbuffers::Vector<Offset<String>>> packed;
  Offset<flatbuffers::Vector<Offset<String>>> pack(FlatBufferBuilder& builder, const std::vector<std::string>& next) {
    if (next.empty()) return 0;
    if (from == nullptr || *from != next) packed = builder.CreateVectorOfStrings(next);
    from = &next;
    return packed;
  }
};

struct Last {
  LastForward forward;
  LastUpgrades upgrades;
};

Offset<ir::Route> pack_route(FlatBufferBuilder& builder, const ir::RouteT& from, Last& last) {
  const auto origin = pack_origin(builder, from.origin.get());
  const auto metric = shared(builder, from.metric);
  const auto path = shared(builder, from.path);
  const auto methods = from.methods.empty() ? 0 : builder.CreateVectorOfStrings(from.methods);
  const auto headers = list<ir::HeaderMatch>(builder, from.headers);
  const auto query = list<ir::QueryMatch>(builder, from.query);
  const auto filters = list<ir::Filter>(builder, from.filters);
  const auto* forward = from.action.AsForward();
  const auto action = forward != nullptr ? last.forward.pack(builder, *forward).Union() : from.action.Pack(builder);
  const auto timeouts = from.timeouts ? ir::Timeouts::Pack(builder, from.timeouts.get()) : Offset<ir::Timeouts>();
  const auto retry = from.retry ? ir::Retry::Pack(builder, from.retry.get()) : Offset<ir::Retry>();
  const auto upgrades = last.upgrades.pack(builder, from.upgrades);
  const auto class_name = shared(builder, from.class_);
  return ir::CreateRoute(builder, origin, metric, from.path_kind, path, methods, headers, query, filters,
                         from.action.type, action, timeouts, retry, from.max_body_bytes, from.https_only, upgrades,
                         from.encoded_slash, class_name, from.priority);
}

Offset<flatbuffers::Vector<Offset<ir::PathEntry>>> pack_paths(
    FlatBufferBuilder& builder, const std::vector<std::unique_ptr<ir::PathEntryT>>& from) {
  if (from.empty()) return 0;
  std::vector<Offset<ir::PathEntry>> entries;
  entries.reserve(from.size());
  for (const auto& entry : from) {
    const auto path = builder.CreateSharedString(entry->path);
    entries.push_back(ir::CreatePathEntry(builder, path, builder.CreateVector(entry->routes)));
  }
  return builder.CreateVector(entries);
}

}  // namespace

Offset<ir::VirtualHost> pack_host(FlatBufferBuilder& builder, const ir::VirtualHostT& host) {
  std::vector<Offset<ir::Route>> routes;
  routes.reserve(host.routes.size());
  Last last;
  for (const auto& route : host.routes) routes.push_back(pack_route(builder, *route, last));
  const auto name = shared(builder, host.host);
  const auto route_list = routes.empty() ? 0 : builder.CreateVector(routes);
  const auto exact = pack_paths(builder, host.exact), prefix = pack_paths(builder, host.prefix);
  const auto regex = host.regex.empty() ? 0 : builder.CreateVector(host.regex);
  return ir::CreateVirtualHost(builder, name, route_list, exact, prefix, regex);
}

}  // namespace sluice::compile
