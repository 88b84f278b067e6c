#include "dataplane/worker/state.h"

#include "common/base/log.h"

namespace sluice::worker {
namespace {
template <class T>
const T* root_of(const ir::Mapping& mapping) {
  return mapping.bytes().size() < 8 ? nullptr : flatbuffers::GetRoot<T>(mapping.bytes().data());
}
}  // namespace

void report_tls(const std::vector<net::TlsProblem>& problems) {
  for (const net::TlsProblem& problem : problems)
    log::warning("TLS", {{"object", problem.object}, {"problem", problem.text}});
}

Result<std::vector<State::Shard>> State::map_shards(const ir::RouteTable& head, std::span<const UniqueFd> fds) const {
  std::vector<Shard> shards;
  const std::vector<ir::ContentHash> named = ir::shard_hashes(head);
  if (fds.size() != named.size()) return fail("a table of {} shards, {} came", named.size(), fds.size());
  for (size_t i = 0; i < named.size(); ++i) {
    if (i < shards_.size() && shards_[i].hash == named[i]) {
      shards.push_back(shards_[i]);
      continue;
    }
    auto mapping = ir::Mapping::map(fds[i].get(), ir::kMaxPartBytes);
    if (!mapping) return std::unexpected(mapping.error());
    if (root_of<ir::RouteTable>(*mapping) == nullptr) return fail("shard {} is empty", i);
    shards.push_back({named[i], std::make_shared<const ir::Mapping>(std::move(*mapping))});
  }
  return shards;
}

Status State::apply(const ir::StateId& id, std::span<const UniqueFd> fds, Context& context) {
  if (fds.size() < ir::kParts) return fail("a state has {} parts, {} came", ir::kParts, fds.size());
  std::array<ir::Mapping, ir::kParts> parts;
  for (size_t i = 0; i < ir::kParts; ++i) {
    auto mapping = ir::Mapping::map(fds[i].get(), ir::kMaxPartBytes);
    if (!mapping) return std::unexpected(mapping.error());
    parts[i] = std::move(*mapping);
  }
  const auto* table = root_of<ir::RouteTable>(parts[0]);
  const auto* endpoints = root_of<ir::EndpointSet>(parts[1]);
  const auto* secrets = root_of<ir::SecretSet>(parts[2]);
  if (table == nullptr || endpoints == nullptr || secrets == nullptr) return fail("a part of the state is empty");
  if (table->schema_version() != ir::kSchemaVersion)
    return fail("table of schema version {}, ours is {}", table->schema_version(), ir::kSchemaVersion);
  auto shards = map_shards(*table, fds.subspan(ir::kParts));
  if (!shards) return std::unexpected(shards.error());
  std::vector<const ir::RouteTable*> roots;
  for (const Shard& shard : *shards) roots.push_back(root_of<ir::RouteTable>(*shard.mapping));
  const ir::TableView view(*table, roots);
  context.configure(*table);
  context.router.apply(view);
  context.upstreams.apply(view, *endpoints);
  report_tls(context.tls.apply(view, *secrets));
  if (const ir::Settings* settings = table->settings(); settings != nullptr && settings->access_log() != nullptr) {
    const ir::AccessLogSettings& log = *settings->access_log();
    context.log.configure(log.path() == nullptr ? "off" : log.path()->string_view(),
                          log.format() == nullptr ? "json" : log.format()->string_view());
  } else {
    context.log.configure("off", "json");
  }
  // Nothing refers to the earlier mappings any more: they go here.
  parts_ = std::move(parts);
  shards_ = std::move(*shards);
  id_ = id;
  context.sequence = id.sequence;
  context.counters.sequence.set(id.sequence);
  context.counters.tables_mapped.set(1);
  context.counters.tables_applied.add();
  return {};
}

}  // namespace sluice::worker
