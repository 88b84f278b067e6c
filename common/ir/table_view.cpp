#include "common/ir/table_view.h"

#include <algorithm>
#include <bit>

#include <xxhash.h>

namespace sluice::ir {

size_t shard_count(size_t hosts, size_t clusters, size_t above) {
  const size_t entries = std::max(hosts, clusters);
  if (entries <= above) return 0;
  return std::clamp<size_t>(std::bit_ceil((entries + kShardTarget - 1) / kShardTarget), 4, kMaxShards);
}

size_t shard_of(std::string_view name, size_t count) { return XXH3_64bits(name.data(), name.size()) & (count - 1); }

std::vector<ContentHash> shard_hashes(const RouteTable& head) {
  std::vector<ContentHash> out;
  if (head.shards() == nullptr) return out;
  for (const ShardRef* shard : *head.shards()) out.push_back({shard->high(), shard->low()});
  return out;
}

TableView::TableView(const RouteTable& head, std::span<const RouteTable* const> shards)
    : head_(&head), lists_(shards.begin(), shards.end()) {
  if (lists_.empty()) lists_.push_back(&head);
}

const RouteTable* TableView::list_of(std::string_view name) const {
  if (lists_.size() == 1) return lists_.front();
  return lists_.empty() ? nullptr : lists_[shard_of(name, lists_.size())];
}

const VirtualHostRef* TableView::host(std::string_view name) const {
  const RouteTable* const list = list_of(name);
  return list == nullptr ? nullptr
                         : find_sorted(list->hosts(), name, [](const VirtualHostRef& one) { return one.host(); });
}

const Cluster* TableView::cluster(std::string_view name) const {
  const RouteTable* const list = list_of(name);
  return list == nullptr ? nullptr : find_sorted(list->clusters(), name, [](const Cluster& one) { return one.name(); });
}

const TlsHost* TableView::tls_host(std::string_view name) const {
  const RouteTable* const list = list_of(name);
  return list == nullptr ? nullptr
                         : find_sorted(list->tls_hosts(), name, [](const TlsHost& one) { return one.host(); });
}

size_t TableView::host_count() const {
  size_t count = 0;
  for (const RouteTable* list : lists_) count += list->hosts() == nullptr ? 0 : list->hosts()->size();
  return count;
}

}  // namespace sluice::ir
