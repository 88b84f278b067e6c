// One look at a table, whether it is one part or a head and its shards. A small table is whole in its head; from
// kShardAbove hosts or clusters on, its three long lists are cut into shards, each a sealed memfd of its own with its
// own content hash: a change is compiled, hashed, sent, verified and mapped as one shard, and every other shard's
// memory stays as it is in all processes. Where a name belongs is a function of the name and the number of shards
// alone, so equal tables have equal bytes however they came about. Views hold no memory: who has the mappings keeps
// them.
#pragma once
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "common/ir/push_frame.h"
#include "common/ir/route_table_generated.h"

namespace sluice::ir {

inline constexpr size_t kShardAbove = 512;   // hosts or clusters; fewer are not worth more than one file
inline constexpr size_t kShardTarget = 256;  // hosts or clusters in a shard, up to kMaxShards of them

// 0, or a power of two from 4 to kMaxShards.
[[nodiscard]] size_t shard_count(size_t hosts, size_t clusters, size_t above = kShardAbove);
// Of a host (as in VirtualHostRef.host) or a cluster; `count` a power of two.
[[nodiscard]] size_t shard_of(std::string_view name, size_t count);

// Of the shards that a head names, in its order; none: it has the lists itself.
[[nodiscard]] std::vector<ContentHash> shard_hashes(const RouteTable& head);

class TableView {
 public:
  TableView() = default;
  // A table without shards.
  TableView(const RouteTable& head) : head_(&head), lists_{&head} {}  // NOLINT(google-explicit-constructor)
  // `shards`: as many as the head names, in its order; none = the head has the lists.
  TableView(const RouteTable& head, std::span<const RouteTable* const> shards);

  [[nodiscard]] bool empty() const { return head_ == nullptr; }
  // Settings, listeners, default_certificate, not_found.
  [[nodiscard]] const RouteTable& head() const { return *head_; }
  // What hosts, clusters and tls_hosts are in: the head, or its shards.
  [[nodiscard]] std::span<const RouteTable* const> lists() const { return lists_; }

  // Null: not there.
  [[nodiscard]] const VirtualHostRef* host(std::string_view name) const;
  [[nodiscard]] const Cluster* cluster(std::string_view name) const;
  [[nodiscard]] const TlsHost* tls_host(std::string_view name) const;
  [[nodiscard]] size_t host_count() const;

 private:
  [[nodiscard]] const RouteTable* list_of(std::string_view name) const;
  const RouteTable* head_ = nullptr;
  std::vector<const RouteTable*> lists_;
};

// The entry of that name in a list sorted by it; null if there is none, or no list.
template <class T, class NameOf>
[[nodiscard]] const T* find_sorted(const flatbuffers::Vector<flatbuffers::Offset<T>>* list, std::string_view name,
                                   const NameOf& name_of) {
  if (list == nullptr) return nullptr;
  flatbuffers::uoffset_t low = 0, high = list->size();
  while (low < high) {
    const flatbuffers::uoffset_t middle = low + (high - low) / 2;
    const T* const one = list->Get(middle);
    const flatbuffers::String* const text = name_of(*one);
    const int order = text == nullptr ? -1 : text->string_view().compare(name);
    if (order == 0) return one;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return nullptr;
}

}  // namespace sluice::ir
