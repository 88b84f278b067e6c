#include "controlplane/compile/table_parts.h"

#include <utility>

#include "controlplane/compile/pack_host.h"
#include "controlplane/compile/pack_value.h"

namespace sluice::compile {
namespace {

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;

constexpr auto kHostName = [](const ir::VirtualHostT& host) -> const std::string& { return host.host; };
constexpr auto kClusterName = [](const ir::ClusterT& cluster) -> const std::string& { return cluster.name; };
constexpr auto kTlsName = [](const ir::TlsHostT& host) -> const std::string& { return host.host; };

// What the head is made of beside its lists; nothing for a shard.
struct HeadOffsets {
  Offset<flatbuffers::Vector<Offset<ir::Listener>>> listeners;
  Offset<ir::Settings> settings;
  Offset<flatbuffers::String> certificate;
};

HeadOffsets put_head(FlatBufferBuilder& builder, const TableHead& head) {
  std::vector<Offset<ir::Listener>> listeners;
  for (const auto& listener : head.listeners) listeners.push_back(ir::Listener::Pack(builder, &listener));
  HeadOffsets out;
  out.listeners = builder.CreateVector(listeners);
  out.settings = ir::Settings::Pack(builder, &head.settings);
  if (!head.default_certificate.empty()) out.certificate = builder.CreateString(head.default_certificate);
  return out;
}

void add_head(ir::RouteTableBuilder& table, const HeadOffsets& head) {
  table.add_schema_version(ir::kSchemaVersion);
  if (!head.settings.IsNull()) table.add_settings(head.settings);
  if (!head.listeners.IsNull()) table.add_listeners(head.listeners);
  if (!head.certificate.IsNull()) table.add_default_certificate(head.certificate);
}

}  // namespace

Chunk TableParts::host(FreshChunks& fresh, const ir::VirtualHostT& value) {
  nested_.Clear();
  nested_.Finish(pack_host(nested_, value));
  entry_.Clear();
  // A nested buffer must lie as aligned as it was built.
  entry_.ForceVectorAlignment(nested_.GetSize(), 1, 8);
  const auto data = entry_.CreateVector(nested_.GetBufferPointer(), nested_.GetSize());
  const auto name = entry_.CreateString(value.host);
  entry_.Finish(ir::CreateVirtualHostRef(entry_, name, hash_of(nested_), data));
  return fresh.keep(entry_);
}

Part TableParts::write(Lists& lists, const Part& last, const Items<ir::VirtualHostT>& hosts,
                       const Items<ir::ClusterT>& clusters, const Items<ir::TlsHostT>& tls_hosts,
                       const TableHead* head) {
  FreshChunks fresh;
  const auto host_chunks =
      lists.hosts.chunks(hosts, last, kHostName, [&](const ir::VirtualHostT& value) { return host(fresh, value); });
  const auto cluster_chunks = lists.clusters.chunks(clusters, last, kClusterName, [&](const ir::ClusterT& value) {
    ir::ClusterT copy = value;
    pack_hashed(entry_, copy);
    return fresh.keep(entry_);
  });
  const auto tls_chunks = lists.tls_hosts.chunks(tls_hosts, last, kTlsName, [&](const ir::TlsHostT& value) {
    entry_.Clear();
    entry_.Finish(ir::TlsHost::Pack(entry_, &value));
    return fresh.keep(entry_);
  });
  builder_.Clear();
  const HeadOffsets offsets = head == nullptr ? HeadOffsets{} : put_head(builder_, *head);
  const auto hosts_vector = make_slots<ir::VirtualHostRef>(builder_, hosts.size());
  const auto clusters_vector = make_slots<ir::Cluster>(builder_, clusters.size());
  const auto tls_vector = make_slots<ir::TlsHost>(builder_, tls_hosts.size());
  ir::RouteTableBuilder table(builder_);
  add_head(table, offsets);
  table.add_hosts(hosts_vector);
  table.add_clusters(clusters_vector);
  table.add_tls_hosts(tls_vector);
  builder_.Finish(table.Finish());
  const auto* root = ir::GetRouteTable(builder_.GetBufferPointer());
  const ListLayout layout[] = {{slots_of(builder_, root->hosts()), host_chunks},
                               {slots_of(builder_, root->clusters()), cluster_chunks},
                               {slots_of(builder_, root->tls_hosts()), tls_chunks}};
  Part out = write_part(builder_, layout);
  size_t at = head_bytes(builder_);
  at = lists.hosts.placed(hosts, host_chunks, at);
  at = lists.clusters.placed(clusters, cluster_chunks, at);
  lists.tls_hosts.placed(tls_hosts, tls_chunks, at);
  return out;
}

Part TableParts::write_head(const TableHead& head) {
  std::vector<ir::ShardRef> refs;
  for (const Part& shard : shard_parts_) refs.emplace_back(shard.hash.high, shard.hash.low, shard.bytes->size());
  builder_.Clear();
  const HeadOffsets offsets = put_head(builder_, head);
  const auto shards = builder_.CreateVectorOfStructs(refs);
  ir::RouteTableBuilder table(builder_);
  add_head(table, offsets);
  table.add_shards(shards);
  builder_.Finish(table.Finish());
  return write_part(builder_, {});
}

void TableParts::write_whole(const translate::Translation& translation, TableHead head) {
  const bool same = head_part_.bytes && lists_.empty() && whole_.hosts.same(translation.hosts) &&
                    whole_.clusters.same(translation.clusters) && whole_.tls_hosts.same(translation.tls_hosts) &&
                    head == head_;
  if (same) return;
  lists_.clear();
  shard_parts_.clear();
  places_ = {};
  head_part_ = write(whole_, head_part_, translation.hosts, translation.clusters, translation.tls_hosts, &head);
  head_ = std::move(head);
}

void TableParts::write_shards(const translate::Translation& translation, size_t count, TableHead head) {
  bool changed = false;
  ShardSet touched;
  if (lists_.size() != count) {
    whole_ = {};
    places_ = {};
    lists_ = std::vector<Lists>(count);
    shard_parts_ = std::vector<Part>(count);
    for (size_t i = 0; i < count; ++i) touched.set(i);  // an empty one is written, too
  }
  places_.hosts.update(translation.hosts, count, kHostName, touched);
  places_.clusters.update(translation.clusters, count, kClusterName, touched);
  places_.tls_hosts.update(translation.tls_hosts, count, kTlsName, touched);
  if (touched.any()) {
    std::vector<TableItems> items(count);
    const auto put = [&items](auto list) {
      return [&items, list](size_t shard, const auto& item) { (items[shard].*list).push_back(item); };
    };
    places_.hosts.collect(translation.hosts, touched, put(&TableItems::hosts));
    places_.clusters.collect(translation.clusters, touched, put(&TableItems::clusters));
    places_.tls_hosts.collect(translation.tls_hosts, touched, put(&TableItems::tls_hosts));
    for (size_t i = 0; i < count; ++i) {
      if (!touched.test(i)) continue;
      Part next = write(lists_[i], shard_parts_[i], items[i].hosts, items[i].clusters, items[i].tls_hosts, nullptr);
      changed |= next.hash != shard_parts_[i].hash;
      shard_parts_[i] = std::move(next);
    }
  }
  if (!changed && head_part_.bytes && head == head_) return;
  head_part_ = write_head(head);
  head_ = std::move(head);
}

void TableParts::update(const translate::Translation& translation) {
  TableHead head{translation.default_certificate, translation.listeners, translation.settings};
  const size_t count = ir::shard_count(translation.hosts.size(), translation.clusters.size(), shard_above_);
  if (count == 0) write_whole(translation, std::move(head));
  else write_shards(translation, count, std::move(head));
}

}  // namespace sluice::compile
