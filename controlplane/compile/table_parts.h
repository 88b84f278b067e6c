// The table's part, and its shards when it is large (ir/table_view.h). A change costs the shards it touches and the
// head: which shard an entry is in is remembered, so that names are hashed once, and untouched shards are not looked
// into. Internal to this room.
#pragma once
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <flatbuffers/flatbuffers.h>

#include "controlplane/compile/compile.h"
#include "controlplane/compile/part_writer.h"

namespace sluice::compile {

template <class T>
using Items = std::vector<std::shared_ptr<const T>>;

// What a table, or one shard of it, lists.
struct TableItems {
  Items<ir::VirtualHostT> hosts;
  Items<ir::ClusterT> clusters;
  Items<ir::TlsHostT> tls_hosts;
};

using ShardSet = std::bitset<ir::kMaxShards>;

// The shard of each entry of a list sorted by name. Entries are compared by address: the list of the last call must
// still be held by somebody.
template <class T>
class Placement {
 public:
  // Brings it up to `now`; sets in `touched` each shard in which an entry came, went or is another.
  template <class NameOf>
  void update(const Items<T>& now, size_t shards, const NameOf& name_of, ShardSet& touched) {
    std::vector<uint8_t> placed;
    placed.reserve(now.size());
    size_t old = 0;
    for (const auto& item : now) {
      while (old < items_.size() && items_[old] != item.get() && name_of(*items_[old]) < name_of(*item))
        touched.set(shard_[old++]);
      if (old < items_.size() && items_[old] == item.get()) {
        placed.push_back(shard_[old++]);
        continue;
      }
      const bool known = old < items_.size() && name_of(*items_[old]) == name_of(*item);
      placed.push_back(known ? shard_[old++] : static_cast<uint8_t>(ir::shard_of(name_of(*item), shards)));
      touched.set(placed.back());
    }
    while (old < items_.size()) touched.set(shard_[old++]);
    shard_ = std::move(placed);
    items_.resize(now.size());
    for (size_t i = 0; i < now.size(); ++i) items_[i] = now[i].get();
  }
  // Hands each entry that lies in one of `wanted` to put(shard, item).
  template <class Put>
  void collect(const Items<T>& now, const ShardSet& wanted, const Put& put) const {
    for (size_t i = 0; i < now.size(); ++i) {
      if (wanted.test(shard_[i])) put(shard_[i], now[i]);
    }
  }

 private:
  std::vector<const T*> items_;
  std::vector<uint8_t> shard_;
};

// What only the head has.
struct TableHead {
  std::string default_certificate;
  std::vector<ir::ListenerT> listeners;
  ir::SettingsT settings;
  bool operator==(const TableHead&) const = default;
};

class TableParts {
 public:
  explicit TableParts(size_t shard_above) : shard_above_(shard_above) {}
  void update(const translate::Translation& translation);
  [[nodiscard]] const Part& head() const { return head_part_; }
  [[nodiscard]] const std::vector<Part>& shards() const { return shard_parts_; }

 private:
  // The lists of one file, and where they lie in it.
  struct Lists {
    ListMemo<ir::VirtualHostT> hosts;
    ListMemo<ir::ClusterT> clusters;
    ListMemo<ir::TlsHostT> tls_hosts;
  };
  // `head`: null for a shard.
  [[nodiscard]] Part write(Lists& lists, const Part& last, const Items<ir::VirtualHostT>& hosts,
                           const Items<ir::ClusterT>& clusters, const Items<ir::TlsHostT>& tls_hosts,
                           const TableHead* head);
  [[nodiscard]] Part write_head(const TableHead& head);
  void write_whole(const translate::Translation& translation, TableHead head);
  void write_shards(const translate::Translation& translation, size_t count, TableHead head);
  [[nodiscard]] Chunk host(FreshChunks& fresh, const ir::VirtualHostT& value);

  size_t shard_above_;
  TableHead head_;
  Part head_part_;
  Lists whole_;  // of a table without shards
  std::vector<Lists> lists_;
  std::vector<Part> shard_parts_;
  struct Places {
    Placement<ir::VirtualHostT> hosts;
    Placement<ir::ClusterT> clusters;
    Placement<ir::TlsHostT> tls_hosts;
  } places_;  // in the shards
  // Kept for their memory.
  flatbuffers::FlatBufferBuilder builder_{1 << 14}, entry_{1 << 12}, nested_{1 << 12};
};

}  // namespace sluice::compile
