#include <cstring>

#include <flatbuffers/flatbuffers.h>

#include "controlplane/compile/compile.h"
#include "controlplane/compile/pack_value.h"
#include "controlplane/compile/part_writer.h"
#include "controlplane/compile/table_parts.h"

namespace sluice::compile {
namespace {

using flatbuffers::FlatBufferBuilder;

const std::string& name_of(const ir::ClusterEndpointsT& endpoints) { return endpoints.name; }
const std::string& name_of(const ir::CertificateT& certificate) { return certificate.id; }
constexpr auto kBySlot = [](const ir::TicketKeyT& key) { return key.slot; };
constexpr auto kByName = [](const auto& value) -> const std::string& { return name_of(value); };

}  // namespace

struct Compiler::Memo {
  explicit Memo(size_t shard_above) : table(shard_above) {}
  TableParts table;
  ListMemo<ir::ClusterEndpointsT> endpoints;
  ListMemo<ir::CertificateT> certificates;
  ListMemo<ir::TicketKeyT> ticket_keys;
  std::string ticket_keys_secret;
  Part endpoint_part, secret_part;
  // Kept for their memory.
  FlatBufferBuilder head{1 << 16}, entry{1 << 12};

  Part endpoint_set(const translate::Translation& translation);
  Part secret_set(const translate::Translation& translation);
};

Part Compiler::Memo::endpoint_set(const translate::Translation& translation) {
  FreshChunks fresh;
  const auto chunks =
      endpoints.chunks(translation.endpoints, endpoint_part, kByName, [&](const ir::ClusterEndpointsT& value) {
        ir::ClusterEndpointsT copy = value;
        pack_hashed(entry, copy);
        return fresh.keep(entry);
      });
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

Compiler::Compiler(size_t shard_above) : memo_(std::make_unique<Memo>(shard_above)) {}
Compiler::~Compiler() = default;

Compiled Compiler::compile(const translate::Translation& translation) {
  Memo& memo = *memo_;
  memo.table.update(translation);
  if (!memo.endpoint_part.bytes || !memo.endpoints.same(translation.endpoints))
    memo.endpoint_part = memo.endpoint_set(translation);
  if (!memo.secret_part.bytes || !memo.certificates.same(translation.certificates) ||
      !memo.ticket_keys.same(translation.ticket_keys) || memo.ticket_keys_secret != translation.ticket_keys_secret) {
    memo.secret_part = memo.secret_set(translation);
    memo.ticket_keys_secret = translation.ticket_keys_secret;
  }
  Compiled out;
  out.parts[static_cast<size_t>(ir::PartKind::table)] = memo.table.head();
  out.parts[static_cast<size_t>(ir::PartKind::endpoints)] = memo.endpoint_part;
  out.parts[static_cast<size_t>(ir::PartKind::secrets)] = memo.secret_part;
  out.shards = memo.table.shards();
  return out;
}

}  // namespace sluice::compile
