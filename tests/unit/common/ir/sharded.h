// A table of hosts that forward to a cluster of the same name, with a TLS host each: whole, or in shards.
#pragma once
#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "common/ir/table_view.h"

namespace sluice::ir {

class Sharded {
 public:
  // `backend`: the cluster that every host forwards to instead of its own; `drop`: the cluster that is missing.
  Sharded(std::vector<std::string> names, size_t shards, const std::string& backend = "", const std::string& drop = "")
      : lists_(std::max<size_t>(shards, 1)) {
    std::ranges::sort(names);
    for (const std::string& name : names) {
      RouteTableT& list = lists_[shards == 0 ? 0 : shard_of(name, shards)];
      list.hosts.push_back(host(name, backend.empty() ? name : backend));
      list.tls_hosts.push_back(std::make_unique<TlsHostT>());
      list.tls_hosts.back()->host = list.tls_hosts.back()->certificate = name;
      if (name == drop) continue;
      list.clusters.push_back(std::make_unique<ClusterT>());
      list.clusters.back()->name = name;
    }
    for (RouteTableT& list : lists_) list.schema_version = kSchemaVersion;
    for (const RouteTableT& list : lists_) buffers_.push_back(packed(list));
    if (shards == 0) return;
    RouteTableT head;
    head.schema_version = kSchemaVersion;
    for (const auto& buffer : buffers_) {
      const ContentHash hash = content_hash(bytes_of(buffer));
      head.shards.emplace_back(hash.high, hash.low, bytes_of(buffer).size());
    }
    head_ = packed(head);
  }

  [[nodiscard]] std::span<const std::byte> head() const { return bytes_of(cut() ? head_ : buffers_.front()); }
  [[nodiscard]] std::span<const std::byte> shard(size_t index) const { return bytes_of(buffers_[index]); }
  [[nodiscard]] size_t shards() const { return cut() ? buffers_.size() : 0; }
  // Shards whose bytes are those of `other` are seen where they lie in it, as a process that keeps them does.
  [[nodiscard]] TableView view(const Sharded* other = nullptr) const {
    std::vector<const RouteTable*> roots;
    for (size_t i = 0; i < shards(); ++i) {
      const bool same = other != nullptr && i < other->shards() && std::ranges::equal(shard(i), other->shard(i));
      roots.push_back(GetRouteTable((same ? other->shard(i) : shard(i)).data()));
    }
    return {*GetRouteTable(head().data()), roots};
  }

 private:
  using Builder = flatbuffers::FlatBufferBuilder;
  // Aligned, as a mapping is.
  struct Packed {
    std::unique_ptr<uint64_t[]> words;
    size_t size = 0;
  };
  static std::span<const std::byte> bytes_of(const Packed& packed) {
    return std::as_bytes(std::span(packed.words.get(), packed.size / 8 + 1)).first(packed.size);
  }
  static Packed packed(const RouteTableT& table) {
    Builder builder;
    builder.Finish(RouteTable::Pack(builder, &table));
    Packed out{std::make_unique<uint64_t[]>(builder.GetSize() / 8 + 1), builder.GetSize()};
    std::memcpy(out.words.get(), builder.GetBufferPointer(), out.size);
    return out;
  }
  static std::unique_ptr<VirtualHostRefT> host(const std::string& name, const std::string& cluster) {
    VirtualHostT host;
    host.host = name;
    auto route = std::make_unique<RouteT>();
    route->path_kind = PathKind::Prefix;
    ForwardT forward;
    forward.backends.push_back(std::make_unique<BackendT>());
    forward.backends.back()->cluster = cluster;
    route->action.Set(std::move(forward));
    host.routes.push_back(std::move(route));
    Builder builder;
    builder.Finish(VirtualHost::Pack(builder, &host));
    auto ref = std::make_unique<VirtualHostRefT>();
    ref->host = name;
    ref->data.assign(builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize());
    return ref;
  }
  std::vector<RouteTableT> lists_;
  [[nodiscard]] bool cut() const { return head_.words != nullptr; }
  std::vector<Packed> buffers_;
  Packed head_;
};

}  // namespace sluice::ir
