#include <cstring>
#include <unordered_map>

#include <flatbuffers/flatbuffers.h>
#include <xxhash.h>

#include "controlplane/compile/compile.h"
#include "controlplane/compile/pack_host.h"

namespace sluice::compile {
namespace {

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;

uint64_t hash_of(const FlatBufferBuilder& builder) {
  return XXH3_64bits(builder.GetBufferPointer(), builder.GetSize());
}

// The caller's builder keeps its memory for the next time.
Part finish(FlatBufferBuilder& builder) {
  const auto* begin = reinterpret_cast<const std::byte*>(builder.GetBufferPointer());
  Part out;
  out.bytes = std::make_shared<const std::vector<std::byte>>(begin, begin + builder.GetSize());
  out.hash = ir::content_hash(*out.bytes);
  return out;
}

// A value with its hash, kept as long as the translation hands out the same object. `seen` tells which ones it did.
template <class T>
class Hashed {
 public:
  // The value with T::hash filled in: XXH3-64 of its packed bytes without the hash.
  const T& get(const std::shared_ptr<const T>& value) {
    Entry& entry = entries_[value.get()];
    entry.round = round_;
    if (!entry.source) {
      entry.source = value;
      FlatBufferBuilder builder;
      entry.value = *value;
      entry.value.hash = 0;
      builder.Finish(T::TableType::Pack(builder, &entry.value));
      entry.value.hash = hash_of(builder);
    }
    return entry.value;
  }
  void next_round() {
    std::erase_if(entries_, [this](const auto& entry) { return entry.second.round != round_; });
    ++round_;
  }

 private:
  struct Entry {
    std::shared_ptr<const T> source;  // held, so that its address is not used again
    T value;
    uint64_t round = 0;
  };
  std::unordered_map<const T*, Entry> entries_;
  uint64_t round_ = 0;
};

// True if both lists hold the same objects; `last` becomes `now`.
template <class T>
bool unchanged(std::vector<std::shared_ptr<const T>>& last, const std::vector<std::shared_ptr<const T>>& now) {
  if (last == now) return true;
  last = now;
  return false;
}

// All that the table is made of. Hosts and clusters are immutable, so their addresses stand for them: equal input =
// equal bytes.
struct TableInput {
  std::vector<std::shared_ptr<const ir::VirtualHostT>> hosts;
  std::vector<std::shared_ptr<const ir::ClusterT>> clusters;
  std::vector<ir::TlsHostT> tls_hosts;
  std::string default_certificate;
  std::vector<ir::ListenerT> listeners;
  ir::SettingsT settings;
  bool operator==(const TableInput&) const = default;
};

}  // namespace

struct Compiler::Memo {
  struct Host {
    std::shared_ptr<const ir::VirtualHostT> source;
    std::vector<uint8_t> bytes;
    uint64_t hash = 0;
    uint64_t round = 0;
  };
  std::unordered_map<const ir::VirtualHostT*, Host> hosts;
  uint64_t round = 0;
  Hashed<ir::ClusterT> clusters;
  Hashed<ir::ClusterEndpointsT> endpoints;
  Hashed<ir::CertificateT> certificates;
  std::vector<std::shared_ptr<const ir::ClusterEndpointsT>> last_endpoints;
  std::vector<std::shared_ptr<const ir::CertificateT>> last_certificates;
  Part endpoint_part, secret_part;
  FlatBufferBuilder builder{1 << 16};  // of the parts, one after the other
  Part table_part;
  TableInput last_table;

  void next_round() {
    std::erase_if(hosts, [&](const auto& entry) { return entry.second.round != round; });
    ++round;
    clusters.next_round();
  }
  const Host& host(const std::shared_ptr<const ir::VirtualHostT>& value);
  Part table(const translate::Translation& translation);
  Part endpoint_set(const translate::Translation& translation);
  Part secret_set(const translate::Translation& translation);
};

const Compiler::Memo::Host& Compiler::Memo::host(const std::shared_ptr<const ir::VirtualHostT>& value) {
  Host& entry = hosts[value.get()];
  entry.round = round;
  if (!entry.source) {
    entry.source = value;
    FlatBufferBuilder builder(4096);
    builder.Finish(pack_host(builder, *value));
    entry.bytes.assign(builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize());
    entry.hash = hash_of(builder);
  }
  return entry;
}

Part Compiler::Memo::table(const translate::Translation& translation) {
  builder.Clear();
  std::vector<Offset<ir::VirtualHostRef>> host_refs;
  host_refs.reserve(translation.hosts.size());
  for (const auto& value : translation.hosts) {
    const Host& entry = host(value);
    // A nested buffer must lie as aligned as it was built.
    builder.ForceVectorAlignment(entry.bytes.size(), 1, 8);
    const auto data = builder.CreateVector(entry.bytes);
    const auto name = builder.CreateString(value->host);
    host_refs.push_back(ir::CreateVirtualHostRef(builder, name, entry.hash, data));
  }
  std::vector<Offset<ir::Cluster>> cluster_refs;
  cluster_refs.reserve(translation.clusters.size());
  for (const auto& cluster : translation.clusters)
    cluster_refs.push_back(ir::Cluster::Pack(builder, &clusters.get(cluster)));
  std::vector<Offset<ir::TlsHost>> tls;
  tls.reserve(translation.tls_hosts.size());
  for (const auto& host : translation.tls_hosts) tls.push_back(ir::TlsHost::Pack(builder, &host));
  std::vector<Offset<ir::Listener>> listeners;
  for (const auto& listener : translation.listeners) listeners.push_back(ir::Listener::Pack(builder, &listener));
  const auto hosts_vector = builder.CreateVector(host_refs);
  const auto clusters_vector = builder.CreateVector(cluster_refs);
  const auto tls_vector = builder.CreateVector(tls);
  const auto listeners_vector = builder.CreateVector(listeners);
  const auto settings = ir::Settings::Pack(builder, &translation.settings);
  const auto certificate =
      translation.default_certificate.empty() ? 0 : builder.CreateString(translation.default_certificate);
  ir::RouteTableBuilder table(builder);
  table.add_schema_version(ir::kSchemaVersion);
  table.add_settings(settings);
  table.add_listeners(listeners_vector);
  table.add_hosts(hosts_vector);
  table.add_clusters(clusters_vector);
  table.add_tls_hosts(tls_vector);
  if (!certificate.IsNull()) table.add_default_certificate(certificate);
  builder.Finish(table.Finish());
  return finish(builder);
}

Part Compiler::Memo::endpoint_set(const translate::Translation& translation) {
  builder.Clear();
  std::vector<Offset<ir::ClusterEndpoints>> refs;
  refs.reserve(translation.endpoints.size());
  for (const auto& value : translation.endpoints)
    refs.push_back(ir::ClusterEndpoints::Pack(builder, &endpoints.get(value)));
  const auto vector = builder.CreateVector(refs);
  builder.Finish(ir::CreateEndpointSet(builder, ir::kSchemaVersion, vector));
  return finish(builder);
}

Part Compiler::Memo::secret_set(const translate::Translation& translation) {
  FlatBufferBuilder builder(1 << 16);  // its own: key material is wiped below, and not kept
  std::vector<Offset<ir::Certificate>> refs;
  refs.reserve(translation.certificates.size());
  for (const auto& value : translation.certificates)
    refs.push_back(ir::Certificate::Pack(builder, &certificates.get(value)));
  const auto vector = builder.CreateVector(refs);
  builder.Finish(ir::CreateSecretSet(builder, ir::kSchemaVersion, vector));
  Part out = finish(builder);
  explicit_bzero(builder.GetBufferPointer(), builder.GetSize());
  return out;
}

Compiler::Compiler() : memo_(std::make_unique<Memo>()) {}
Compiler::~Compiler() = default;

Compiled Compiler::compile(const translate::Translation& translation) {
  Memo& memo = *memo_;
  Compiled out;
  TableInput input{translation.hosts,     translation.clusters, translation.tls_hosts, translation.default_certificate,
                   translation.listeners, translation.settings};
  if (!memo.table_part.bytes || !(input == memo.last_table)) {
    memo.table_part = memo.table(translation);
    memo.last_table = std::move(input);
    memo.next_round();
  }
  out.parts[static_cast<size_t>(ir::PartKind::table)] = memo.table_part;
  if (!unchanged(memo.last_endpoints, translation.endpoints) || !memo.endpoint_part.bytes) {
    memo.endpoint_part = memo.endpoint_set(translation);
    memo.endpoints.next_round();
  }
  if (!unchanged(memo.last_certificates, translation.certificates) || !memo.secret_part.bytes) {
    memo.secret_part = memo.secret_set(translation);
    memo.certificates.next_round();
  }
  out.parts[static_cast<size_t>(ir::PartKind::endpoints)] = memo.endpoint_part;
  out.parts[static_cast<size_t>(ir::PartKind::secrets)] = memo.secret_part;
  return out;
}

}  // namespace sluice::compile
