#include <cstring>

#include <flatbuffers/flatbuffers.h>
#include <xxhash.h>

#include "controlplane/compile/compile.h"
#include "controlplane/compile/pack_host.h"
#include "controlplane/compile/part_writer.h"

namespace sluice::compile {
namespace {

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;

const std::string& name_of(const ir::VirtualHostT& host) { return host.host; }
const std::string& name_of(const ir::ClusterT& cluster) { return cluster.name; }
const std::string& name_of(const ir::ClusterEndpointsT& endpoints) { return endpoints.name; }
const std::string& name_of(const ir::CertificateT& certificate) { return certificate.id; }
const std::string& name_of(const ir::TlsHostT& host) { return host.host; }
constexpr auto kBySlot = [](const ir::TicketKeyT& key) { return key.slot; };
constexpr auto kByName = [](const auto& value) -> const std::string& { return name_of(value); };

uint64_t hash_of(const FlatBufferBuilder& builder) {
  return XXH3_64bits(builder.GetBufferPointer(), builder.GetSize());
}

// A value with its hash filled in: XXH3-64 of its packed bytes without the hash.
template <class T>
void pack_hashed(FlatBufferBuilder& builder, T& value) {
  value.hash = 0;
  builder.Clear();
  builder.Finish(T::TableType::Pack(builder, &value));
  value.hash = hash_of(builder);
  builder.Clear();
  builder.Finish(T::TableType::Pack(builder, &value));
}

// What the head of the table is made of.
struct TableHead {
  std::string default_certificate;
  std::vector<ir::ListenerT> listeners;
  ir::SettingsT settings;
  bool operator==(const TableHead&) const = default;
};

}  // namespace

struct Compiler::Memo {
  ListMemo<ir::VirtualHostT> hosts;
  ListMemo<ir::ClusterT> clusters;
  ListMemo<ir::TlsHostT> tls_hosts;
  ListMemo<ir::ClusterEndpointsT> endpoints;
  ListMemo<ir::CertificateT> certificates;
  ListMemo<ir::TicketKeyT> ticket_keys;
  TableHead table_head;
  std::string ticket_keys_secret;
  Part table_part, endpoint_part, secret_part;
  // Kept for their memory.
  FlatBufferBuilder head{1 << 16}, entry{1 << 12}, nested{1 << 12};

  Chunk host(FreshChunks& fresh, const ir::VirtualHostT& value);
  template <class T>
  Chunk hashed(FreshChunks& fresh, const T& value) {
    T copy = value;
    pack_hashed(entry, copy);
    return fresh.keep(entry);
  }
  void head_of_table(const translate::Translation& translation);
  Part table(const translate::Translation& translation);
  Part endpoint_set(const translate::Translation& translation);
  Part secret_set(const translate::Translation& translation);
};

Chunk Compiler::Memo::host(FreshChunks& fresh, const ir::VirtualHostT& value) {
  nested.Clear();
  nested.Finish(pack_host(nested, value));
  entry.Clear();
  // A nested buffer must lie as aligned as it was built.
  entry.ForceVectorAlignment(nested.GetSize(), 1, 8);
  const auto data = entry.CreateVector(nested.GetBufferPointer(), nested.GetSize());
  const auto name = entry.CreateString(value.host);
  entry.Finish(ir::CreateVirtualHostRef(entry, name, hash_of(nested), data));
  return fresh.keep(entry);
}

void Compiler::Memo::head_of_table(const translate::Translation& translation) {
  head.Clear();
  std::vector<Offset<ir::Listener>> listeners;
  for (const auto& listener : translation.listeners) listeners.push_back(ir::Listener::Pack(head, &listener));
  const auto hosts_vector = make_slots<ir::VirtualHostRef>(head, translation.hosts.size());
  const auto clusters_vector = make_slots<ir::Cluster>(head, translation.clusters.size());
  const auto tls_vector = make_slots<ir::TlsHost>(head, translation.tls_hosts.size());
  const auto listeners_vector = head.CreateVector(listeners);
  const auto settings = ir::Settings::Pack(head, &translation.settings);
  const auto certificate =
      translation.default_certificate.empty() ? 0 : head.CreateString(translation.default_certificate);
  ir::RouteTableBuilder table(head);
  table.add_schema_version(ir::kSchemaVersion);
  table.add_settings(settings);
  table.add_listeners(listeners_vector);
  table.add_hosts(hosts_vector);
  table.add_clusters(clusters_vector);
  table.add_tls_hosts(tls_vector);
  if (!certificate.IsNull()) table.add_default_certificate(certificate);
  head.Finish(table.Finish());
}

Part Compiler::Memo::table(const translate::Translation& translation) {
  FreshChunks fresh;
  const auto host_chunks = hosts.chunks(translation.hosts, table_part, kByName,
                                        [&](const ir::VirtualHostT& value) { return host(fresh, value); });
  const auto cluster_chunks = clusters.chunks(translation.clusters, table_part, kByName,
                                              [&](const ir::ClusterT& value) { return hashed(fresh, value); });
  const auto tls_chunks = tls_hosts.chunks(translation.tls_hosts, table_part, kByName, [&](const ir::TlsHostT& value) {
    entry.Clear();
    entry.Finish(ir::TlsHost::Pack(entry, &value));
    return fresh.keep(entry);
  });
  head_of_table(translation);
  const auto* root = ir::GetRouteTable(head.GetBufferPointer());
  const ListLayout lists[] = {{slots_of(head, root->hosts()), host_chunks},
                              {slots_of(head, root->clusters()), cluster_chunks},
                              {slots_of(head, root->tls_hosts()), tls_chunks}};
  Part out = write_part(head, lists);
  size_t at = head_bytes(head);
  at = hosts.placed(translation.hosts, host_chunks, at);
  at = clusters.placed(translation.clusters, cluster_chunks, at);
  tls_hosts.placed(translation.tls_hosts, tls_chunks, at);
  return out;
}

Part Compiler::Memo::endpoint_set(const translate::Translation& translation) {
  FreshChunks fresh;
  const auto chunks = endpoints.chunks(translation.endpoints, endpoint_part, kByName,
                                       [&](const ir::ClusterEndpointsT& value) { return hashed(fresh, value); });
  head.Clear();
  const auto slots = make_slots<ir::ClusterEndpoints>(head, translation.endpoints.size());
  head.Finish(ir::CreateEndpointSet(head, ir::kSchemaVersion, slots));
  const auto* root = flatbuffers::GetRoot<ir::EndpointSet>(head.GetBufferPointer());
  const ListLayout lists[] = {{slots_of(head, root->clusters()), chunks}};
  Part out = write_part(head, lists);
  endpoints.placed(translation.endpoints, chunks, head_bytes(head));
  return out;
}

Part Compiler::Memo::secret_set(const translate::Translation& translation) {
  FreshChunks fresh;
  FlatBufferBuilder keys(1 << 12);  // its own: key material is wiped, and not kept
  const auto wipe = [&keys] { explicit_bzero(keys.GetBufferPointer(), keys.GetSize()); };
  const auto chunks =
      certificates.chunks(translation.certificates, secret_part, kByName, [&](const ir::CertificateT& value) {
        ir::CertificateT copy = value;
        pack_hashed(keys, copy);
        const Chunk chunk = fresh.keep(keys);
        wipe();
        explicit_bzero(copy.key_pem.data(), copy.key_pem.size());
        return chunk;
      });
  const auto key_chunks = ticket_keys.chunks(translation.ticket_keys, secret_part, kBySlot, [&](const auto& value) {
    keys.Clear();
    keys.Finish(ir::TicketKey::Pack(keys, &value));
    const Chunk chunk = fresh.keep(keys);
    wipe();
    return chunk;
  });
  head.Clear();
  const auto slots = make_slots<ir::Certificate>(head, translation.certificates.size());
  const auto key_slots = key_chunks.empty() ? 0 : make_slots<ir::TicketKey>(head, key_chunks.size());
  const auto secret = translation.ticket_keys_secret.empty() ? 0 : head.CreateString(translation.ticket_keys_secret);
  head.Finish(ir::CreateSecretSet(head, ir::kSchemaVersion, slots, key_slots, secret));
  const auto* root = flatbuffers::GetRoot<ir::SecretSet>(head.GetBufferPointer());
  std::vector<ListLayout> lists = {{slots_of(head, root->certificates()), chunks}};
  if (!key_chunks.empty()) lists.push_back({slots_of(head, root->ticket_keys()), key_chunks});
  Part out = write_part(head, lists);
  const size_t end = certificates.placed(translation.certificates, chunks, head_bytes(head));
  ticket_keys.placed(translation.ticket_keys, key_chunks, end);
  fresh.wipe();
  return out;
}

Compiler::Compiler() : memo_(std::make_unique<Memo>()) {}
Compiler::~Compiler() = default;

Compiled Compiler::compile(const translate::Translation& translation) {
  Memo& memo = *memo_;
  TableHead table_head{translation.default_certificate, translation.listeners, translation.settings};
  if (!memo.table_part.bytes || !memo.hosts.same(translation.hosts) || !memo.clusters.same(translation.clusters) ||
      !memo.tls_hosts.same(translation.tls_hosts) || !(table_head == memo.table_head)) {
    memo.table_part = memo.table(translation);
    memo.table_head = std::move(table_head);
  }
  if (!memo.endpoint_part.bytes || !memo.endpoints.same(translation.endpoints))
    memo.endpoint_part = memo.endpoint_set(translation);
  if (!memo.secret_part.bytes || !memo.certificates.same(translation.certificates) ||
      !memo.ticket_keys.same(translation.ticket_keys) || memo.ticket_keys_secret != translation.ticket_keys_secret) {
    memo.secret_part = memo.secret_set(translation);
    memo.ticket_keys_secret = translation.ticket_keys_secret;
  }
  Compiled out;
  out.parts[static_cast<size_t>(ir::PartKind::table)] = memo.table_part;
  out.parts[static_cast<size_t>(ir::PartKind::endpoints)] = memo.endpoint_part;
  out.parts[static_cast<size_t>(ir::PartKind::secrets)] = memo.secret_part;
  return out;
}

}  // namespace sluice::compile
