#include "common/ir/verify.h"

#include <bit>
#include <cstring>
#include <memory>
#include <tuple>

#include <arpa/inet.h>

#include "common/ir/verify_util.h"

namespace sluice::ir {
namespace {
using check::at;
using check::cidrs;
using check::count;
using check::sorted;
using check::text;
using check::view;
using flatbuffers::uoffset_t;

constexpr size_t kMinBytes = 8;  // root offset and one empty table

flatbuffers::Verifier::Options bounds(size_t size) {
  flatbuffers::Verifier::Options bounds;
  bounds.max_depth = 32;
  // Shared sub-tables are counted at every visit; this bounds the work by the size of the part.
  bounds.max_tables = static_cast<uoffset_t>(std::max<size_t>(size, 1024));
  bounds.check_nested_flatbuffers = false;  // done below, with the same bounds
  return bounds;
}

template <class Root>
Result<const Root*> root(std::string_view what, std::span<const std::byte> bytes) {
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  if (bytes.size() < kMinBytes || bytes.size() > kMaxPartBytes) return fail("{} of {} bytes", what, bytes.size());
  if (reinterpret_cast<uintptr_t>(data) % 8 != 0) return fail("{} is not aligned", what);
  flatbuffers::Verifier verifier(data, bytes.size(), bounds(bytes.size()));
  if (!verifier.VerifyBuffer<Root>(nullptr)) return fail("{} is damaged", what);
  return flatbuffers::GetRoot<Root>(data);
}

template <class Root>
Result<const Root*> versioned_root(std::string_view what, std::span<const std::byte> bytes) {
  auto found = root<Root>(what, bytes);
  if (found && (*found)->schema_version() != kSchemaVersion) {
    return fail("{} has schema version {}, this program reads {}", what, (*found)->schema_version(), kSchemaVersion);
  }
  return found;
}

Status http2(const Http2Settings* http2) {
  if (http2 == nullptr) return {};
  if (http2->concurrent_streams() < 1 || http2->concurrent_streams() > kMaxHttp2Streams)
    return fail("{} concurrent streams", http2->concurrent_streams());
  for (const auto& [name, bytes] :
       {std::pair("stream", http2->stream_window()), std::pair("connection", http2->connection_window())}) {
    if (bytes < kMinHttp2Window || bytes > kMaxHttp2Window) return fail("a {} window of {} bytes", name, bytes);
  }
  return {};
}

Status settings(const Settings* settings) {
  if (settings == nullptr) return {};  // all defaults
  if (settings->workers() > kMaxTableWorkers)
    return fail("{} workers, the limit is {}", settings->workers(), kMaxTableWorkers);
  if (const LimitSettings* limits = settings->limits()) {
    if (limits->header_bytes() < kMinHeaderBytes || limits->header_bytes() > kMaxHeaderBytes)
      return fail("limit header_bytes {}", limits->header_bytes());
    if (limits->request_line() < kMinRequestLine || limits->request_line() > kMaxRequestLine)
      return fail("limit request_line {}", limits->request_line());
    if (limits->header_count() < 1 || limits->header_count() > kMaxHeaderCount)
      return fail("limit header_count {}", limits->header_count());
    if (limits->min_body_rate() > kMaxBodyRate) return fail("limit min_body_rate {}", limits->min_body_rate());
  }
  if (const AccessLogSettings* log = settings->access_log()) {
    if (Status ok = text("access log path", log->path(), kMaxNameBytes); !ok) return ok;
    if (Status ok = text("access log format", log->format(), kMaxValueBytes); !ok) return ok;
  }
  if (const TlsSettings* tls = settings->tls()) {
    if (tls->min_version() != 0x0303 && tls->min_version() != 0x0304)
      return fail("TLS minimum version {:#x}", tls->min_version());
    if (Status ok = text("TLS ciphers", tls->ciphers(), kMaxNameBytes); !ok) return ok;
  }
  if (Status ok = http2(settings->http2()); !ok) return at("HTTP/2", ok);
  if (settings->connection_balance() > ConnectionBalance::MAX)
    return fail("connection balance {}", static_cast<unsigned>(settings->connection_balance()));
  if (settings->drain_ms() > 24u * 3600 * 1000) return fail("drain_ms {}", settings->drain_ms());
  if (Status ok = cidrs("trusted proxy", settings->trusted_proxies()); !ok) return ok;
  return cidrs("PROXY protocol peer", settings->proxy_protocol());
}

Status listeners(const flatbuffers::Vector<flatbuffers::Offset<Listener>>* list) {
  if (Status ok = sorted("listener", list, 15, [](const Listener& listener) { return listener.name(); }); !ok)
    return ok;
  size_t addresses = 0;
  for (size_t i = 0; i < count(list); ++i) {
    const Listener& listener = *list->Get(static_cast<uoffset_t>(i));
    const std::string_view name = view(listener.name());
    if (!check::is_token(name)) return fail("listener name '{}'", name);
    if (listener.protocol() > ListenerProtocol::MAX)
      return fail("listener {}: protocol {}", name, static_cast<int>(listener.protocol()));
    if (Status ok = text("class", listener.class_(), kMaxNameBytes); !ok)
      return at(fmt::format("listener {}", name), ok);
    addresses += count(listener.addresses()) == 0 ? 2 : count(listener.addresses());
    for (size_t k = 0; k < count(listener.addresses()); ++k) {
      const flatbuffers::String* literal = listener.addresses()->Get(static_cast<uoffset_t>(k));
      in6_addr parsed;
      const bool fits = view(literal).find('\0') == std::string_view::npos;
      if (!fits ||
          (inet_pton(AF_INET, literal->c_str(), &parsed) != 1 && inet_pton(AF_INET6, literal->c_str(), &parsed) != 1)) {
        return fail("listener {}: '{}' is no address", name, view(literal));
      }
    }
  }
  if (addresses > kMaxListenerAddresses)
    return fail("{} listening addresses, the limit is {}", addresses, kMaxListenerAddresses);
  return {};
}

Status cluster(const Cluster& cluster) {
  if (cluster.lb() > LbPolicy::MAX) return fail("policy {}", static_cast<int>(cluster.lb()));
  if (cluster.protocol() > UpstreamProtocol::MAX) return fail("protocol {}", static_cast<int>(cluster.protocol()));
  if (Status ok = check::origin(cluster.origin()); !ok) return ok;
  if (cluster.tls() == nullptr) return {};
  if (Status ok = text("SNI", cluster.tls()->sni(), kMaxHostBytes); !ok) return ok;
  if (Status ok = text("certificate name", cluster.tls()->name(), kMaxHostBytes); !ok) return ok;
  if (view(cluster.tls()->ca_pem()).size() > kMaxPemBytes)
    return fail("CA of {} bytes", view(cluster.tls()->ca_pem()).size());
  return {};
}

Status clusters(const flatbuffers::Vector<flatbuffers::Offset<Cluster>>* list) {
  if (Status ok = sorted("cluster", list, kMaxNameBytes, [](const Cluster& cluster) { return cluster.name(); }); !ok)
    return ok;
  for (size_t i = 0; i < count(list); ++i) {
    const Cluster& here = *list->Get(static_cast<uoffset_t>(i));
    if (Status ok = cluster(here); !ok) return at(fmt::format("cluster {}", view(here.name())), ok);
  }
  return {};
}

// The bytes of a virtual host at an 8-byte boundary: copied if the builder did not align them.
class Aligned {
 public:
  explicit Aligned(const flatbuffers::Vector<uint8_t>& data) {
    bytes_ = std::as_bytes(std::span(data.data(), data.size()));
    if (reinterpret_cast<uintptr_t>(data.data()) % 8 == 0) return;
    copy_ = std::make_unique<uint64_t[]>(bytes_.size() / 8 + 1);
    std::memcpy(copy_.get(), bytes_.data(), bytes_.size());
    bytes_ = std::as_bytes(std::span(copy_.get(), bytes_.size() / 8 + 1)).first(bytes_.size());
  }
  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::unique_ptr<uint64_t[]> copy_;
  std::span<const std::byte> bytes_;
};

// The virtual hosts of a table that passed before, asked for in their order.
class KnownHosts {
 public:
  // Of the shard that was there before, whose clusters are not this one's matter; null = nothing is known.
  explicit KnownHosts(const RouteTable* before) : hosts_(before == nullptr ? nullptr : before->hosts()) {}
  // `table`: what is to be verified, its lists sorted already. A route names clusters of its table: if one of the known
  // table's is gone, no host is taken for known.
  KnownHosts(const RouteTable& table, std::span<const std::byte> known) {
    if (known.empty()) return;
    const auto& before = *flatbuffers::GetRoot<RouteTable>(known.data());
    const auto* now = table.clusters();
    size_t next = 0;
    for (size_t i = 0; i < count(before.clusters()); ++i, ++next) {
      const std::string_view name = view(before.clusters()->Get(static_cast<uoffset_t>(i))->name());
      while (next < count(now) && view(now->Get(static_cast<uoffset_t>(next))->name()) < name) ++next;
      if (next == count(now) || view(now->Get(static_cast<uoffset_t>(next))->name()) != name) return;
    }
    hosts_ = before.hosts();
  }
  [[nodiscard]] bool holds(const VirtualHostRef& host) {
    for (; next_ < count(hosts_); ++next_) {
      const VirtualHostRef& known = *hosts_->Get(static_cast<uoffset_t>(next_));
      if (view(known.host()) < view(host.host())) continue;
      return view(known.host()) == view(host.host()) && known.data()->size() == host.data()->size() &&
             std::memcmp(known.data()->data(), host.data()->data(), host.data()->size()) == 0;
    }
    return false;
  }

 private:
  const flatbuffers::Vector<flatbuffers::Offset<VirtualHostRef>>* hosts_ = nullptr;
  size_t next_ = 0;
};

// With `clusters`, those that its routes name have to be there.
Status host(const VirtualHostRef& ref, const TableView* clusters) {
  const Aligned data(*ref.data());
  auto host = root<VirtualHost>("virtual host", data.bytes());
  if (!host) return std::unexpected(host.error());
  if (view((*host)->host()) != view(ref.host())) return fail("content is of host '{}'", view((*host)->host()));
  if (Status ok = check::virtual_host(**host); !ok || clusters == nullptr) return ok;
  return check::clusters_exist(**host, *clusters);
}

Status hosts(const RouteTable& table, std::span<const std::byte> known_table, const TableView* clusters) {
  const auto* list = table.hosts();
  if (Status ok = sorted("host", list, kMaxHostBytes, [](const VirtualHostRef& host) { return host.host(); }); !ok)
    return ok;
  KnownHosts known(table, known_table);
  for (size_t i = 0; i < count(list); ++i) {
    const VirtualHostRef& ref = *list->Get(static_cast<uoffset_t>(i));
    if (view(ref.host()).empty() || ref.data() == nullptr)
      return fail("host {}: name or content is missing", view(ref.host()));
    if (known.holds(ref)) continue;
    if (Status ok = host(ref, clusters); !ok) return at(fmt::format("host {}", view(ref.host())), ok);
  }
  return {};
}

Status tls_hosts(const flatbuffers::Vector<flatbuffers::Offset<TlsHost>>* list) {
  if (Status ok = sorted("TLS host", list, kMaxHostBytes, [](const TlsHost& host) { return host.host(); }); !ok)
    return ok;
  for (size_t i = 0; i < count(list); ++i) {
    const auto* id = list->Get(static_cast<uoffset_t>(i))->certificate();
    if (Status ok = text("certificate id", id, kMaxNameBytes, true); !ok) return ok;
  }
  return {};
}

// What a head says of its shards.
Status shard_refs(const RouteTable& head) {
  const size_t shards = head.shards()->size();
  if (!std::has_single_bit(shards) || shards > kMaxShards) return fail("{} shards", shards);
  if (count(head.hosts()) + count(head.clusters()) + count(head.tls_hosts()) != 0)
    return fail("a head with shards that has hosts, clusters or TLS hosts itself");
  uint64_t total = 0;
  for (const ShardRef* shard : *head.shards()) {
    if (shard->size() < kMinBytes || shard->size() > kMaxPartBytes) return fail("shard of {} bytes", shard->size());
    total += shard->size();
  }
  if (total > kMaxPartBytes) return fail("shards of {} bytes together", total);
  return {};
}

// The names of one of a shard's lists.
template <class List, class NameOf>
Status belong(const List* list, size_t shard, size_t shards, const NameOf& name_of) {
  for (size_t i = 0; i < count(list); ++i) {
    const std::string_view name = view(name_of(*list->Get(static_cast<uoffset_t>(i))));
    if (shard_of(name, shards) != shard) return fail("'{}' does not belong to it", name);
  }
  return {};
}
Status belong(const RouteTable& shard, size_t index, size_t shards) {
  if (Status ok = belong(shard.hosts(), index, shards, [](const VirtualHostRef& one) { return one.host(); }); !ok)
    return ok;
  if (Status ok = belong(shard.clusters(), index, shards, [](const Cluster& one) { return one.name(); }); !ok)
    return ok;
  return belong(shard.tls_hosts(), index, shards, [](const TlsHost& one) { return one.host(); });
}

bool lost_a_cluster(const RouteTable& before, const TableView& now) {
  for (size_t i = 0; i < count(before.clusters()); ++i) {
    if (now.cluster(view(before.clusters()->Get(static_cast<uoffset_t>(i))->name())) == nullptr) return true;
  }
  return false;
}

// Of hosts that passed on their own; `before`: the shard whose clusters are all still there, or null.
Status clusters_of(const RouteTable& shard, const TableView& table, const RouteTable* before) {
  KnownHosts known(before);
  for (size_t i = 0; i < count(shard.hosts()); ++i) {
    const VirtualHostRef& ref = *shard.hosts()->Get(static_cast<uoffset_t>(i));
    if (known.holds(ref)) continue;
    const Aligned data(*ref.data());
    const auto* host = flatbuffers::GetRoot<VirtualHost>(data.bytes().data());
    if (Status ok = check::clusters_exist(*host, table); !ok) return at(fmt::format("host {}", view(ref.host())), ok);
  }
  return {};
}

Status endpoints(const ClusterEndpoints& cluster) {
  if (Status ok = text("empty_reason", cluster.empty_reason(), kMaxNameBytes); !ok) return ok;
  std::tuple<uint64_t, uint64_t, uint16_t> before;
  for (size_t k = 0; k < count(cluster.endpoints()); ++k) {
    const Endpoint& endpoint = *cluster.endpoints()->Get(static_cast<uoffset_t>(k));
    if (endpoint.address() == nullptr || endpoint.port() == 0) return fail("endpoint {} without address or port", k);
    if (endpoint.state() > EndpointState::MAX)
      return fail("endpoint {} in state {}", k, static_cast<int>(endpoint.state()));
    if (Status ok = text("zone", endpoint.zone(), kMaxNameBytes); !ok) return ok;
    const std::tuple here(endpoint.address()->high(), endpoint.address()->low(), endpoint.port());
    if (k > 0 && !(before < here)) return fail("endpoint {} is not sorted, or twice", k);
    before = here;
  }
  return {};
}
}  // namespace

Status verify_table(std::span<const std::byte> bytes, std::span<const std::byte> known) {
  const auto found = versioned_root<RouteTable>("route table", bytes);
  if (!found) return std::unexpected(found.error());
  const RouteTable& table = **found;
  if (Status ok = settings(table.settings()); !ok) return at("settings", ok);
  if (Status ok = listeners(table.listeners()); !ok) return ok;
  if (table.shards() != nullptr && table.shards()->size() != 0) {
    if (Status ok = shard_refs(table); !ok) return ok;
  } else {
    if (Status ok = clusters(table.clusters()); !ok) return ok;
    const TableView own(table);
    if (Status ok = hosts(table, known, &own); !ok) return ok;
    if (Status ok = tls_hosts(table.tls_hosts()); !ok) return ok;
  }
  if (Status ok = text("default certificate", table.default_certificate(), kMaxNameBytes); !ok) return ok;
  if (table.not_found() == nullptr) return {};
  if (Status ok = check::direct_response(*table.not_found()); !ok) return at("not_found", ok);
  return {};
}

Status verify_shard(std::span<const std::byte> bytes, std::span<const std::byte> known) {
  const auto found = versioned_root<RouteTable>("shard", bytes);
  if (!found) return std::unexpected(found.error());
  const RouteTable& shard = **found;
  if (shard.settings() != nullptr || shard.listeners() != nullptr || shard.default_certificate() != nullptr ||
      shard.not_found() != nullptr || shard.shards() != nullptr)
    return fail("a shard that has what only a head has");
  if (Status ok = clusters(shard.clusters()); !ok) return ok;
  if (Status ok = hosts(shard, known, nullptr); !ok) return ok;
  return tls_hosts(shard.tls_hosts());
}

Status verify_shards(const TableView& table, const TableView& known) {
  const auto now = table.lists(), before = known.lists();
  const bool comparable = !known.empty() && before.size() == now.size();
  bool lost = !comparable;
  for (size_t i = 0; i < now.size(); ++i) {
    if (comparable && before[i] == now[i]) continue;
    if (Status ok = belong(*now[i], i, now.size()); !ok) return at(fmt::format("shard {}", i), ok);
    lost = lost || lost_a_cluster(*before[i], table);
  }
  for (size_t i = 0; i < now.size(); ++i) {
    if (!lost && before[i] == now[i]) continue;
    if (Status ok = clusters_of(*now[i], table, lost ? nullptr : before[i]); !ok)
      return at(fmt::format("shard {}", i), ok);
  }
  return {};
}

Status verify_endpoints(std::span<const std::byte> bytes) {
  const auto found = versioned_root<EndpointSet>("endpoint set", bytes);
  if (!found) return std::unexpected(found.error());
  const auto* list = (*found)->clusters();
  if (Status ok =
          sorted("cluster", list, kMaxNameBytes, [](const ClusterEndpoints& cluster) { return cluster.name(); });
      !ok)
    return ok;
  for (size_t i = 0; i < count(list); ++i) {
    const ClusterEndpoints& here = *list->Get(static_cast<uoffset_t>(i));
    if (Status ok = endpoints(here); !ok) return at(fmt::format("endpoints of {}", view(here.name())), ok);
  }
  return {};
}

Status verify_secrets(std::span<const std::byte> bytes) {
  const auto found = versioned_root<SecretSet>("secret set", bytes);
  if (!found) return std::unexpected(found.error());
  const auto* list = (*found)->certificates();
  if (Status ok =
          sorted("certificate", list, kMaxNameBytes, [](const Certificate& certificate) { return certificate.id(); });
      !ok)
    return ok;
  for (size_t i = 0; i < count(list); ++i) {
    const Certificate& certificate = *list->Get(static_cast<uoffset_t>(i));
    const size_t chain = view(certificate.chain_pem()).size(), key = view(certificate.key_pem()).size();
    if (chain == 0 || key == 0 || chain > kMaxPemBytes || key > kMaxPemBytes) {
      return fail("certificate {}: chain of {} bytes, key of {} bytes", view(certificate.id()), chain, key);
    }
  }
  if (Status ok = text("ticket keys' Secret", (*found)->ticket_keys_secret(), kMaxNameBytes); !ok) return ok;
  if (count((*found)->ticket_keys()) > kMaxTicketKeys)
    return fail("{} ticket keys, more than {}", count((*found)->ticket_keys()), kMaxTicketKeys);
  for (size_t i = 0; i < count((*found)->ticket_keys()); ++i) {
    const TicketKey& key = *(*found)->ticket_keys()->Get(static_cast<uoffset_t>(i));
    if (count(key.key()) != kTicketKeyBytes)
      return fail("ticket key {} of {} bytes, expected {}", i, count(key.key()), kTicketKeyBytes);
  }
  return {};
}

Status verify_part(PartKind kind, std::span<const std::byte> bytes, std::span<const std::byte> known) {
  switch (kind) {
    case PartKind::table:
      return verify_table(bytes, known);
    case PartKind::endpoints:
      return verify_endpoints(bytes);
    case PartKind::secrets:
      return verify_secrets(bytes);
    case PartKind::shard:
      return verify_shard(bytes, known);
  }
  return fail("unknown part {}", static_cast<int>(kind));
}

}  // namespace sluice::ir
